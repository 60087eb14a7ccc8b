"""A journal with a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cps_auth.audit.entry import AuditEntry, AuditEvent
from cps_auth.audit.journal import AuditJournal


class Clock:
    """A clock that goes on by a second each time that it is asked."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        """Return the time, one second later than before."""
        self.at += timedelta(seconds=1)
        return self.at


@pytest.fixture
def clock() -> Clock:
    """The clock of `written`."""
    return Clock()


@pytest.fixture
def written(tmp_path: Path, clock: Clock) -> Callable[[int], Path]:
    """Makes a journal of so many refusals, and returns its folder."""
    folder = tmp_path / "audit"

    def write(count: int) -> Path:
        journal = AuditJournal(folder, clock=clock, host="pc-1")
        for number in range(count):
            journal.record(refusal(number))
        assert journal.flush(10)
        return folder

    return write


def refusal(number: int) -> AuditEntry:
    """Return an entry that is told from others by its peer."""
    return AuditEntry(
        event=AuditEvent.LOGIN_REFUSED,
        surface="web",
        outcome="wrong-pin",
        holder="899700000000",
        peer=f"192.0.2.{number}",
    )

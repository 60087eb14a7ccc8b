"""What waiting pages learn of the readers, and how often the readers are asked for it."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest

from cps_auth.card.native.source import NativeCards
from cps_auth.flask.sessions import removal
from cps_auth.flask.sessions.removal import (
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    UNKNOWN_PRESENCE,
    RemovalWatch,
)
from cps_auth.model import ReaderState
from hardware_mocks.readers.virtual_readers import VirtualReaders


def test_a_service_that_does_not_answer_is_asked_less_and_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many pages wait; one that is back is noticed after the longest pause at most."""
    now_s, asked = [0.0], []
    monkeypatch.setattr(removal, "monotonic", lambda: now_s[0])

    class Counted(NativeCards):
        """Cards that tell when they were asked."""

        def readers(self) -> tuple[ReaderState, ...]:
            asked.append(now_s[0])
            return super().readers()

    readers = VirtualReaders("Reader")
    cards = Counted(readers.service)
    watch = RemovalWatch(cards, None, lambda: datetime.now(UTC), lambda _: None)  # type: ignore[arg-type]  # no session is made
    readers.stop_service()
    while now_s[0] < 60:
        assert watch.presence() == {"presence": UNKNOWN_PRESENCE, "card": False}
        now_s[0] += 0.05
    pauses = [after - before for before, after in itertools.pairwise(asked)]
    assert pauses[0] >= FIRST_PAUSE_S
    assert all(after > 1.5 * before for before, after in itertools.pairwise(pauses[:4]))
    assert pauses[-1] >= LONGEST_PAUSE_S
    assert len(asked) < 20
    readers.start_service()
    now_s[0] += LONGEST_PAUSE_S
    assert watch.presence()["presence"] != UNKNOWN_PRESENCE
    readers.stop_service()
    watch.presence()
    now_s[0] += FIRST_PAUSE_S
    asked.clear()
    watch.presence()
    assert asked, "the first pause again"

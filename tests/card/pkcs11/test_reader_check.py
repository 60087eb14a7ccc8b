"""What PC/SC says weighs more than what a module says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cps_auth.card.pkcs11.reader_check import ReaderPresence, no_pcsc
from cps_auth.errors import CardBusy, CardMisbehaved, CardRemoved, CpsAuthError, ReaderServiceLost
from cps_auth.model import ReaderState, Snapshot

CARD = ReaderState("A", b"\x3b", event_count=3)
PRESENT = Snapshot((ReaderState("B", None), CARD))
EMPTY = Snapshot((ReaderState("A", None, event_count=4),))
ANOTHER = Snapshot((ReaderState("A", b"\x3b", event_count=5),))
DOWN = Snapshot(service_up=False)


class _Transport:
    protocol = 0

    def __init__(self, service: _Service) -> None:
        self._service = service

    def will_verify(self) -> None:
        """Nothing is noted here."""

    def resume(self) -> bool:
        """Nobody else resets it."""
        return False

    def transmit(self, command: bytes) -> bytes:
        raise AssertionError(command)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        if self._service.failure:
            raise self._service.failure
        self._service.calls.append("begin")
        yield
        self._service.calls.append("end")

    def reset(self) -> None:
        self._service.calls.append("reset")

    def close(self) -> None:
        self._service.calls.append("close card")


class _Service:
    """Shows one snapshot after another, the last one for ever."""

    def __init__(self, *snapshots: Snapshot, failure: CpsAuthError | None = None) -> None:
        self._coming = list(snapshots)
        self.failure = failure
        self.calls: list[str] = []

    def snapshot(self) -> Snapshot:
        return self._coming.pop(0) if len(self._coming) > 1 else self._coming[0]

    def wait_for_change(self, seen: Snapshot, timeout_s: float) -> Snapshot:
        assert timeout_s > 0
        assert seen.service_up
        return self.snapshot()

    def cancel(self) -> None:
        raise AssertionError

    def connect(self, reader: str) -> _Transport:
        assert reader == "A"
        return _Transport(self)

    def close(self) -> None:
        self.calls.append("close service")


def test_a_card_that_stayed_is_there() -> None:
    """Nothing is raised, and the service is let go."""
    service = _Service(PRESENT)
    ReaderPresence(lambda: service).require(CARD)
    assert service.calls == ["close service"]


@pytest.mark.parametrize(
    ("now", "error"),
    [
        (EMPTY, CardRemoved),
        (ANOTHER, CardRemoved),
        (Snapshot(), CardRemoved),
        (DOWN, ReaderServiceLost),
    ],
)
def test_a_card_that_did_not_stay_is_removed(now, error) -> None:
    """Gone, put back, without its reader, or nobody can tell: an error, now and after doubt."""
    with pytest.raises(error):
        ReaderPresence(lambda: _Service(now)).require(CARD)
    with pytest.raises(error):
        ReaderPresence(lambda: _Service(PRESENT, PRESENT, now)).require_after_doubt(CARD, 60)


def test_doubt_ends() -> None:
    """A card that is still there after the wait is there."""
    ReaderPresence(lambda: _Service(PRESENT)).require_after_doubt(CARD, 0.05)


def test_a_reset_is_made_inside_a_transaction() -> None:
    """So that it neither waits for another program for ever nor gives it a verified card."""
    service = _Service(PRESENT)
    ReaderPresence(lambda: service).reset(CARD)
    assert service.calls == ["begin", "reset", "end", "close card", "close service"]


@pytest.mark.parametrize("failure", [CardBusy(), CardMisbehaved("mute"), ReaderServiceLost()])
def test_a_reset_that_fails_is_logged(failure, caplog) -> None:
    """It never raises, and says that the card may still be verified."""
    with caplog.at_level(logging.WARNING):
        ReaderPresence(lambda: _Service(PRESENT, failure=failure)).reset(CARD)
    assert "not reset" in caplog.text


def test_a_card_that_left_needs_no_reset(caplog) -> None:
    """Without power nothing stays verified: no warning."""
    ReaderPresence(lambda: _Service(PRESENT, failure=CardRemoved())).reset(CARD)
    assert not caplog.records


def test_without_a_service_nobody_can_tell() -> None:
    """No PC/SC given is PC/SC lost."""
    with pytest.raises(ReaderServiceLost):
        ReaderPresence(no_pcsc).snapshot()

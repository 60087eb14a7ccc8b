"""The session-lock table: total, and nothing but a verified login opens."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from cps_auth.card.native.source import NativeCards
from cps_auth.card.watch import CardWatcher
from cps_auth.model import (
    CardEvent,
    CardEventKind,
    CardIdentity,
    CardType,
    Practitioner,
    ProofKind,
    VerifiedHolder,
)
from cps_auth.session_lock import TABLE, LockAction, LockEvent, LockPhase, SessionLock
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders
from webdemo.computer_lock import ComputerLock

READER = "Reader A"
AT = datetime(2026, 11, 23, tzinfo=UTC)
HOLDER = VerifiedHolder(
    practitioner=Practitioner("899900000011", CardType.CPS),
    card=CardIdentity("99000001", "aa"),
    certificate_serial_hex="01",
    certificate_not_after=AT,
    trust="test",
    revocation=(),
    verified_at=AT,
    proof=ProofKind.CHALLENGE,
)
OTHER = replace(HOLDER, practitioner=Practitioner("899900000029", CardType.CPS))

LOSSES = [
    CardEvent(CardEventKind.CARD_REMOVED, READER),
    CardEvent(CardEventKind.CARD_SWAPPED, READER),
    CardEvent(CardEventKind.READER_GONE, READER),
    CardEvent(CardEventKind.SERVICE_LOST),
    CardEvent(CardEventKind.WATCHER_STOPPED),
]


@pytest.fixture
def actions() -> list[LockAction]:
    """Return the list that the lock of a test writes its actions to."""
    return []


@pytest.fixture
def lock(actions: list[LockAction]) -> SessionLock:
    """Return an open session of the doctor."""
    return SessionLock(HOLDER, READER, actions.append)


def test_the_table_is_total() -> None:
    """Every phase has an entry for every event."""
    assert set(TABLE) == {(phase, event) for phase in LockPhase for event in LockEvent}


@pytest.mark.parametrize("phase", [LockPhase.LOCKING, LockPhase.LOCKED])
@pytest.mark.parametrize("event", LockEvent)
def test_only_a_verified_login_leads_back_to_open(phase: LockPhase, event: LockEvent) -> None:
    """The return of the card, of the service or of the reader opens nothing."""
    following, action = TABLE[phase, event]
    assert action is not LockAction.NOTHING or following is not LockPhase.OPEN
    opens = following in (LockPhase.OPENING, LockPhase.OPEN)
    assert opens == (event is LockEvent.VERIFIED_LOGIN)


@pytest.mark.parametrize("event", LockEvent)
def test_a_session_that_is_being_ended_never_opens(event: LockEvent) -> None:
    """Nothing leads from ending or ended to open."""
    for phase in (LockPhase.ENDING, LockPhase.ENDED):
        assert TABLE[phase, event][0] in (LockPhase.ENDING, LockPhase.ENDED)


def test_what_is_not_known_to_be_harmless_locks_an_open_session() -> None:
    """The harmless events are a short list; a new event locks until somebody decides."""
    harmless = {
        LockEvent.CARD_IN,
        LockEvent.SERVICE_BACK,
        LockEvent.VERIFIED_LOGIN,
        LockEvent.LOCK_CONFIRMED,
        LockEvent.LOCK_REFUSED,
        LockEvent.DEADLINE_PASSED,
        LockEvent.LOCKER_DIED,
        LockEvent.SCREEN_OPENED,
        LockEvent.PASSWORD_OPENED,
        LockEvent.SESSION_ENDED,
    }
    for phase in (LockPhase.OPENING, LockPhase.OPEN):
        for event in set(LockEvent) - harmless:
            assert TABLE[phase, event] == (LockPhase.LOCKING, LockAction.ASK_FIRST_LOCKER)


@pytest.mark.parametrize("event", [LockEvent.SCREEN_OPENED, LockEvent.PASSWORD_OPENED])
def test_what_opens_before_the_lock_is_confirmed_is_covered_again(event: LockEvent) -> None:
    """The login that went before may have opened it: a password is believed only behind a lock."""
    assert TABLE[LockPhase.LOCKING, event] == (LockPhase.LOCKING, LockAction.ASK_FIRST_LOCKER)
    followed = TABLE[LockPhase.LOCKED, event][0] is not LockPhase.ENDED
    assert followed == (event is LockEvent.SCREEN_OPENED)


def test_an_old_cover_confirms_nothing(lock: SessionLock) -> None:
    """While a desktop opens, its old lock looks like a new one."""
    for event in (LockEvent.LOCK_CONFIRMED, LockEvent.SCREEN_OPENED, LockEvent.LOCK_CONFIRMED):
        lock.feed(event)
        assert lock.phase in (LockPhase.OPENING, LockPhase.OPEN)


@pytest.mark.parametrize("event", LOSSES, ids=lambda event: event.kind.value)
def test_every_loss_of_the_card_locks(
    event: CardEvent, lock: SessionLock, actions: list[LockAction]
) -> None:
    """Card out, card swapped, reader gone, service lost, watcher dead: the locker is asked."""
    lock.feed_card_event(event)
    assert lock.phase is LockPhase.LOCKING
    assert actions == [LockAction.ASK_FIRST_LOCKER]


def test_another_readers_card_does_not_matter(lock: SessionLock, actions: list[LockAction]) -> None:
    """Pulling a Vitale card from the second reader leaves the session open."""
    lock.feed(LockEvent.SCREEN_OPENED)
    lock.feed_card_event(CardEvent(CardEventKind.CARD_REMOVED, "Reader B"))
    assert lock.phase is LockPhase.OPEN
    assert actions == []


def test_locked_only_when_confirmed(lock: SessionLock) -> None:
    """Asking a locker is not a locked screen."""
    lock.feed(LockEvent.IDLE)
    assert lock.phase is LockPhase.LOCKING
    lock.feed(LockEvent.LOCK_CONFIRMED)
    assert lock.phase is LockPhase.LOCKED


def test_unconfirmed_locks_go_on_to_the_next_and_end_the_session(
    lock: SessionLock, actions: list[LockAction]
) -> None:
    """A refusal and a deadline ask the next locker; with none left the session is ended."""
    for event in (
        LockEvent.IDLE,
        LockEvent.LOCK_REFUSED,
        LockEvent.DEADLINE_PASSED,
        LockEvent.LOCKERS_EXHAUSTED,
    ):
        lock.feed(event)
    assert actions == [
        LockAction.ASK_FIRST_LOCKER,
        LockAction.ASK_NEXT_LOCKER,
        LockAction.ASK_NEXT_LOCKER,
        LockAction.END_SESSION,
    ]
    assert lock.phase is LockPhase.ENDING


def test_the_return_of_the_card_does_not_unlock(lock: SessionLock) -> None:
    """Card back in: still locked."""
    lock.feed_card_event(LOSSES[0])
    lock.feed(LockEvent.LOCK_CONFIRMED)
    lock.feed_card_event(CardEvent(CardEventKind.CARD_INSERTED, READER))
    assert lock.phase is LockPhase.LOCKED


def test_the_own_holder_reopens_with_another_reader(
    lock: SessionLock, actions: list[LockAction]
) -> None:
    """A fresh login of the same person opens, and binds to the card used now."""
    lock.feed_card_event(LOSSES[0])
    lock.feed(LockEvent.LOCK_CONFIRMED)
    assert lock.reopen(HOLDER, "Reader B")
    assert actions == [LockAction.ASK_FIRST_LOCKER]
    lock.feed_card_event(CardEvent(CardEventKind.CARD_REMOVED, READER))
    assert lock.phase is LockPhase.OPENING
    lock.feed_card_event(CardEvent(CardEventKind.CARD_REMOVED, "Reader B"))
    assert lock.phase is LockPhase.LOCKING


def test_another_holder_does_not_reopen(lock: SessionLock) -> None:
    """A colleague's card and PIN do not open this session."""
    lock.feed_card_event(LOSSES[0])
    assert not lock.reopen(OTHER, READER)
    assert lock.phase is LockPhase.LOCKING


def test_a_verified_login_cannot_be_fed_as_a_mere_event(lock: SessionLock) -> None:
    """The event alone, without the verified holder, is a programmer's mistake."""
    with pytest.raises(ValueError, match="reopen"):
        lock.feed(LockEvent.VERIFIED_LOGIN)


def test_a_watcher_that_begins_late_locks_no_new_session(
    igc: FakeIgcSante, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The demo's computer: its watcher, new with the login, tells first of the readers there."""
    readers = VirtualReaders(READER)
    readers.insert(READER, VirtualCard(PERSONAS["doctor"], igc.credentials("doctor")))
    tell, told = CardWatcher._tell, threading.Event()

    def tell_late(watcher: CardWatcher, *seen: Any) -> None:
        time.sleep(0.05)
        tell(watcher, *seen)
        told.set()

    monkeypatch.setattr(CardWatcher, "_tell", tell_late)
    lock = ComputerLock(NativeCards(readers.service))
    lock.bind(HOLDER, READER)
    assert told.wait(10)
    assert lock.phase is LockPhase.OPEN
    lock.stop()
    assert lock.phase is LockPhase.LOCKED

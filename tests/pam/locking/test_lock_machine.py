"""Whatever happens in whatever order, nothing but a verified login of the holder opens a lock."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cps_auth.model import (
    CardEvent,
    CardEventKind,
    CardIdentity,
    CardType,
    Practitioner,
    ProofKind,
    VerifiedHolder,
)
from cps_auth.session_lock import LockEvent, LockPhase, SessionLock

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
READERS = ("Reader A", "Reader B")
EVENTS = [event for event in LockEvent if event is not LockEvent.VERIFIED_LOGIN]
OPEN = (LockPhase.OPENING, LockPhase.OPEN)
CLOSED = (LockPhase.LOCKING, LockPhase.LOCKED, LockPhase.ENDING, LockPhase.ENDED)


class Sessions(RuleBasedStateMachine):
    """Three sessions: two of the doctor's at two readers, one of a colleague's."""

    def __init__(self) -> None:
        super().__init__()
        owners = ((HOLDER, READERS[0]), (HOLDER, READERS[1]), (OTHER, READERS[0]))
        self.locks = [
            SessionLock(holder, reader, lambda _action: None) for holder, reader in owners
        ]
        self.before = [lock.phase for lock in self.locks]
        self.logged_in: set[int] = set()

    def _begin(self) -> None:
        self.before = [lock.phase for lock in self.locks]
        self.logged_in = set()

    @rule(session=st.integers(0, 2), event=st.sampled_from(EVENTS))
    def happen(self, session: int, event: LockEvent) -> None:
        """Anything happens to one session."""
        self._begin()
        self.locks[session].feed(event)

    @rule(kind=st.sampled_from(CardEventKind), reader=st.sampled_from((*READERS, "Reader C", "")))
    def move_card(self, kind: CardEventKind, reader: str) -> None:
        """Anything happens at a reader; every session hears of it."""
        self._begin()
        for lock in self.locks:
            lock.feed_card_event(CardEvent(kind, reader))

    @rule(session=st.integers(0, 2), own=st.booleans(), reader=st.sampled_from(READERS))
    def log_in(self, session: int, own: bool, reader: str) -> None:
        """A verified login of the session's holder, or of another."""
        self._begin()
        lock = self.locks[session]
        holder = HOLDER if (session < 2) is own else OTHER
        opened = lock.reopen(holder, reader)
        if own:
            self.logged_in.add(session)
        assert opened is (lock.phase is LockPhase.OPENING and own)

    @invariant()
    def only_a_login_opens(self) -> None:
        """A session that was closed is open now only by its own holder's login."""
        for n, lock in enumerate(self.locks):
            if self.before[n] in CLOSED and lock.phase in OPEN:
                assert n in self.logged_in
            if self.before[n] in (LockPhase.ENDING, LockPhase.ENDED):
                assert lock.phase in (LockPhase.ENDING, LockPhase.ENDED)


Sessions.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestSessions = Sessions.TestCase
TestSessions.__doc__ = "No order of events but a holder's login opens what is locked."

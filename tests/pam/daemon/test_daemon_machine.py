"""The daemon's sessions with their threads, in any order of events, faults and restarts.

The pure table has its own machine (`test_lock_machine.py`). Here cards, lockers, logind and the
daemon itself come and go; once everything works again, a screen is open only if its holder has
logged in with a card that has been in its reader ever since.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cps_auth.errors import CardBusy, HolderNotAllowed
from cps_auth.model import CardEvent, CardEventKind, VerifiedHolder
from cps_auth.session_lock import LockEvent, LockPhase
from pam_helper.locking.lockers import DesktopSession, Locking
from pam_helper.locking.session_owners import Login, SessionOwners
from pam_helper.locking.sessions import BoundSessions
from tests.pam.locking.obedient_desktop import ObedientDesktop
from tests.pam.locking.test_lock_machine import HOLDER, OTHER

READERS = ("Reader A", "Reader B")
ACCOUNTS = ("camille", "julien")
HOLDERS = {"camille": HOLDER, "julien": OTHER}
QUIET = (LockPhase.OPENING, LockPhase.OPEN, LockPhase.LOCKED, LockPhase.ENDED)
LOSSES = (
    LockEvent.SUSPENDING,
    LockEvent.RESUMED,
    LockEvent.IDLE,
    LockEvent.DESKTOP_LOST,
    LockEvent.WATCHER_STOPPED,
)


class Daemon(RuleBasedStateMachine):
    """Two accounts, two readers, a desktop that may fail, a daemon that may be killed."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._patches: list[Any] = [
            mock.patch("pam_helper.locking.lock_round.AGAIN_S", 0.001),
            mock.patch("cps_auth.files.os.fsync", return_value=None),
        ]
        for patch in self._patches:
            patch.start()
        self.desktop = ObedientDesktop()
        self.cards: dict[str, VerifiedHolder] = {}
        self.opened_at: dict[str, str] = {}  # account: reader of the card that opened it, in since
        self.count = 0
        self._start()

    def _start(self) -> None:
        owners = SessionOwners(Path(self._folder.name, "sessions.json"))
        self.sessions = BoundSessions(
            Locking(self.desktop, (self.desktop,), next_after_s=0.002), owners
        )
        self.sessions.lock_left_open(0)

    def _tell(self, kind: CardEventKind, reader: str = "") -> None:
        self.sessions.feed_card_event(CardEvent(kind, reader))

    def _left(self, reader: str) -> None:
        self.cards.pop(reader, None)
        self.opened_at = {a: r for a, r in self.opened_at.items() if r != reader}

    @rule(reader=st.sampled_from(READERS), holder=st.sampled_from(ACCOUNTS))
    def insert(self, reader: str, holder: str) -> None:
        """A card comes into an empty reader, or is exchanged between two looks."""
        was_there = reader in self.cards
        self._left(reader)
        self.cards[reader] = HOLDERS[holder]
        self._tell(CardEventKind.CARD_SWAPPED if was_there else CardEventKind.CARD_INSERTED, reader)

    @rule(
        reader=st.sampled_from(READERS),
        kind=st.sampled_from((CardEventKind.CARD_REMOVED, CardEventKind.READER_GONE)),
    )
    def pull(self, reader: str, kind: CardEventKind) -> None:
        """A card goes, by itself or with its reader."""
        if reader in self.cards:
            self._left(reader)
            self._tell(kind, reader)

    @rule(lost=st.booleans())
    def service(self, lost: bool) -> None:
        """pcscd dies and comes back."""
        if lost:
            self.opened_at = {}
        self._tell(CardEventKind.SERVICE_LOST if lost else CardEventKind.SERVICE_BACK)

    @rule(event=st.sampled_from(LOSSES))
    def lose(self, event: LockEvent) -> None:
        """Something that locks everything."""
        self.opened_at = {}
        self.sessions.feed_all(event)

    @rule(account=st.sampled_from(ACCOUNTS))
    def password(self, account: str) -> None:
        """A session is opened otherwise."""
        self.count += 1
        known = self.desktop.there.get(account, frozenset())
        if len(known) < 3:
            new = DesktopSession(f"s{self.count}", f"/s/{self.count}", account, 1, ":9", "x11", 1)
            self.desktop.there[account] = known | {new}

    @rule(account=st.sampled_from(ACCOUNTS), reader=st.sampled_from(READERS))
    def log_in(self, account: str, reader: str) -> None:
        """Card and PIN, as the authority does once the card has proved it."""
        holder = HOLDERS[account]
        if self.cards.get(reader) is not holder:
            self.insert(reader, account)
        if not self.desktop.there.get(account):
            self.password(account)
        try:
            self.sessions.may_open(account)(holder.practitioner)
            self.sessions.bind(account, holder, reader, Login(os.getpid(), "xsecurelock"))
        except (HolderNotAllowed, CardBusy):
            return
        self.opened_at[account] = reader
        for session in self.desktop.locked & self.desktop.there[account]:
            self.desktop.fall(session, ended_well=True)

    @rule(account=st.sampled_from(ACCOUNTS))
    def colleague(self, account: str) -> None:
        """Somebody else's card and PIN never open the session."""
        other = replace(HOLDER, practitioner=replace(HOLDER.practitioner, ps_idnat="1"))
        self._quiet()
        known = self.sessions._owners.owner_of(account)
        if known is not None and self.desktop.there.get(account):
            try:
                self.sessions.may_open(account)(other.practitioner)
            except HolderNotAllowed:
                return
            raise AssertionError("another holder got in")

    @rule(locks=st.booleans(), answers=st.booleans(), ends=st.booleans())
    def desktop_fault(self, locks: bool, answers: bool, ends: bool) -> None:
        """Lockers fail, logind is silent, sessions do not end."""
        self.desktop.locks, self.desktop.answers, self.desktop.ends = locks, answers, ends

    @rule(account=st.sampled_from(ACCOUNTS), ended_well=st.booleans())
    def cover_falls(self, account: str, ended_well: bool) -> None:
        """A locker is gone."""
        for session in self.desktop.locked & self.desktop.there.get(account, frozenset()):
            self.desktop.fall(session, ended_well=ended_well)

    @rule()
    def kill(self) -> None:
        """SIGKILL, and the next daemon."""
        for session in self.sessions._all():
            session._jobs.end(10)
        self.opened_at = {}
        self._start()

    def _quiet(self) -> None:
        """Everything works again; wait until nothing is being done."""
        self.desktop.locks = self.desktop.answers = self.desktop.ends = True
        deadline_s = time.monotonic() + 10
        self.sessions.look_again()
        while True:
            bound = self.sessions._all()
            for session in bound:
                session.settle(1)
            if all(session._round.is_at_rest or session.phase in QUIET for session in bound):
                return
            assert time.monotonic() < deadline_s, [(s.account, s.phase) for s in bound]
            time.sleep(0.001)

    @invariant()
    def nothing_is_open_without_its_card(self) -> None:
        """What a card has opened is open only while that card is in."""
        if self.desktop.locks and self.desktop.answers and self.desktop.ends:
            self._quiet()
            for account, bound in self.sessions._bound.items():
                ours = bound._claims.of(self.desktop.there.get(account, frozenset()))
                if account not in self.opened_at and bound.phase is not LockPhase.ENDED:
                    assert ours <= self.desktop.locked, (account, bound.phase)

    def teardown(self) -> None:
        """Nothing is left open, whatever happened."""
        self.desktop.locks = self.desktop.answers = self.desktop.ends = True
        self.sessions.close(10)
        for account in self.opened_at:
            bound = self.sessions._bound[account]
            ours = bound._claims.of(self.desktop.there.get(account, frozenset()))
            assert ours <= self.desktop.locked
        for patch in self._patches:
            patch.stop()
        self._folder.cleanup()


Daemon.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestDaemon = Daemon.TestCase
TestDaemon.__doc__ = "In no order of events and faults a screen is open without its card."

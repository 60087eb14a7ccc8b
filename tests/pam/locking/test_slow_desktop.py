"""Pulls at every moment, on a desktop that delays and swallows: no screen stays open.

The real `BoundSessions`, their threads and the real `LogindLocker`, on a desktop in memory:
whatever the order of logins, pulls, refusals and passwords, a screen that is open once all has
come to rest was opened by a login whose card is still there, or by a password after the lock.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cps_auth.errors import CardBusy
from cps_auth.model import CardEvent, CardEventKind
from cps_auth.session_lock import LockEvent, LockPhase
from pam_helper.locking.lockers import Locking, LockProof
from pam_helper.locking.logind_locker import LogindLocker
from pam_helper.locking.session_owners import Login, SessionOwners
from pam_helper.locking.sessions import BoundSessions
from tests.pam.locking.slow_desktop import SESSION, SlowDesktop
from tests.pam.locking.test_lock_machine import HOLDER

READER, ACCOUNT = "Reader A", SESSION.account
SHORT = {
    "pam_helper.locking.lock_round.AGAIN_S": 0.005,
    "pam_helper.locking.logind_locker.OPENS_WITHIN_S": 0.02,
    "pam_helper.locking.logind_locker.ACTS_WITHIN_S": 0.6,
    "cps_auth.files.os.fsync": lambda _descriptor: None,
}
WITHIN_S = 20.0
DELAYS = st.sampled_from((0.0, 0.002, 0.01, 0.04))  # longer than it is given to open, too


class Desk(RuleBasedStateMachine):
    """One session on a slow desktop; `accepts` is whether a password may open it."""

    accepts = False

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._patches: list[Any] = [mock.patch(name, value) for name, value in SHORT.items()]
        for patch in self._patches:
            patch.start()
        self.desktop = SlowDesktop()
        self.card_in = False
        self.opens_later = 0  # yeses of PAM on which the locker has not acted
        self.by_password = True  # the session was opened so, and follows no card
        self._start()
        self.desktop.changed = self._look

    def _start(self) -> None:
        locker = LogindLocker(1.0, self.desktop.follow, self.desktop.greeter_runs)
        locking = Locking(self.desktop, (locker,), not self.accepts, next_after_s=0.02)
        owners = SessionOwners(Path(self._folder.name, "sessions.json"))
        self.sessions = BoundSessions(locking, owners)
        self.sessions.lock_left_open(0)

    def _look(self) -> None:
        self.sessions.look_again()

    @property
    def phase(self) -> LockPhase:
        """The phase of the account's session."""
        bound = self.sessions._bound.get(ACCOUNT)
        return LockPhase.ENDED if bound is None else bound.phase

    @rule(lock_s=DELAYS, open_s=DELAYS, leave_s=DELAYS)
    def slow_down(self, lock_s: float, open_s: float, leave_s: float) -> None:
        """The PC is busy, or is not."""
        self.desktop.lock_s, self.desktop.open_s = lock_s, open_s
        self.desktop.leave_s = leave_s

    @rule(seconds=st.sampled_from((0.0, 0.003, 0.03)))
    def pass_time(self, seconds: float) -> None:
        """Nothing happens for a while."""
        time.sleep(seconds)

    @rule(answer=st.sampled_from(("yes", "yes", "late", "refused", "pulled")))
    def log_in(self, answer: str) -> None:
        """Card and PIN; then PAM's yes, at once or late, a no of another module, or a pull."""
        self.card_in = True
        self.sessions.feed_card_event(CardEvent(CardEventKind.CARD_INSERTED, READER))
        was_covered = self.desktop.state == "locked"
        try:
            self.sessions.bind(ACCOUNT, HOLDER, READER, Login(SESSION.leader_pid, "kde"))
        except CardBusy:
            return
        self.by_password = False
        if answer == "pulled":
            self.pull()
            self.sessions.feed(ACCOUNT, LockEvent.CARD_OUT)
        elif answer == "yes" and was_covered:
            self.desktop.let_in()
        elif answer == "late" and was_covered:
            self.opens_later += 1

    @rule()
    def locker_opens(self) -> None:
        """The locker acts on a yes that it got before: GNOME's plays its messages first."""
        if self.opens_later:
            self.opens_later -= 1
            self.desktop.let_in()

    @rule()
    def pull(self) -> None:
        """The card goes."""
        if self.card_in:
            self.card_in = False
            self.sessions.feed_card_event(CardEvent(CardEventKind.CARD_REMOVED, READER))

    @rule()
    def lock_by_hand(self) -> None:
        """The person locks the screen."""
        if self.desktop.state == "open" and self.card_in and self.phase is LockPhase.OPEN:
            self.desktop.ask()
            self.desktop.await_rest(WITHIN_S)  # two at once are the desktop's own fault

    @rule()
    def password(self) -> None:
        """Somebody types the account's password."""
        if self.desktop.state == "locked" and self.phase is LockPhase.LOCKED:
            self.by_password = self.accepts
            self.desktop.let_in()

    @rule()
    def kill(self) -> None:
        """SIGKILL, and the next daemon."""
        for session in self.sessions._all():
            session._jobs.end(WITHIN_S)
        self.desktop.await_rest(WITHIN_S)
        self._start()

    @rule()
    def rest(self) -> None:
        """Everything comes to rest, and is looked at."""
        self._rest()

    def _rest(self) -> None:
        deadline_s = time.monotonic() + WITHIN_S
        while True:
            self._look()
            for bound in self.sessions._all():
                bound.settle(0)
            if self._is_safe():
                time.sleep(0.005)  # and stays so
                if self._is_safe():
                    return
            assert time.monotonic() < deadline_s, (self.desktop.state, self.phase, self.card_in)
            time.sleep(0.002)

    def _is_safe(self) -> bool:
        return self.desktop.state == "locked" or (
            self.desktop.state == "open" and (self.by_password or self.card_in)
        )

    @invariant()
    def nothing_has_died(self) -> None:
        """The desktop was never asked twice at once."""
        assert not self.desktop.has_died

    def teardown(self) -> None:
        """All that was answered yes opens; then the card goes, and what it opened is covered."""
        while self.opens_later:
            self.locker_opens()
        self._rest()
        self.pull()
        self._rest()
        self.sessions.close(WITHIN_S)
        for patch in self._patches:
            patch.stop()
        self._folder.cleanup()


class AcceptingDesk(Desk):
    """The same, where a password may open the screen."""

    accepts = True


Desk.TestCase.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
AcceptingDesk.TestCase.settings = Desk.TestCase.settings
TestDesk = Desk.TestCase
TestAcceptingDesk = AcceptingDesk.TestCase
TestDesk.__doc__ = TestAcceptingDesk.__doc__ = "No pull at any moment leaves the screen open."


def test_lock_waits_for_the_greeter_of_the_lock_before() -> None:
    """Plasma 6 looks open while its greeter ends, and swallows `Lock` until then."""
    desktop = SlowDesktop()
    desktop.state, desktop.leave_s = "leaving", WITHIN_S
    looks: list[str] = []

    def greeter_runs(uid: int) -> bool:
        looks.append(desktop.state)
        if len(looks) == 3:
            desktop.state = "open"
        return desktop.greeter_runs(uid)

    locker = LogindLocker(WITHIN_S, desktop.follow, greeter_runs)
    assert locker.lock(SESSION, lambda _by_somebody: None, opening=False) is LockProof.SEEN
    assert looks == ["leaving", "leaving", "leaving"]
    assert desktop.state == "locked"

"""Lock round: asks one locker after the other until every screen is confirmed.

Performs the actions of the session-lock table, in the session's own thread.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from cps_auth.session_lock import LockAction, LockEvent, LockPhase
from pam_helper.locking.attempts import Attempt, Attempts
from pam_helper.locking.job_thread import JobThread
from pam_helper.locking.lockers import DesktopSession, Locker, Locking, LogindSessions

if TYPE_CHECKING:
    from pam_helper.locking.session import BoundSession

AGAIN_S = 0.5
"""Wait between two tries, where there is nothing to lock yet or a session does not end."""
HIDE_AFTER_S = 2.0
"""A screen that nothing has covered for so long is replaced by an empty one meanwhile."""

_NOBODY: LogindSessions = frozenset()
_log = logging.getLogger(__name__)


class LockRound:
    """Locks the screens of one account.

    Attributes:
        attempts: the lockers that were asked.
        covered: the screens that something covered when it was last looked.
        is_opening: whether a login was verified since a screen was seen open or locked: what
            covers now may be on its way out.
        is_at_rest: whether there is nothing to wait for while it is locking: what is to be locked
            has not come yet, or says that it is covered and cannot prove it.
    """

    def __init__(self, locking: Locking, jobs: JobThread, followed: BoundSession) -> None:
        """Lock nothing yet.

        Args:
            locking: how this machine locks.
            jobs: the session's thread.
            followed: what is to be locked.
        """
        self.attempts = Attempts(locking, jobs.do, self._answered, self._uncovered)
        self.covered = _NOBODY
        self.is_opening = self.is_at_rest = False
        self._locking = locking
        self._jobs = jobs
        self._followed = followed
        self._lockers_left: list[Locker] = []
        self._since_s = 0.0
        self._is_hidden = False

    def perform(self, action: LockAction) -> None:
        """Do what the table says."""
        self._jobs.cancel_due()
        self.is_at_rest = False
        _log.info("session of %s: %s", self._followed.account, action.value)
        match action:
            case LockAction.ASK_FIRST_LOCKER:
                self._ask_first()
            case LockAction.ASK_NEXT_LOCKER:
                self._ask_next()
            case LockAction.END_SESSION:
                self._end()
            case LockAction.NOTHING:
                pass

    def go_on(self) -> None:
        """Start over from where the table stands, after a failure nobody foresaw."""
        if self._followed.phase is LockPhase.LOCKING:
            self._ask_first()
        elif self._followed.phase is LockPhase.ENDING:
            self._end()
        else:
            self._followed.look()

    def finish(self) -> None:
        """Show again what was hidden: it is covered, or may be seen."""
        self._since_s = 0.0
        if self._is_hidden:
            self._is_hidden = False
            self._locking.desktop.show(self._followed.ours_last_seen())

    def _ask_first(self) -> None:
        known = self._followed.ours()
        # Without logind nobody waits for those who could only wait for it.
        lockers = self._locking.lockers
        self._lockers_left = [one for one in lockers if known is not None or not one.needs_logind]
        self.attempts.start_round()
        self._since_s = self._since_s or time.monotonic()
        ours = self._followed.ours_last_seen() if known is None else known
        self.covered = self.attempts.covered(ours) or _NOBODY
        self._ask(ours)

    def _ask_next(self) -> None:
        self._ask(self._followed.ours_last_seen())

    def _ask(self, ours: LogindSessions) -> None:
        """Ask the next locker for every screen that is not confirmed; end text consoles."""
        consoles = frozenset(session for session in ours if not session.is_graphical)
        over = self._locking.desktop.terminate(consoles) if consoles else _NOBODY
        screens = self.attempts.unconfirmed(ours - consoles)
        if not screens:
            self._nothing_to_lock(all_over=consoles <= over)
        elif not self._lockers_left:
            self._exhausted(screens)
        else:
            locker = self._lockers_left.pop(0)
            for session in screens:
                self.attempts.ask(locker, session, opening=self.is_opening)
            self._jobs.after(self._locking.next_after_s, self._overdue)

    def _answered(self, attempt: Attempt, covered: LogindSessions | None) -> None:
        """Go on with a locker's answer; one that comes after the round counts in no other."""
        if self._followed.phase is not LockPhase.LOCKING:
            return
        if covered is not None:
            self.attempts.confirm(attempt)
            self.covered |= covered
            if self.attempts.are_confirmed(self._followed.ours_last_seen()):
                self._locked()
        elif self._lockers_left and not self.attempts.are_at_work(attempt.locker):
            self._followed.feed_now(LockEvent.LOCK_REFUSED)

    def _locked(self) -> None:
        took_s = time.monotonic() - self._since_s
        _log.info("session of %s: locked after %.2f s", self._followed.account, took_s)
        self._followed.feed_now(LockEvent.LOCK_CONFIRMED)

    def _uncovered(self, session: DesktopSession, by_somebody: bool) -> None:
        """Feed that a locker is gone; in an open session that is what it had to do."""
        if self._followed.phase in (LockPhase.OPENING, LockPhase.OPEN):
            self._followed.look()
            return
        self.covered -= {session}
        if by_somebody:
            self._followed.opened()
        else:
            _log.critical("locker of session %s is gone", session.session_id)
            self._followed.feed_now(LockEvent.LOCKER_DIED)

    def _overdue(self) -> None:
        """Go on where no locker has confirmed in time; the screen is hidden meanwhile."""
        if self._followed.phase is LockPhase.LOCKING:
            self._hide()
            self._followed.feed_now(LockEvent.DEADLINE_PASSED)

    def _exhausted(self, screens: LogindSessions) -> None:
        """Go on trying where every locker was asked; end what nothing covers, if so it is set."""
        covered = self.attempts.covered(screens)
        waited_s = time.monotonic() - self._since_s
        end_after_s = self._locking.end_after_s
        if covered is not None and screens <= covered:
            # It says that it is covered, and did so before it was asked: believed by nobody, and
            # not ended either. When it opens without a login it is covered again.
            self.is_at_rest = True
            self._jobs.after(self._locking.next_after_s, self._check_exhausted)
        elif covered is not None and end_after_s is not None and waited_s >= end_after_s:
            self._followed.feed_now(LockEvent.LOCKERS_EXHAUSTED)
        else:
            self._hide()
            self._jobs.after(AGAIN_S, self._ask_all_again)

    def _check_exhausted(self) -> None:
        self._followed.look()
        if self._followed.phase is LockPhase.LOCKING and not self._jobs.has_due:
            self._ask_next()

    def _ask_all_again(self) -> None:
        if self._followed.phase is LockPhase.LOCKING:
            self._lockers_left = list(self._locking.lockers)
            self._ask_next()

    def _nothing_to_lock(self, *, all_over: bool) -> None:
        """No screen is left to lock: over, confirmed, or (soon after a login) still to come."""
        ours = self._followed.ours()
        if ours is None or not all_over or self._followed.awaits_login():
            self.is_at_rest = ours is not None and all_over
            self._jobs.after(AGAIN_S, self.go_on)
        elif ours:
            self._locked()
        else:
            self._followed.feed_now(LockEvent.SESSION_ENDED)

    def _end(self) -> None:
        """End what no locker has locked, and go on until it is over; not what came since."""
        known = self._followed.ours()
        left = self.attempts.unconfirmed(self._followed.ours_last_seen())
        over = self._locking.desktop.terminate(left) if left else _NOBODY
        if left <= over and known is not None:
            self._followed.feed_now(LockEvent.SESSION_ENDED)
            return
        _log.critical("session of %s is open and could not be ended", self._followed.account)
        self._jobs.after(AGAIN_S, lambda: self._followed.feed_now(LockEvent.DEADLINE_PASSED))

    def _hide(self) -> None:
        """Hide what nothing covers; a lock screen out of sight could not be answered any more."""
        if time.monotonic() - self._since_s < HIDE_AFTER_S:
            return
        screens = self.attempts.unconfirmed(self._followed.ours_last_seen())
        screens -= self.attempts.covered(screens) or _NOBODY
        if screens:
            self._is_hidden = self._locking.desktop.hide(screens) or self._is_hidden

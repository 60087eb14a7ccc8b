"""Sessions of one account, bound to a card: walks the session-lock table in a thread of its own.

Every event waits in one queue, and only this thread takes steps. Lockers are asked in threads of
their own and answer through the same queue, so that an earlier one may still confirm while the
next is asked, and the watcher never waits for a desktop.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial

from cps_auth.model import CardEvent, VerifiedHolder
from cps_auth.session_lock import LockEvent, LockPhase, SessionLock
from pam_helper.journal import of_phase
from pam_helper.locking.job_thread import JobThread
from pam_helper.locking.lock_round import AGAIN_S, LockRound
from pam_helper.locking.lockers import Locking, LogindSessions
from pam_helper.locking.session_owners import Claims, Login, SessionOwner

LOCK_UP_WITHIN_S = 8.0
"""For all that is open to be locked, where somebody waits for it."""
_QUIET = (LockPhase.OPENING, LockPhase.OPEN, LockPhase.LOCKED, LockPhase.ENDED)

_log = logging.getLogger(__name__)


class BoundSession:
    """The sessions of one account that one holder has opened. Safe to use from any thread."""

    def __init__(
        self,
        account: str,
        locking: Locking,
        record: Callable[[SessionOwner | None], None] = lambda _owner: None,
    ) -> None:
        """Follow nothing yet.

        Args:
            account: the Unix account.
            locking: how this machine locks.
            record: stores who owns which session; raises ConfigurationError.
        """
        self.account = account
        self._locking = locking
        self._record = record
        self._lock: SessionLock | None = None
        self._ps_idnat = ""
        self._claims = Claims()
        self._last_seen: LogindSessions = frozenset()
        self._jobs = JobThread(f"session {account}", self._failed)
        self._round = LockRound(locking, self._jobs, self)

    @property
    def phase(self) -> LockPhase:
        """Return where the session stands now."""
        return LockPhase.ENDED if self._lock is None else self._lock.phase

    @property
    def is_alive(self) -> bool:
        """Return whether its thread runs."""
        return self._jobs.is_alive

    def feed(self, event: LockEvent) -> None:
        """Queue an event; returns at once."""
        self._jobs.do(lambda: self.feed_now(event))

    def feed_card_event(self, event: CardEvent) -> None:
        """Queue a card event; returns at once."""
        self._jobs.do(lambda: self._lock and self._lock.feed_card_event(event))

    def look_again(self) -> None:
        """Queue a look at what logind says: sessions gone or new, screens that are open."""
        self._jobs.do(self.look)

    def take_over(self, owner: SessionOwner) -> None:
        """Lock what an earlier daemon followed and nobody has watched since; returns at once."""

        def run() -> None:
            self._ps_idnat = owner.ps_idnat
            self._claims.restore(owner, self._sessions())
            if owner.is_followed:
                _log.warning("session of %s was left unwatched: locking it", self.account)
                self._lock = SessionLock.unattended(owner.ps_idnat, self._round.perform)
                self.feed_now(LockEvent.WATCHER_STOPPED)

        self._jobs.do(run)

    def reopen(self, holder: VerifiedHolder, reader: str, login: Login, within_s: float) -> bool:
        """Let the holder in, after everything that happened before.

        Args:
            holder: the verified login.
            reader: name of the reader that holds the card.
            login: the program that asked.
            within_s: how long to wait for what is still being done.

        Returns:
            True if the session is opening; False if not, or not in time.

        Raises:
            ConfigurationError: it could not be written down; nothing is bound.
        """
        answer: Future[bool] = Future()

        def run() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            try:
                answer.set_result(self._reopen(holder, reader, login))
            except Exception as error:
                answer.set_exception(error)

        self._jobs.do(run)
        try:
            return answer.result(within_s)
        except TimeoutError:
            # Cancelled in time it never runs; running already, its answer still counts.
            return not answer.cancel() and answer.result()

    def release(self) -> None:
        """Follow the card no more; the sessions stay their holder's own. Returns at once."""

        def run() -> None:
            self._distrust(self._sessions())
            self.feed_now(LockEvent.SESSION_ENDED)

        self._jobs.do(run)

    def settle(self, within_s: float) -> None:
        """Wait until what is queued now is done and nothing is being locked, or for so long."""
        self._jobs.settle(lambda: self._round.is_at_rest or self.phase in _QUIET, within_s)

    def close(self, within_s: float) -> None:
        """Do what is queued, then end the thread."""
        deadline_s = time.monotonic() + within_s
        self.settle(within_s)
        self._jobs.end(max(0.0, deadline_s - time.monotonic()))

    def awaits_login(self) -> bool:
        """Return whether the session of a login is still to come."""
        return self._claims.awaits_login()

    def _failed(self, error: Exception) -> None:
        _log.critical("session of %s: %s", self.account, type(error).__name__)
        self._jobs.after(AGAIN_S, self._round.go_on)

    def feed_now(self, event: LockEvent) -> None:
        """Take a step of the table, in the session's thread."""
        if self._lock is None:
            return
        before = self._lock.phase
        self._lock.feed(event)
        phase = self._lock.phase
        if phase is not before:
            entry = of_phase(self.account, self._ps_idnat, phase, event)
            text = "session of %s: %s, %s"
            _log.info(text, self.account, event.value, phase.value, extra=entry)
        if phase is LockPhase.LOCKED:
            self._round.is_opening = False
        if phase in _QUIET:
            self._round.finish()
        if phase is LockPhase.ENDED:
            self._jobs.cancel_due()
            self._note()

    def _reopen(self, holder: VerifiedHolder, reader: str, login: Login) -> bool:
        ps_idnat = holder.practitioner.ps_idnat
        is_followed = self.phase is not LockPhase.ENDED
        if self.phase is LockPhase.ENDING or (is_followed and ps_idnat != self._ps_idnat):
            return False
        known = self._known()
        claims = (self._claims if is_followed else Claims()).with_login(login, known)
        self._record(claims.owner(ps_idnat))
        self._claims, self._ps_idnat = claims, ps_idnat
        self._distrust(self._sessions())
        if is_followed and self._lock is not None:
            self._lock.reopen(holder, reader)
        else:
            self._lock = SessionLock(holder, reader, self._round.perform)
        _log.info("session of %s: %s, %s", self.account, login.service, self.phase.value)
        self._round.is_opening = True
        self._round.finish()
        self.look()
        return self.phase in (LockPhase.OPENING, LockPhase.OPEN)

    def _distrust(self, sessions: LogindSessions) -> None:
        """Believe no locker of an earlier daemon any more, even one that runs: it was opened."""
        for session in sessions:
            self._locking.running.forget(session.session_id)

    def _note(self) -> None:
        """Store who owns which session now; forget the owner when all of them are over."""
        is_followed = self.phase is not LockPhase.ENDED
        if self._claims.is_empty(self._known()):
            self._record(None)
        else:
            self._record(self._claims.owner(self._ps_idnat, is_followed=is_followed))

    def look(self) -> None:
        """Compare logind's sessions with the claims and confirmations, and feed what follows."""
        known = self._known()
        if known is None:
            if self.phase is not LockPhase.ENDED:
                self._jobs.after(AGAIN_S, self.look if self.phase in _QUIET else self._round.go_on)
            return
        if self._claims.update(known):
            self._note()
        if self.phase is LockPhase.ENDED:
            if self._ps_idnat and self._claims.is_empty(known):
                self._ps_idnat = ""
                self._note()
        elif self._claims.is_empty(known):
            self.feed_now(LockEvent.SESSION_ENDED)
        elif (ours := self._claims.of(known)) and self.phase is not LockPhase.ENDING:
            self._look_at_screens(ours)
        elif self.phase is LockPhase.OPENING:
            self._jobs.after(AGAIN_S, self.look)  # what the login opens is still to come

    def _look_at_screens(self, ours: LogindSessions) -> None:
        covered = self._round.attempts.covered(ours)
        if covered is None:
            return
        opened = (self._round.covered - covered) & ours
        self._round.covered = covered
        if self.phase is LockPhase.OPENING:
            if not covered:
                self._round.is_opening = False
                self.feed_now(LockEvent.SCREEN_OPENED)
            else:
                self._jobs.after(AGAIN_S, self.look)
        elif opened:
            self.opened()
        elif self.phase is LockPhase.LOCKED and not self._round.attempts.are_confirmed(ours):
            self.feed_now(LockEvent.SCREEN_OPENED)  # a session has come since

    def opened(self) -> None:
        """Feed that a screen has opened, and whether a password may have done it."""
        if self.phase is LockPhase.LOCKED and not self._locking.locks_again:
            _log.warning("session of %s: opened by a password, no card follows", self.account)
            self.feed_now(LockEvent.PASSWORD_OPENED)
            return
        if self.phase in (LockPhase.LOCKED, LockPhase.LOCKING):
            _log.critical("session of %s was opened without its card", self.account)
        self.feed_now(LockEvent.SCREEN_OPENED)

    def _known(self) -> LogindSessions | None:
        return self._locking.desktop.sessions(self.account)

    def _sessions(self) -> LogindSessions:
        """Return the account's sessions; those last seen when nobody can tell."""
        known = self._known()
        self._last_seen = self._last_seen if known is None else known
        return self._last_seen

    def ours(self) -> LogindSessions | None:
        """Return the sessions that are followed, claimed anew; None when nobody can tell."""
        known = self._known()
        if known is not None and self._claims.update(known):
            self._note()
        return None if known is None else self._claims.of(known)

    def ours_last_seen(self) -> LogindSessions:
        """Return the sessions that are followed; those last seen when nobody can tell."""
        return self._claims.of(self._sessions())


def lock_unwatched(
    owners: Mapping[str, SessionOwner],
    locking: Locking,
    record: Callable[[str, SessionOwner | None], None] = lambda _account, _owner: None,
) -> dict[str, BoundSession]:
    """Begin to lock sessions that nobody watches: the daemon that followed them is gone.

    Args:
        owners: of the sessions, by account.
        locking: how this machine locks.
        record: stores an account's owner.

    Returns:
        The sessions, by account.
    """
    bound = {
        account: BoundSession(account, locking, partial(record, account)) for account in owners
    }
    for account, owner in owners.items():
        bound[account].take_over(owner)
    return bound

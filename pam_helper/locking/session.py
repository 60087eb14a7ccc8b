"""Sessions of one account, bound to a card: walks the session-lock table in a thread of its own.

Every event waits in one queue, and only this thread takes steps. Lockers are asked in threads of
their own and answer through the same queue, so that an earlier one may still confirm while the
next is asked, and the watcher never waits for a desktop.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from cps_auth.model import CardEvent, VerifiedHolder
from cps_auth.session_lock import LockAction, LockEvent, LockPhase, SessionLock
from pam_helper.locking.claims import Claims, Login
from pam_helper.locking.lockers import DesktopSession, Locker, Locking, LockProof, LogindSessions
from pam_helper.locking.session_owners import SessionOwner

LOCK_UP_WITHIN_S = 8.0
"""For all that is open to be locked, where somebody waits for it."""
AGAIN_S = 0.5
"""Wait between two tries, where there is nothing to lock yet or a session does not end."""
HIDE_AFTER_S = 2.0
"""A screen that nothing has covered for so long is replaced by an empty one meanwhile."""

_QUIET = (LockPhase.OPENING, LockPhase.OPEN, LockPhase.LOCKED, LockPhase.ENDED)
_NOBODY: LogindSessions = frozenset()

_log = logging.getLogger(__name__)


@dataclass(eq=False, slots=True)
class _Attempt:
    """One locker that was asked to lock one session."""

    locker: Locker
    session: DesktopSession
    is_gone: bool = False


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
        self._waiting: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._timer: tuple[float, Callable[[], object]] | None = None
        self._changed = threading.Condition()
        self._lock: SessionLock | None = None
        self._ps_idnat = ""
        self._claims = Claims()
        self._is_opening = False  # since the login; what covers now may be on its way out
        self._lockers_left: list[Locker] = []
        self._at_work: dict[tuple[str, str], _Attempt] = {}  # asked, by locker and session
        self._running: list[_Attempt] = []  # confirmed once, and still there
        self._confirmed: dict[str, set[str]] = {}  # by id of session, which lockers this round
        self._covered: LogindSessions = _NOBODY  # when it was last looked
        self._last_seen: LogindSessions = _NOBODY
        self._locking_since_s = 0.0
        self._is_hidden = False
        self._is_vacant = False  # the session that is to be locked has not come yet
        self._thread = threading.Thread(target=self._run, name=f"session {account}", daemon=True)
        self._thread.start()

    @property
    def phase(self) -> LockPhase:
        """Return where the session stands now."""
        return LockPhase.ENDED if self._lock is None else self._lock.phase

    @property
    def is_alive(self) -> bool:
        """Return whether its thread runs."""
        return self._thread.is_alive()

    def feed(self, event: LockEvent) -> None:
        """Queue an event; returns at once."""
        self._waiting.put(lambda: self._feed(event))

    def feed_card_event(self, event: CardEvent) -> None:
        """Queue a card event; returns at once."""
        self._waiting.put(lambda: self._lock and self._lock.feed_card_event(event))

    def look_again(self) -> None:
        """Queue a look at what logind says: sessions gone or new, screens that are open."""
        self._waiting.put(self._look)

    def take_over(self, owner: SessionOwner) -> None:
        """Lock what an earlier daemon followed and nobody has watched since; returns at once."""

        def run() -> None:
            self._ps_idnat = owner.ps_idnat
            self._claims.restore(owner, self._sessions())
            if owner.is_followed:
                _log.warning("session of %s was left unwatched: locking it", self.account)
                self._lock = SessionLock.unattended(owner.ps_idnat, self._perform)
                self._feed(LockEvent.WATCHER_STOPPED)

        self._waiting.put(run)

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

        self._waiting.put(run)
        try:
            return answer.result(within_s)
        except TimeoutError:
            # Cancelled in time it never runs; running already, its answer still counts.
            return not answer.cancel() and answer.result()

    def release(self) -> None:
        """Follow the card no more; the sessions stay their holder's own. Returns at once."""

        def run() -> None:
            self._distrust(self._sessions())
            self._feed(LockEvent.SESSION_ENDED)

        self._waiting.put(run)

    def settle(self, within_s: float) -> None:
        """Wait until what is queued now is done and nothing is being locked, or for so long."""
        deadline_s = time.monotonic() + within_s
        done = threading.Event()
        self._waiting.put(done.set)
        done.wait(within_s)
        with self._changed:
            left_s = max(0.0, deadline_s - time.monotonic())
            self._changed.wait_for(lambda: self._is_vacant or self.phase in _QUIET, left_s)

    def close(self, within_s: float) -> None:
        """Do what is queued, then end the thread."""
        deadline_s = time.monotonic() + within_s
        self.settle(within_s)
        self._waiting.put(None)
        self._thread.join(max(0.0, deadline_s - time.monotonic()))

    def _run(self) -> None:
        while True:
            job = self._next_job()
            if job is None:
                return
            try:
                job()
            except Exception as error:  # the thread must outlive whatever a desktop does
                _log.critical("session of %s: %s", self.account, type(error).__name__)
                self._after(AGAIN_S, self._go_on)
            with self._changed:
                self._changed.notify_all()
            del job  # it may be long until the next one

    def _next_job(self) -> Callable[[], object] | None:
        timer = self._timer
        left_s = None if timer is None else max(0.0, timer[0] - time.monotonic())
        try:
            return self._waiting.get(timeout=left_s)
        except queue.Empty:
            self._timer = None
            return timer[1] if timer else self._look

    def _after(self, seconds: float, job: Callable[[], object]) -> None:
        self._timer = (time.monotonic() + seconds, job)

    def _feed(self, event: LockEvent) -> None:
        if self._lock is None:
            return
        before = self.phase
        self._lock.feed(event)
        if self.phase is not before:
            _log.info("session of %s: %s, %s", self.account, event.value, self.phase.value)
        if self.phase is LockPhase.LOCKED:
            self._is_opening = False
        if self.phase in _QUIET:
            self._show()
        if self.phase is LockPhase.ENDED:
            self._timer = None
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
            self._lock = SessionLock(holder, reader, self._perform)
        _log.info("session of %s: %s, %s", self.account, login.service, self.phase.value)
        self._is_opening = True
        self._show()
        self._look()
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

    def _look(self) -> None:
        """Compare what logind says with what is claimed and confirmed, and feed what follows."""
        known = self._known()
        if known is None:
            if self.phase is not LockPhase.ENDED:
                self._after(AGAIN_S, self._look if self.phase in _QUIET else self._go_on)
            return
        if self._claims.update(known):
            self._note()
        if self.phase is LockPhase.ENDED:
            if self._ps_idnat and self._claims.is_empty(known):
                self._ps_idnat = ""
                self._note()
        elif self._claims.is_empty(known):
            self._feed(LockEvent.SESSION_ENDED)
        elif (ours := self._claims.of(known)) and self.phase is not LockPhase.ENDING:
            self._look_at_screens(ours)
        elif self.phase is LockPhase.OPENING:
            self._after(AGAIN_S, self._look)  # the session that the login opens is still to come

    def _look_at_screens(self, ours: LogindSessions) -> None:
        covered = self._covered_of(ours)
        if covered is None:
            return
        opened = (self._covered - covered) & ours
        self._covered = covered
        if self.phase is LockPhase.OPENING:
            if not covered:
                self._is_opening = False
                self._feed(LockEvent.SCREEN_OPENED)
            else:
                self._after(AGAIN_S, self._look)
        elif opened:
            self._opened()
        elif self.phase is LockPhase.LOCKED and not _ids(ours) <= self._confirmed.keys():
            self._feed(LockEvent.SCREEN_OPENED)  # a session has come since

    def _opened(self) -> None:
        """Feed that a screen has opened, and whether a password may have done it."""
        if self.phase is LockPhase.LOCKED and not self._locking.locks_again:
            _log.warning("session of %s: opened by a password, no card follows", self.account)
            self._feed(LockEvent.PASSWORD_OPENED)
            return
        if self.phase in (LockPhase.LOCKED, LockPhase.LOCKING):
            _log.critical("session of %s was opened without its card", self.account)
        self._feed(LockEvent.SCREEN_OPENED)

    def _covered_of(self, sessions: LogindSessions) -> LogindSessions | None:
        """Return the sessions that something covers, or says so; None when nobody can tell."""
        hint = self._locking.desktop.locked_hint(sessions)
        running = {attempt.session.session_id for attempt in self._running}
        return None if hint is None else hint | {s for s in sessions if s.session_id in running}

    def _perform(self, action: LockAction) -> None:
        self._timer, self._is_vacant = None, False
        _log.info("session of %s: %s", self.account, action.value)
        match action:
            case LockAction.ASK_FIRST_LOCKER:
                self._ask_first()
            case LockAction.ASK_NEXT_LOCKER:
                self._ask_next()
            case LockAction.END_SESSION:
                self._end()
            case LockAction.NOTHING:
                pass

    def _ask_first(self) -> None:
        known = self._known()
        if known is not None and self._claims.update(known):
            self._note()
        # Without logind nobody waits for those who could only wait for it.
        lockers = self._locking.lockers
        self._lockers_left = [one for one in lockers if known is not None or not one.needs_logind]
        self._confirmed = {}
        if not self._locking_since_s:
            self._locking_since_s = time.monotonic()
        self._covered = self._covered_of(self._ours()) or _NOBODY
        self._ask_next()

    def _ask_next(self) -> None:
        """Ask the next locker for every screen that is not confirmed; end text consoles."""
        ours = self._ours()
        consoles = frozenset(session for session in ours if not session.is_graphical)
        over = self._locking.desktop.terminate(consoles) if consoles else _NOBODY
        self._last_seen -= over
        screens = frozenset(s for s in ours - consoles if s.session_id not in self._confirmed)
        if not screens:
            self._nothing_to_lock(all_over=consoles <= over)
        elif not self._lockers_left:
            self._exhausted(screens)
        else:
            locker = self._lockers_left.pop(0)
            for session in screens:
                self._ask(locker, session)
            self._after(self._locking.next_after_s, self._overdue)

    def _ask(self, locker: Locker, session: DesktopSession) -> None:
        """Ask in a thread of its own; one that is still at work is not asked a second time."""
        key = (locker.name, session.session_id)
        if key in self._at_work:
            return
        self._at_work[key] = attempt = _Attempt(locker, session)
        opening = self._is_opening

        def run() -> None:
            proof = LockProof.NONE
            try:
                proof = locker.lock(session, partial(self._exited, attempt), opening=opening)
            except Exception as error:  # a locker that crashes is not a lock
                _log.critical("locker %s: %s", locker.name, type(error).__name__)
            self._waiting.put(lambda: self._answered(attempt, proof))

        threading.Thread(target=run, name=f"lock {session.session_id}", daemon=True).start()

    def _answered(self, attempt: _Attempt, proof: LockProof) -> None:
        session, locker = attempt.session, attempt.locker
        del self._at_work[locker.name, session.session_id]
        is_covered = proof is not LockProof.NONE and not attempt.is_gone
        if is_covered and proof is LockProof.WATCHED:
            self._running.append(attempt)
        covered = self._covered_of(frozenset((session,)))
        if locker.needs_logind and covered is not None:
            is_covered = is_covered and bool(covered)  # and not opened again since
        _log.info(
            "%s %s %s", locker.name, "locked" if is_covered else "did not lock", session.session_id
        )
        if self.phase is not LockPhase.LOCKING:
            return
        if is_covered:
            self._confirmed.setdefault(session.session_id, set()).add(locker.name)
            self._covered |= covered or _NOBODY
            if _ids(self._ours()) <= self._confirmed.keys():
                self._locked()
        elif self._lockers_left and not any(name == locker.name for name, _ in self._at_work):
            self._feed(LockEvent.LOCK_REFUSED)

    def _locked(self) -> None:
        took_s = time.monotonic() - self._locking_since_s
        _log.info("session of %s: locked after %.2f s", self.account, took_s)
        self._feed(LockEvent.LOCK_CONFIRMED)

    def _exited(self, attempt: _Attempt, ended_well: bool) -> None:
        """Hear, on the locker's thread, that it covers its session no more."""

        def run() -> None:
            attempt.is_gone = True
            if attempt not in self._running:
                return
            self._running.remove(attempt)
            if self.phase in (LockPhase.OPENING, LockPhase.OPEN):
                self._look()
            elif not self._is_still_covered(attempt.session):
                self._covered -= {attempt.session}
                self._uncovered(attempt.session, by_somebody=ended_well)

        self._waiting.put(run)

    def _uncovered(self, session: DesktopSession, *, by_somebody: bool) -> None:
        if by_somebody:
            self._opened()
        else:
            _log.critical("locker of session %s is gone", session.session_id)
            self._feed(LockEvent.LOCKER_DIED)

    def _is_still_covered(self, session: DesktopSession) -> bool:
        """Return whether another locker, which had confirmed too, covers a session."""
        by_hint = any(
            locker.needs_logind and locker.name in self._confirmed.get(session.session_id, ())
            for locker in self._locking.lockers
        )
        one = frozenset((session,))
        return any(other.session == session for other in self._running) or (
            by_hint and bool(self._locking.desktop.locked_hint(one))
        )

    def _overdue(self) -> None:
        """Go on where no locker has confirmed in time; the screen is hidden meanwhile."""
        if self.phase is not LockPhase.LOCKING:
            return
        self._hide()
        self._feed(LockEvent.DEADLINE_PASSED)

    def _exhausted(self, screens: LogindSessions) -> None:
        """Go on trying where every locker was asked; end what nothing covers, if so it is set."""
        covered = self._covered_of(screens)
        waited_s = time.monotonic() - self._locking_since_s
        end_after_s = self._locking.end_after_s
        if covered is not None and screens <= covered:
            # It says that it is covered, and did so before it was asked: believed by nobody, and
            # not ended either. When it opens without a login it is covered again.
            self._after(self._locking.next_after_s, self._check_exhausted)
        elif covered is not None and end_after_s is not None and waited_s >= end_after_s:
            self._feed(LockEvent.LOCKERS_EXHAUSTED)
        else:
            self._hide()
            self._after(AGAIN_S, self._ask_all_again)

    def _check_exhausted(self) -> None:
        self._look()
        if self.phase is LockPhase.LOCKING and self._timer is None:
            self._ask_next()

    def _ask_all_again(self) -> None:
        if self.phase is LockPhase.LOCKING:
            self._lockers_left = list(self._locking.lockers)
            self._ask_next()

    def _nothing_to_lock(self, *, all_over: bool) -> None:
        """No screen is left to lock: over, confirmed, or (soon after a login) still to come."""
        known = self._known()
        if known is None or not all_over or self._claims.awaits_login():
            self._is_vacant = known is not None and all_over
            self._after(AGAIN_S, self._go_on)
        elif self._claims.of(known):
            self._locked()
        else:
            self._feed(LockEvent.SESSION_ENDED)

    def _go_on(self) -> None:
        """After a failure nobody foresaw: start over from where the table stands."""
        if self.phase is LockPhase.LOCKING:
            self._ask_first()
        elif self.phase is LockPhase.ENDING:
            self._end()
        else:
            self._look()

    def _end(self) -> None:
        """End what no locker has locked, and go on until it is over; not what came since."""
        known = self._known()
        left = frozenset(s for s in self._ours() if s.session_id not in self._confirmed)
        over = self._locking.desktop.terminate(left) if left else _NOBODY
        if left <= over and known is not None:
            self._feed(LockEvent.SESSION_ENDED)
        else:
            _log.critical("session of %s is open and could not be ended", self.account)
            self._after(AGAIN_S, lambda: self._feed(LockEvent.DEADLINE_PASSED))

    def _hide(self) -> None:
        if time.monotonic() - self._locking_since_s >= HIDE_AFTER_S:
            screens = frozenset(s for s in self._ours() if s.session_id not in self._confirmed)
            self._is_hidden = self._locking.desktop.hide(screens) or self._is_hidden

    def _show(self) -> None:
        self._locking_since_s = 0.0
        if self._is_hidden:
            self._is_hidden = False
            self._locking.desktop.show(self._ours())

    def _known(self) -> LogindSessions | None:
        return self._locking.desktop.sessions(self.account)

    def _sessions(self) -> LogindSessions:
        """Return the account's sessions; those last seen when nobody can tell."""
        known = self._known()
        self._last_seen = self._last_seen if known is None else known
        return self._last_seen

    def _ours(self) -> LogindSessions:
        return self._claims.of(self._sessions())


def _ids(sessions: LogindSessions) -> set[str]:
    return {session.session_id for session in sessions}


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

"""One account's session, bound to a card: walks the session-lock table in a thread of its own.

Every event waits in one queue, and only this thread takes steps and asks lockers. So a lock
that is confirmed late cannot be mistaken for an answer to a newer question, and the watcher
never waits for a desktop.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial

from cps_auth.model import CardEvent, VerifiedHolder
from cps_auth.session_lock import LockAction, LockEvent, LockPhase, SessionLock
from pam_helper.locking.lockers import DesktopSession, Locker, Locking, Sessions

SETTLE_S = 30.0
"""A login program may take this long from the verified card to the session that it opens."""
LOCK_UP_WITHIN_S = 8.0
"""For all that is open to be locked, where somebody waits for it."""
AGAIN_S = 0.5
"""Wait between two tries, where there is nothing to lock yet or a session does not end."""

_log = logging.getLogger(__name__)


class BoundSession:
    """All local sessions of one account, opened by one holder. Safe to use from any thread."""

    def __init__(self, account: str, opened: VerifiedHolder | str, reader: str, locking: Locking):
        """Follow the account's session, which a verified login has just opened, or lock it.

        Args:
            account: the Unix account.
            opened: the verified login; or, of a session that nobody has watched since it was
                opened and that is locked at once, the PS_IdNat of its holder.
            reader: name of the reader that holds the card, "" for none.
            locking: how this machine locks.
        """
        self.account = account
        self._locking = locking
        self._waiting: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._again: Callable[[], object] | None = None
        self._lockers_left: list[Locker] = []
        self._to_lock: Sessions = frozenset()  # of this round
        self._locked: Sessions = frozenset()
        self._hinted: Sessions = frozenset()  # of those, which say so themselves
        self._round = 0  # of asking the lockers
        self._last_seen: Sessions = frozenset()
        self._verified_s = time.monotonic()
        if isinstance(opened, str):
            self._lock = SessionLock.left_open(opened, self._perform)
            self._verified_s -= SETTLE_S  # it is there, or over
            self.feed(LockEvent.WATCHER_STOPPED)
        else:
            self._lock = SessionLock(opened, reader, self._perform)
            self._waiting.put(self._learn)
        self._thread = threading.Thread(target=self._run, name=f"session {account}", daemon=True)
        self._thread.start()

    @property
    def phase(self) -> LockPhase:
        """Return where the session stands now."""
        return self._lock.phase

    def feed(self, event: LockEvent) -> None:
        """Queue an event; returns at once."""
        self._waiting.put(lambda: self._lock.feed(event))

    def feed_card_event(self, event: CardEvent) -> None:
        """Queue a card event; returns at once."""
        self._waiting.put(lambda: self._lock.feed_card_event(event))

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def look_again(self) -> None:
        """Queue a look at what logind says: sessions that are gone, screens that are open."""
        self._waiting.put(self._look)

    def _look(self) -> None:
        known = self._known()
        if known is None or self.phase not in (LockPhase.OPEN, LockPhase.LOCKED):
            return
        if not known and not self._is_settling():
            self._lock.feed(LockEvent.SESSION_ENDED)
        elif self.phase is LockPhase.LOCKED:
            self._look_at_covers(known)

    def _look_at_covers(self, known: Sessions) -> None:
        """Lock again what opened without a card, or what has come since and is open."""
        hinted = self._locking.desktop.hinted(known)
        if hinted is None or not (self._hinted & known) - hinted:
            self._hinted |= hinted or frozenset()
            if self._locking.locks_again and known - self._locked - (hinted or frozenset()):
                self._lock.feed(LockEvent.OPENED_OTHERWISE)
            return
        self._opened_without_card()

    def _opened_without_card(self) -> None:
        if self._locking.locks_again:
            _log.critical("session of %s was opened without its card", self.account)
            self._lock.feed(LockEvent.OPENED_OTHERWISE)
        else:
            _log.warning("session of %s: opened by a password, no card follows", self.account)
            self._lock.feed(LockEvent.SESSION_ENDED)

    def reopen(self, holder: VerifiedHolder, reader: str, within_s: float) -> bool:
        """Let the session's own holder in again, after everything that happened before.

        Args:
            holder, reader: as for `SessionLock.reopen`.
            within_s: how long to wait for what is still being done.

        Returns:
            True if the session is open; False if not, or not in time.
        """
        answer: Future[bool] = Future()

        def run() -> None:
            if not answer.set_running_or_notify_cancel():
                return
            opened = False
            try:
                self._verified_s = time.monotonic()
                opened = self._lock.reopen(holder, reader)
            finally:
                answer.set_result(opened)

        self._waiting.put(run)
        try:
            return answer.result(within_s)
        except TimeoutError:
            # Cancelled in time it never runs; running already, its answer still counts.
            return not answer.cancel() and answer.result()

    def settle(self, within_s: float) -> None:
        """Wait until what is queued now has been done, or for so long."""
        done = threading.Event()
        self._waiting.put(done.set)
        done.wait(within_s)

    def close(self, within_s: float) -> None:
        """Do what is queued, then end the thread."""
        self._waiting.put(None)
        self._thread.join(within_s)

    def _run(self) -> None:
        while True:
            try:
                job = self._waiting.get(timeout=AGAIN_S if self._again else None)
            except queue.Empty:
                job, self._again = self._again, None
            if job is None:
                return
            try:
                job()
            except Exception as error:  # the thread must outlive whatever a locker does
                _log.critical("session of %s: %s", self.account, type(error).__name__)
                self._again = self._try_again

    def _learn(self) -> None:
        """Get to know the session that a login opens, should logind be gone when it matters."""
        if not self._sessions() and self._is_settling():
            self._again = self._learn

    def _is_settling(self) -> bool:
        return time.monotonic() - self._verified_s < SETTLE_S

    def _try_again(self) -> None:
        """After a failure nobody foresaw: start over from where the table stands."""
        if self.phase is LockPhase.LOCKING:
            self._ask_first()
        elif self.phase is LockPhase.ENDING:
            self._end()

    def _perform(self, action: LockAction) -> None:
        self._again = None
        _log.info("session of %s: %s", self.account, action.value)
        match action:
            case LockAction.ASK_FIRST_LOCKER:
                self._ask_first()
            case LockAction.ASK_NEXT_LOCKER:
                self._ask_next()
            case LockAction.UNLOCK:
                self._locking.unlock(self._sessions())
            case LockAction.END_SESSION:
                self._end()
            case LockAction.NOTHING:
                pass

    def _gone(self, of_round: int, session: DesktopSession, ended_well: bool) -> None:
        """Hear, on the locker's thread, that it covers a session no more."""
        self._waiting.put(lambda: self._uncovered(of_round, session, ended_well))

    def _uncovered(self, of_round: int, session: DesktopSession, ended_well: bool) -> None:
        if of_round != self._round:
            return  # its successor covers: it was asked anew since
        if self.phase is LockPhase.LOCKED and ended_well:
            self._opened_without_card()
            return
        if self.phase is not LockPhase.OPEN:
            _log.critical("the locker of session %s is gone", session.session_id)
        self._lock.feed(LockEvent.LOCKER_DIED)

    def _ask_first(self) -> None:
        known = self._known()
        lockers = self._locking.lockers
        # Without logind nobody waits for those who could only wait for it.
        self._lockers_left = [one for one in lockers if known is not None or not one.needs_logind]
        self._last_seen = self._to_lock = self._last_seen if known is None else known
        self._round += 1
        self._locked = self._hinted = frozenset()
        self._ask_next()

    def _ask_next(self) -> None:
        if not self._lockers_left:
            self._give_up_or_try_again()
            return
        if not self._to_lock:
            self._nothing_to_lock()
            return
        open_sessions = self._to_lock - self._locked
        locker = self._lockers_left.pop(0)
        confirmed = locker.lock(open_sessions, partial(self._gone, self._round))
        self._locked |= confirmed
        if confirmed:
            self._hinted |= self._locking.desktop.hinted(confirmed) or frozenset()
        _log.info("%s locked %d of %d", locker.name, len(confirmed), len(open_sessions))
        everything = open_sessions <= confirmed
        self._lock.feed(LockEvent.LOCK_CONFIRMED if everything else LockEvent.LOCK_REFUSED)

    def _give_up_or_try_again(self) -> None:
        """End what nobody could lock; while logind is away nothing can be ended, so go on."""
        if self._known() is None:
            self._again = self._try_again
        else:
            self._lock.feed(LockEvent.LOCKERS_EXHAUSTED)

    def _nothing_to_lock(self) -> None:
        """No session is there: over, or (soon after a login) still to come."""
        if self._known() is None or self._is_settling():
            self._again = self._try_again
        else:
            self._lock.feed(LockEvent.SESSION_ENDED)

    def _end(self) -> None:
        """End what no locker has locked, and go on until it is over; not what came since."""
        known = self._known()
        left = self._to_lock - self._locked
        if known is not None:
            ids = {session.session_id for session in known}
            left = frozenset(session for session in left if session.session_id in ids)
        over = self._locking.desktop.terminate(left) if left else frozenset()
        if left <= over and known is not None:
            self._lock.feed(LockEvent.SESSION_ENDED)
        else:
            _log.critical("session of %s is open and could not be ended", self.account)
            self._again = lambda: self._lock.feed(LockEvent.DEADLINE_PASSED)

    def _known(self) -> Sessions | None:
        return self._locking.desktop.sessions(self.account)

    def _sessions(self) -> Sessions:
        """Return the account's sessions; those last seen when nobody can tell."""
        known = self._known()
        self._last_seen = self._last_seen if known is None else known
        return self._last_seen


def lock_unwatched(opened_by: Mapping[str, str], locking: Locking) -> dict[str, BoundSession]:
    """Begin to lock sessions that nobody watches: the daemon that followed them is gone.

    Args:
        opened_by: PS_IdNat of each session's holder, by account.
        locking: how this machine locks.

    Returns:
        The sessions, by account.
    """
    for account in opened_by:
        _log.warning("session of %s was left unwatched: locking it", account)
    return {
        account: BoundSession(account, ps_idnat, "", locking)
        for account, ps_idnat in opened_by.items()
    }

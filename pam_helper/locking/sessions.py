"""The sessions of this PC: which account is open, by whose card, and what locks it."""

from __future__ import annotations

import logging
import threading
import time

from cps_auth.errors import CardBusy, HolderNotAllowed
from cps_auth.login.verify import AccountCheck
from cps_auth.model import CardEvent, Practitioner, VerifiedHolder
from cps_auth.session_lock import LockEvent, LockPhase
from pam_helper.locking.lockers import Locking
from pam_helper.locking.session import BoundSession, lock_unwatched
from pam_helper.locking.session_owners import Owners

REOPEN_WITHIN_S = 8.0
"""A lock that is still being confirmed is waited for this long before a login is refused."""

_QUIET = (LockPhase.LOCKED, LockPhase.ENDED)

_log = logging.getLogger(__name__)


class BoundSessions:
    """All bound sessions. Safe to use from several threads."""

    def __init__(self, locking: Locking, owners: Owners) -> None:
        """Know no session yet; `lock_left_open` deals with an earlier daemon's.

        Args:
            locking: how this machine locks.
            owners: what outlives the daemon.
        """
        self._locking = locking
        self._owners = owners
        self._mutex = threading.Lock()
        self._bound: dict[str, BoundSession] = {}
        self._closing = threading.Event()

    def may_open(self, account: str) -> AccountCheck:
        """Return the part of step 6 that keeps a session its holder's own.

        Returns:
            A check that raises HolderNotAllowed: the account's session is another holder's
            ("session-of-another"), or that cannot be told ("session-unknown").
        """

        def check(practitioner: Practitioner) -> None:
            owner = self._owners.owner_of(account)
            if owner in (None, practitioner.ps_idnat):
                return
            sessions = self._locking.desktop.sessions(account)
            if sessions is None:
                raise HolderNotAllowed("session-unknown")
            if sessions:
                raise HolderNotAllowed("session-of-another")
            self._drop(account)

        return check

    def bind(self, account: str, holder: VerifiedHolder, reader: str) -> None:
        """Bind the account's session to the card that has just been verified.

        Args:
            account: the Unix account.
            holder: the verified login, for which `may_open` was asked.
            reader: name of the reader that holds the card.

        Raises:
            ConfigurationError: it could not be written down.
            CardBusy: the session is still being locked, or the daemon is stopping.
        """
        with self._mutex:
            if self._closing.is_set():
                raise CardBusy
            self._owners.put(account, holder.practitioner.ps_idnat)
            old = self._bound.get(account)
            if old is None or old.phase is LockPhase.ENDED:
                self._bound[account] = BoundSession(account, holder, reader, self._locking)
        if old is None:
            return
        if self._bound[account] is not old:
            old.close(0)
        elif not old.reopen(holder, reader, REOPEN_WITHIN_S):
            raise CardBusy

    def release(self, account: str) -> None:
        """Stop following a card: an administrator's one-time code has opened the session.

        The session stays its holder's own. No card watches over it until the next login by one.
        """
        with self._mutex:
            session = self._bound.pop(account, None)
        if session is not None:
            session.feed(LockEvent.SESSION_ENDED)
            session.close(0)
        self._locking.unlock(self._locking.desktop.sessions(account) or frozenset())

    def feed_card_event(self, event: CardEvent) -> None:
        """Tell every session; returns at once."""
        for session in self._all():
            session.feed_card_event(event)

    def feed(self, account: str, event: LockEvent) -> None:
        """Tell one account's session, if there is one; returns at once."""
        with self._mutex:
            session = self._bound.get(account)
        if session is not None:
            session.feed(event)

    def feed_all(self, event: LockEvent) -> None:
        """Tell every session; returns at once."""
        for session in self._all():
            session.feed(event)

    def look_again(self) -> None:
        """Have every session look at what logind says of it; returns at once."""
        for session in self._all():
            session.look_again()

    def await_locked(self, within_s: float) -> None:
        """Wait until every session is quiet, or for so long: the PC is about to sleep.

        Args:
            within_s: how long at most.
        """
        deadline_s = time.monotonic() + within_s
        for session in self._all():
            session.settle(max(0.0, deadline_s - time.monotonic()))
            if session.phase not in (*_QUIET, LockPhase.ENDED):
                _log.critical("session of %s is %s", session.account, session.phase.value)

    def are_watched(self) -> bool:
        """Whether the thread of every session runs."""
        return all(session.is_alive for session in self._all())

    def lock_left_open(self, within_s: float) -> None:
        """Lock every session that an earlier daemon left: nobody has watched it since.

        Args:
            within_s: how long to wait for it; it goes on behind where logind is not there yet.
        """
        deadline_s = time.monotonic() + within_s
        left = lock_unwatched(self._owners.all(), self._locking)
        with self._mutex:
            self._bound |= left
        for account, session in left.items():
            session.settle(max(0.0, deadline_s - time.monotonic()))
            if session.phase is LockPhase.ENDED:
                self._drop(account)

    def stop_if_quiet(self) -> bool:
        """Bind no session any more, unless one is open; return whether none is."""
        with self._mutex:
            if all(session.phase in _QUIET for session in self._bound.values()):
                self._closing.set()
            return self._closing.is_set()

    def close(self, within_s: float) -> None:
        """Lock every open session and wait until it is confirmed, or for so long."""
        deadline_s = time.monotonic() + within_s
        with self._mutex:
            self._closing.set()
        sessions = self._all()
        for session in sessions:
            session.feed(LockEvent.WATCHER_STOPPED)
        for session in sessions:
            session.close(max(0.0, deadline_s - time.monotonic()))
            if session.phase not in _QUIET:
                _log.critical("session of %s is %s", session.account, session.phase.value)

    def _drop(self, account: str) -> None:
        with self._mutex:
            session = self._bound.pop(account, None)
        if session is not None:
            session.feed(LockEvent.SESSION_ENDED)
            session.close(0)
        self._owners.forget(account)

    def _all(self) -> list[BoundSession]:
        with self._mutex:
            return list(self._bound.values())

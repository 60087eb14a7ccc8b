"""Bound sessions of this PC: which account is open, by whose card, and what locks it."""

from __future__ import annotations

import logging
import threading
import time
from functools import partial

from cps_auth.errors import CardBusy, HolderNotAllowed
from cps_auth.login.verify import AccountCheck
from cps_auth.model import CardEvent, Practitioner, VerifiedHolder
from cps_auth.session_lock import LockEvent, LockPhase
from pam_helper.locking.lockers import Locking
from pam_helper.locking.session import BoundSession, lock_unwatched
from pam_helper.locking.session_owners import Claims, Login, SessionOwners

REOPEN_WITHIN_S = 8.0
"""Wait for what is still being done to a session, before a login is refused."""

_QUIET = (LockPhase.LOCKED, LockPhase.ENDED)

_log = logging.getLogger(__name__)


class BoundSessions:
    """All bound sessions. Safe to use from several threads."""

    def __init__(self, locking: Locking, owners: SessionOwners) -> None:
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
            if owner is None or owner.ps_idnat == practitioner.ps_idnat:
                return
            sessions = self._locking.desktop.sessions(account)
            if sessions is None:
                raise HolderNotAllowed("session-unknown")
            claims = Claims()
            claims.restore(owner, sessions)
            if not claims.is_empty(sessions):
                raise HolderNotAllowed("session-of-another")
            self._drop(account)

        return check

    def bind(self, account: str, holder: VerifiedHolder, reader: str, login: Login) -> None:
        """Bind what a verified login opens to the card, which is still in its reader.

        Args:
            account: the Unix account.
            holder: the verified login, for which `may_open` was asked.
            reader: name of the reader that holds the card.
            login: the program that asked.

        Raises:
            ConfigurationError: it could not be written down.
            CardBusy: the session is being ended, or the daemon is stopping.
        """
        with self._mutex:
            if self._closing.is_set():
                raise CardBusy
            bound = self._bound.get(account)
            if bound is None:
                record = partial(self._owners.put, account)
                bound = self._bound[account] = BoundSession(account, self._locking, record)
        if not bound.reopen(holder, reader, login, REOPEN_WITHIN_S):
            raise CardBusy

    def release(self, account: str) -> None:
        """Stop following a card: an administrator's one-time code has opened the session.

        The session stays its holder's own. No card watches over it until the next login by one.
        """
        with self._mutex:
            bound = self._bound.get(account)
        if bound is not None:
            bound.release()
            bound.settle(REOPEN_WITHIN_S)

    def is_covered(self, account: str) -> bool:
        """Return whether some screen of the account says that it is locked."""
        sessions = self._locking.desktop.sessions(account) or frozenset()
        return bool(self._locking.desktop.locked_hint(sessions)) or self._is_locked(account)

    def _is_locked(self, account: str) -> bool:
        with self._mutex:
            bound = self._bound.get(account)
        return bound is not None and bound.phase in (LockPhase.LOCKING, LockPhase.LOCKED)

    def feed_card_event(self, event: CardEvent) -> None:
        """Queue an event for every session; returns at once."""
        for session in self._all():
            session.feed_card_event(event)

    def feed(self, account: str, event: LockEvent) -> None:
        """Queue an event for one account's session, if there is one; returns at once."""
        with self._mutex:
            session = self._bound.get(account)
        if session is not None:
            session.feed(event)

    def feed_all(self, event: LockEvent) -> None:
        """Queue an event for every session; returns at once."""
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
            _complain(session)

    def are_watched(self) -> bool:
        """Return whether the thread of every session runs."""
        return all(session.is_alive for session in self._all())

    def lock_left_open(self, within_s: float) -> None:
        """Lock every session that an earlier daemon left: nobody has watched it since.

        Args:
            within_s: how long to wait for it; it goes on behind where logind is not there yet.
        """
        deadline_s = time.monotonic() + within_s
        left = lock_unwatched(self._owners.all(), self._locking, self._owners.put)
        with self._mutex:
            self._bound |= left
        for session in left.values():
            session.look_again()
            session.settle(max(0.0, deadline_s - time.monotonic()))

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
            _complain(session)

    def _drop(self, account: str) -> None:
        """Forget sessions that are over."""
        with self._mutex:
            session = self._bound.get(account)
        if session is not None:
            session.release()
            session.settle(REOPEN_WITHIN_S)
        self._owners.put(account, None)

    def _all(self) -> list[BoundSession]:
        with self._mutex:
            return list(self._bound.values())


def _complain(session: BoundSession) -> None:
    if session.phase not in _QUIET:
        _log.critical("session of %s is %s", session.account, session.phase.value)

"""The session-lock hook, beside the web session: the same card, the same events.

In a practice `pam_helper` owns this and locks the screen. Here the locker only writes down
what it was asked to do, so that the demo can show it.
"""

from __future__ import annotations

import threading

from cps_auth.card.port import CardSource, Watch
from cps_auth.model import CardEvent, CardEventKind, VerifiedHolder
from cps_auth.session_lock import LockAction, LockEvent, LockPhase, SessionLock

_WATCHER_SEES_CARD_WITHIN_S = 3.0


class ComputerLock:
    """One computer's session, bound to the last login.

    Attributes:
        actions: everything that the lock asked for, in order.
    """

    def __init__(self, cards: CardSource) -> None:
        self._cards = cards
        self._mutex = threading.Lock()
        self._lock: SessionLock | None = None
        self._watch: Watch | None = None
        self._sees_card = threading.Event()
        self.actions: list[LockAction] = []

    @property
    def phase(self) -> LockPhase | None:
        """Return where the session stands; None before the first login."""
        lock = self._lock
        return None if lock is None else lock.phase

    def bind(self, holder: VerifiedHolder, reader: str) -> None:
        """Open the session for a verified login, or reopen it for the same holder."""
        with self._mutex:
            if self._watch is None:
                self._watch = self._cards.watch(self._hear)
                # It begins with the readers that there are: no news to a session opened after
                self._sees_card.wait(_WATCHER_SEES_CARD_WITHIN_S)
            if self._lock is None or not self._lock.reopen(holder, reader):
                self._lock = SessionLock(holder, reader, self._perform)
            self._lock.feed(LockEvent.SCREEN_OPENED)  # at once: there is no desktop here

    def stop(self) -> None:
        """Stop watching; the session locks, since nobody watches any more."""
        watch = self._watch
        if watch is not None:
            watch.stop()

    def _hear(self, event: CardEvent) -> None:
        if event.kind is CardEventKind.CARD_INSERTED:
            self._sees_card.set()
        lock = self._lock
        if lock is not None and lock.feed_card_event(event) is LockAction.ASK_FIRST_LOCKER:
            lock.feed(LockEvent.LOCK_CONFIRMED)

    def _perform(self, action: LockAction) -> None:
        self.actions.append(action)

"""Ends local sessions when their card leaves, or when nobody can tell any more.

A session is bound to one visit: the time that one card spends in one reader without leaving.
Visits are numbered from what the watcher tells; a login is only accepted inside a visit that the
watcher itself has seen begin, so no removal can fall between the two.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from time import monotonic

from cps_auth.backoff import Backoff
from cps_auth.card.port import CardSource, Watch
from cps_auth.errors import CardRemoved, CpsAuthError, ReaderServiceUnavailable
from cps_auth.flask.sessions.model import EndReason, SessionRow, SessionStore
from cps_auth.model import CardEvent, CardEventKind

WATCHER_SEES_CARD_WITHIN_S = 3.0
"""A watcher that has just been started tells of a present card within milliseconds."""

UNKNOWN_PRESENCE = "unknown"
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 5.0
"""Between two questions of waiting pages to a reader service that does not answer."""

_log = logging.getLogger(__name__)

_ARRIVALS = (CardEventKind.CARD_INSERTED, CardEventKind.CARD_SWAPPED)
_OF_ONE_READER = (
    CardEventKind.CARD_REMOVED,
    CardEventKind.CARD_SWAPPED,
    CardEventKind.READER_GONE,
)
_OF_ALL: Mapping[CardEventKind, EndReason] = {
    CardEventKind.SERVICE_LOST: EndReason.SERVICE_LOST,
    CardEventKind.WATCHER_STOPPED: EndReason.WATCHER_STOPPED,
}

OnEnd = Callable[[SessionRow], None]


class RemovalWatch:
    """One watcher per process, started by the first login and bound to the rows it guards."""

    def __init__(
        self,
        cards: CardSource,
        sessions: SessionStore,
        clock: Callable[[], datetime],
        on_end: OnEnd,
    ) -> None:
        """Remember what to watch; nothing is started.

        Args:
            cards: where the cards are.
            sessions: where the rows are.
            clock: tells the time, aware UTC.
            on_end: told of every row that was ended, in the watcher's thread.
        """
        self._cards = cards
        self._sessions = sessions
        self._clock = clock
        self._on_end = on_end
        self._changed = threading.Condition()
        self._visits: dict[str, int] = {}
        self._last_visit = 0
        self._watch: Watch | None = None
        self._watch_id: str | None = None
        self._process = os.getpid()
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)
        self._ask_from_s = 0.0

    def ensure_running(self) -> str:
        """Start the watcher if it does not run in this process; return its identifier."""
        with self._changed:
            if self._watch_id is None or self._process != os.getpid():
                watch_id = secrets.token_hex(16)
                self._visits.clear()
                self._watch_id, self._process = watch_id, os.getpid()
                self._watch = self._cards.watch(lambda event: self._hear(watch_id, event))
            return self._watch_id

    def guards(self, watch_id: str | None) -> bool:
        """Return whether this very watcher is running, here and now."""
        return watch_id is not None and watch_id == self._watch_id and self._process == os.getpid()

    def await_visit(self, reader: str) -> int:
        """Return the number of the visit that is going on in a reader.

        Raises:
            CardRemoved: the watcher does not see a card there.
        """
        with self._changed:
            if not self._changed.wait_for(
                lambda: reader in self._visits, WATCHER_SEES_CARD_WITHIN_S
            ):
                raise CardRemoved
            return self._visits[reader]

    def still_there(self, reader: str, visit: int) -> bool:
        """Return whether that visit goes on, for the watcher and for the service asked anew."""
        try:
            states = self._cards.readers()
        except ReaderServiceUnavailable:
            return False
        present = any(state.name == reader and state.atr is not None for state in states)
        return present and self._visits.get(reader) == visit

    def presence(self) -> dict[str, str | bool]:
        """Return what a waiting page may know of the readers.

        Returns:
            `presence`, a fingerprint that differs whenever a card came or went, and `card`,
            whether one is there. Where nobody can tell, `UNKNOWN_PRESENCE` and no card: a
            service that did not answer is asked again at growing intervals, however many pages
            wait.
        """
        nobody_knows: dict[str, str | bool] = {"presence": UNKNOWN_PRESENCE, "card": False}
        if monotonic() < self._ask_from_s:
            return nobody_knows
        try:
            states = self._cards.readers()
        except CpsAuthError:
            self._ask_from_s = monotonic() + self._backoff.pause_s()
            return nobody_knows
        self._backoff.reset()
        seen = repr([(state.name, state.atr, state.event_count) for state in states])
        return {
            "presence": hashlib.sha256(seen.encode()).hexdigest()[:16],
            "card": any(state.atr is not None for state in states),
        }

    def stop(self) -> None:
        """Stop the watcher; every session that it guarded ends. May be called twice."""
        with self._changed:
            watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()

    def _hear(self, watch_id: str, event: CardEvent) -> None:
        """The watcher's listener: never raises, and what goes wrong ends every session."""
        try:
            self._note(watch_id, event)
            for row in self._end_rows(watch_id, event):
                self._on_end(row)
        except Exception:
            _log.exception("a card event could not be handled: all local sessions end")
            self._forget(watch_id)

    def _note(self, watch_id: str, event: CardEvent) -> None:
        with self._changed:
            if watch_id != self._watch_id:
                return
            if event.kind in _OF_ALL:
                self._visits.clear()
            elif event.kind in _ARRIVALS:
                self._last_visit += 1
                self._visits[event.reader] = self._last_visit
            elif event.kind in _OF_ONE_READER:
                self._visits.pop(event.reader, None)
            self._changed.notify_all()
        if event.kind is CardEventKind.WATCHER_STOPPED:
            self._forget(watch_id)

    def _end_rows(self, watch_id: str, event: CardEvent) -> tuple[SessionRow, ...]:
        at = self._clock()
        if event.kind in _OF_ALL:
            return self._sessions.end_watch(watch_id, _OF_ALL[event.kind], at=at)
        if event.kind in _OF_ONE_READER:
            reason = EndReason.CARD_REMOVED
            return self._sessions.end_reader(watch_id, event.reader, reason, at=at)
        return ()

    def _forget(self, watch_id: str) -> None:
        """From here on nothing is guarded, so every row that says it is counts as over."""
        with self._changed:
            if watch_id == self._watch_id:
                self._watch_id = None
                self._visits.clear()

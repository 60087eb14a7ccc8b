"""Which card is where, as seen by one watcher, with a pipe that tells of every change."""

from __future__ import annotations

import contextlib
import os
import threading

from cps_auth.card.port import CardSource
from cps_auth.model import CardEvent, CardEventKind

_ARRIVALS = (CardEventKind.CARD_INSERTED, CardEventKind.CARD_SWAPPED)
_DEPARTURES = (CardEventKind.CARD_REMOVED, CardEventKind.READER_GONE)
_ALL_GONE = (CardEventKind.SERVICE_LOST, CardEventKind.WATCHER_STOPPED)


class Presence:
    """Numbers every visit of a card to a reader: the same number means that it never left.

    Attributes:
        changed: a descriptor that can be read when something changed since `clear`.
    """

    def __init__(self, cards: CardSource) -> None:
        self.changed, self._wake = os.pipe()
        os.set_blocking(self.changed, False)
        os.set_blocking(self._wake, False)
        self._mutex = threading.Lock()
        self._visits: dict[str, int] = {}
        self._last = 0
        self._watch = cards.watch(self._hear)

    def visit(self, reader: str) -> int | None:
        """Return the number of the visit that goes on in a reader; None: nothing is known."""
        with self._mutex:
            return self._visits.get(reader)

    def clear(self) -> None:
        """Forget that something changed."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self.changed, 64):
                pass

    def stop(self) -> None:
        """Stop the watcher."""
        self._watch.stop()

    def _hear(self, event: CardEvent) -> None:
        with self._mutex:
            if event.kind in _ARRIVALS:
                self._last += 1
                self._visits[event.reader] = self._last
            elif event.kind in _DEPARTURES:
                self._visits.pop(event.reader, None)
            elif event.kind in _ALL_GONE:
                self._visits.clear()
        with contextlib.suppress(OSError):  # a full pipe says the same
            os.write(self._wake, b"!")

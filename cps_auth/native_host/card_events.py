"""Card events as a pollable file descriptor."""

from __future__ import annotations

import contextlib
import os
import threading

from cps_auth.card.port import CardSource
from cps_auth.model import CardEvent, CardEventKind

_LEFT = frozenset({CardEventKind.CARD_REMOVED, CardEventKind.CARD_SWAPPED})
_NOBODY_KNOWS = frozenset({CardEventKind.SERVICE_LOST, CardEventKind.WATCHER_STOPPED})


class CardEvents:
    """Collects the events of one watcher. Silence never means "still here": it tells its end."""

    def __init__(self, cards: CardSource) -> None:
        """Start watching."""
        self._mutex = threading.Lock()
        self._events: list[CardEvent] = []
        self._read_end, self._write_end = os.pipe()
        os.set_blocking(self._read_end, False)
        os.set_blocking(self._write_end, False)
        self._watch = cards.watch(self._hear)

    def fileno(self) -> int:
        """Return a descriptor that is readable when something happened."""
        return self._read_end

    def acknowledge(self) -> None:
        """Make the descriptor silent until something else happens."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._read_end, 512):
                pass

    def forget(self) -> None:
        """Forget what happened before a card is opened."""
        self.acknowledge()
        with self._mutex:
            self._events.clear()

    def loss_of(self, reader: str | None) -> CardEventKind | None:
        """Return why the card in a reader is not, or may not be, there any more; None: it is.

        Args:
            reader: None when nobody knows which one: then whatever leaves may be that card.
        """
        with self._mutex:
            for event in self._events:
                left = event.kind in _LEFT and reader in (None, event.reader)
                if left or event.kind in _NOBODY_KNOWS:
                    return event.kind
        return None

    def close(self) -> None:
        """Stop watching."""
        self._watch.stop()
        os.close(self._read_end)
        os.close(self._write_end)

    def _hear(self, event: CardEvent) -> None:
        with self._mutex:
            self._events.append(event)
        with contextlib.suppress(BlockingIOError):  # full of bells that nobody heard yet
            os.write(self._write_end, b"\0")

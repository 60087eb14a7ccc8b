"""Cache of what known cards say without a PIN, so that a known card costs almost nothing.

Keyed by the serial number that the card says each time. Nothing here is trusted: only what a
signature of the card proved is kept; unless that was since the card was inserted, the end of the
certificate is compared with the card's before a PIN is sent; and the login verifies the
signature. A wrong entry costs a refused login, no attempt. It lives as long as its program.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cps_auth.model import CardKind, ReaderState

if TYPE_CHECKING:
    from cps_auth.card.native.layout import Pkcs15Layout

_CARDS_KEPT: Final = 64  # a practice has a handful


@dataclass(frozen=True, slots=True)
class CachedCard:
    """The public data of one card, once read."""

    layout: Pkcs15Layout
    certificate_der: bytes


@dataclass(frozen=True, slots=True)
class CardEntry:
    """The cache entry of one card."""

    card: CachedCard | None = None
    proven_in: ReaderState | None = None  # the insertion in which a signature proved it


class CardCache:
    """Known cards of one program, in memory. Used by any thread."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._entries: dict[tuple[CardKind, str], CardEntry] = {}
        self._lock = threading.Lock()

    def get(self, kind: CardKind, serial: str) -> CardEntry:
        """Return what is kept of a card: nothing, for one that is not known."""
        with self._lock:
            return self._entries.get((kind, serial), CardEntry())

    def put(self, kind: CardKind, serial: str, entry: CardEntry) -> None:
        """Keep something of a card, in the place of what was kept of it."""
        with self._lock:
            self._entries.pop((kind, serial), None)
            self._entries[kind, serial] = entry
            if len(self._entries) > _CARDS_KEPT:
                del self._entries[next(iter(self._entries))]


class CardMemory:
    """The cached knowledge of the card that is in one reader now.

    Attributes:
        card: what it says of itself, None for a card not known.
        is_proven: whether a signature proved that since the card was inserted.
    """

    def __init__(
        self, cache: CardCache, kind: CardKind, serial: str, insertion: ReaderState
    ) -> None:
        """Look up what is known.

        Args:
            cache: known cards.
            kind, serial: what the card says now.
            insertion: its reader now, with PC/SC's event count.
        """
        self._cache = cache
        self._key = kind, serial
        self._insertion = insertion
        entry = cache.get(kind, serial)
        self.card = entry.card
        self.is_proven = entry.card is not None and entry.proven_in == insertion

    def learn(self, card: CachedCard) -> None:
        """Keep what a signature of the card just proved."""
        self.card, self.is_proven = card, True
        self._keep()

    def forget(self) -> None:
        """Forget a card that turned out to say something else."""
        self.card, self.is_proven = None, False
        self._keep()

    def _keep(self) -> None:
        proven_in = self._insertion if self.is_proven else None
        self._cache.put(*self._key, CardEntry(self.card, proven_in))

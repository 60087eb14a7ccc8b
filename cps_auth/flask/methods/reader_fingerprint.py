"""What a waiting page may know of the readers: that something changed, and if there is a card."""

from __future__ import annotations

import hashlib

from cps_auth.card.port import CardSource
from cps_auth.errors import ReaderServiceLost

UNKNOWN = "unknown"


def presence_of(cards: CardSource) -> dict[str, str | bool]:
    """Return a fingerprint that differs whenever a card came or went, and whether one is there.

    Where nobody can tell, the fingerprint is `UNKNOWN` and there is no card.
    """
    try:
        states = cards.readers()
    except ReaderServiceLost:
        return {"presence": UNKNOWN, "card": False}
    seen = repr([(state.name, state.atr, state.event_count) for state in states])
    return {
        "presence": hashlib.sha256(seen.encode()).hexdigest()[:16],
        "card": any(state.atr is not None for state in states),
    }

"""Random numbers that are the same for ever: SHA-256 of a seed and a counter."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

_Item = TypeVar("_Item")


class Draws:
    """One sequence of random choices. Python's own generator may change between versions."""

    def __init__(self, seed: str) -> None:
        self._seed = seed.encode()
        self._drawn = 0

    def octets(self, count: int) -> bytes:
        """Return random bytes, at most 32."""
        self._drawn += 1
        return hashlib.sha256(b"%s:%d" % (self._seed, self._drawn)).digest()[:count]

    def below(self, limit: int) -> int:
        """Return a number from 0 to `limit` - 1; the bias of the modulus does not matter here."""
        return int.from_bytes(self.octets(8), "big") % limit

    def one_of(self, items: Sequence[_Item]) -> _Item:
        """Return one item."""
        return items[self.below(len(items))]

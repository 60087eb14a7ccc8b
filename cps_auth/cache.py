"""A bounded cache: what was used least recently is dropped first. Safe to share between threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class BoundedCache(Generic[Key, Value]):
    """At most so many values by key. Whoever makes one owns it: none is the process's own."""

    def __init__(self, at_most: int) -> None:
        """Make an empty cache.

        Args:
            at_most: how many values it keeps, 1 or more.
        """
        self._at_most = at_most
        self._mutex = threading.Lock()
        self._values: OrderedDict[Key, Value] = OrderedDict()

    def get(self, key: Key) -> Value | None:
        """Return the value of a key, which counts as used now; None when there is none."""
        with self._mutex:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Key, value: Value) -> None:
        """Keep a value in place of the key's earlier one."""
        with self._mutex:
            self._values[key] = value
            self._values.move_to_end(key)
            if len(self._values) > self._at_most:
                self._values.popitem(last=False)

    def pop(self, key: Key) -> Value | None:
        """Drop a key and return its value; None when there is none."""
        with self._mutex:
            return self._values.pop(key, None)

    def clear(self) -> None:
        """Drop everything."""
        with self._mutex:
            self._values.clear()

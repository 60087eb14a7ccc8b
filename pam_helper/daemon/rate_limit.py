"""Rate limit: at most so many requests per asker, in a window that slides."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager

from cps_auth.errors import TooManyRequests

WINDOW_S = 60.0
MAX_ASKERS = 1024


class RateLimit:
    """Counts requests by asker. Safe to use from any thread."""

    def __init__(self, at_most: int, window_s: float = WINDOW_S) -> None:
        """Allow `at_most` requests of each asker per window.

        Args:
            at_most: requests.
            window_s: length of the window in seconds.
        """
        self._at_most = at_most
        self._window_s = window_s
        self._mutex = threading.Lock()
        self._asked: dict[Hashable, deque[float]] = {}

    def count(self, asker: Hashable, now_s: float) -> None:
        """Count one request.

        Args:
            asker: whoever has a limit of their own.
            now_s: monotonic clock.

        Raises:
            TooManyRequests: the window is full; this request was not counted.
        """
        with self._mutex:
            self._forget_old(now_s)
            times = self._asked.setdefault(asker, deque())
            if len(times) >= self._at_most:
                raise TooManyRequests(self._window_s - (now_s - times[0]))
            if len(self._asked) > MAX_ASKERS:
                raise TooManyRequests(self._window_s)
            times.append(now_s)

    def forgive(self, asker: Hashable) -> None:
        """Take back the last request that was counted: nothing was wrong with it."""
        with self._mutex:
            if times := self._asked.get(asker):
                times.pop()

    @contextmanager
    def counting(self, asker: Hashable, now_s: float, *, unless: type[Exception]) -> Iterator[None]:
        """Count a request while it is served, and forgive it unless it fails so.

        Args:
            asker, now_s: as for `count`.
            unless: what is not forgiven.

        Raises:
            TooManyRequests: it was not served.
        """
        self.count(asker, now_s)
        try:
            yield
        except unless:
            raise
        except BaseException:
            self.forgive(asker)
            raise
        self.forgive(asker)

    def _forget_old(self, now_s: float) -> None:
        for asker, times in list(self._asked.items()):
            while times and now_s - times[0] >= self._window_s:
                times.popleft()
            if not times:
                del self._asked[asker]

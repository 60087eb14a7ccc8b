"""Waiting in the main thread, from which no signal is lost.

Python runs a signal's handler in the main thread, between two of its steps. A signal that comes
just before that thread begins to wait for a lock, as of a queue, does not wake it: Ctrl-C or
SIGTERM would be heard with the next event, or never. A pipe that the signal itself writes to does.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections import deque
from contextlib import suppress
from types import TracebackType
from typing import Generic, Self, TypeVar

_T = TypeVar("_T")
_AT_ONCE = 4096


class MainThreadQueue(Generic[_T]):
    """A queue to the main thread that signals reliably wake. A context manager.

    One at a time: it takes the process's wake-up descriptor, and gives the one before it back.
    """

    def __init__(self) -> None:
        """Begin to listen. Called in the main thread."""
        self._items: deque[_T] = deque()
        self._mutex = threading.RLock()  # a handler may come while the main thread puts
        self._is_open = True
        self._woken, self._wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._ready = select.poll()
        self._ready.register(self._woken, select.POLLIN)
        # Full is as good as one byte
        self._before = signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)

    def put(self, item: _T) -> None:
        """Put an item, from any thread or signal handler; dropped once the queue is closed."""
        self._items.append(item)
        with self._mutex, suppress(BlockingIOError):  # when full, it is woken already
            if self._is_open:
                os.write(self._wake, b"\0")

    def get(self, timeout_s: float | None = None) -> _T | None:
        """Wait for the next item, in the main thread. What a signal's handler raises comes out.

        Args:
            timeout_s: how long; None for ever.

        Returns:
            The item, None when there was none in time, or only a signal.
        """
        if not self._items and self._ready.poll(None if timeout_s is None else timeout_s * 1000):
            os.read(self._woken, _AT_ONCE)
        return self._items.popleft() if self._items else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._before)
        with self._mutex:
            self._is_open = False
            os.close(self._wake)
            os.close(self._woken)

"""Deadlines for calls that have none: pcsc-lite waits for ever for a card or for its daemon."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Final, Generic, TypeVar

from cps_auth.background import BackgroundThread

_T = TypeVar("_T")

_MOST_LEFT_BEHIND: Final = 16
"""Threads that hang at once: a pcscd that is stopped for hours must not cost one a retry."""
_left_behind: set[DeadlineThread] = set()
_spare: deque[BackgroundThread] = deque(maxlen=1)
"""An idle thread whose owner is done with it: to start one takes longer than to ask pcscd."""
os.register_at_fork(after_in_child=_spare.clear)  # threads are not forked


def nothing(_: object) -> None:
    """Undo nothing."""


class _Call(Generic[_T]):
    """One call: what it returned, or that it was given up.

    A future of the standard library does the same and more, in more time than to ask pcscd takes.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._settled = threading.Lock()  # held until it has returned or was given up
        self._settled.acquire()
        self.results: list[_T] = []  # what it returned: one, or nothing yet
        self._is_given_up = False

    def wait(self, timeout_s: float) -> bool:
        """Wait until it has returned or was given up; whether it did in time."""
        return self._settled.acquire(timeout=max(0.0, timeout_s))

    def returned(self, result: _T) -> bool:
        """Hand over what it returned; False if nobody waits for it any more."""
        with self._mutex:
            if self._is_given_up:
                return False
            self.results.append(result)
        self._settled.release()
        return True

    def give_up(self) -> bool:
        """Wait for it no longer; False if it has returned."""
        with self._mutex:
            if self.results:
                return False
            if not self._is_given_up:
                self._is_given_up = True
                self._settled.release()
            return True


class DeadlineThread:
    """A thread that makes one owner's calls, and can be left behind with one that hangs.

    It starts with the first call, unless one is to spare. The calls block in C with the
    interpreter's lock released.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: BackgroundThread | None = None
        self._current: _Call[Any] | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Whether it takes no more calls: stopped, or left behind with one that hangs."""
        return self._is_over

    def call(
        self,
        timeout_s: float,
        call: Callable[[], _T],
        undo: Callable[[_T], object] = nothing,
    ) -> _T:
        """Return what `call` returns, or give it up after `timeout_s` seconds.

        Args:
            timeout_s: how long to wait.
            call: does not raise.
            undo: called in the thread with a result that came too late.

        Raises:
            TimeoutError: given up now, or an earlier call was, and the thread does no more; or
                too many threads hang already.
        """
        if self._is_over:
            raise TimeoutError
        thread = self._thread
        if thread is None:
            if len(_left_behind) >= _MOST_LEFT_BEHIND:
                raise TimeoutError
            thread = self._thread = _take_spare() or BackgroundThread(self._name)
        made: _Call[_T] = _Call()
        self._current = made
        thread.do(partial(self._make, call, made, undo))
        if not made.wait(timeout_s):
            self.give_up()
        if not made.results:
            raise TimeoutError
        return made.results[0]

    def give_up(self) -> bool:
        """Leave the thread behind with the call that it makes. May be called by any thread.

        Returns:
            Whether it was, and its caller gets a TimeoutError; False when no call is made now.
        """
        _left_behind.add(self)  # before: the call may return at any moment
        if self._current is None or not self._current.give_up():
            _left_behind.discard(self)
            return False
        self._is_over = True
        self._thread = None  # it ends with the call
        return True

    def stop(self) -> None:
        """Let go of the thread: it is spared if it is idle, else it ends. May be called twice."""
        self._is_over = True
        thread, self._thread = self._thread, None
        if thread is not None and self._current is not None and self._current.results:
            _spare.append(thread)

    def _make(self, call: Callable[[], _T], made: _Call[_T], undo: Callable[[_T], object]) -> None:
        result = call()
        if not made.returned(result):
            undo(result)
            _left_behind.discard(self)


def _take_spare() -> BackgroundThread | None:
    with suppress(IndexError):
        return _spare.pop()
    return None

"""Deadlines for calls that have none: pcsc-lite waits for ever for a card or for its daemon."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypeVar

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


class DeadlineThread:
    """A thread that makes one owner's calls, and can be left behind with one that hangs.

    It starts with the first call, unless one is to spare. The calls block in C with the
    interpreter's lock released.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: BackgroundThread | None = None
        self._current: Future[Any] | None = None
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
        outcome: Future[_T] = Future()
        self._current = outcome
        thread.do(partial(self._do, call, outcome, undo))
        try:
            return outcome.result(timeout_s)
        except CancelledError:
            raise TimeoutError from None
        except TimeoutError:
            if self.give_up():
                raise
            return outcome.result()  # it came at the last moment

    def give_up(self) -> bool:
        """Leave the thread behind with the call that it makes. May be called by any thread.

        Returns:
            Whether it was, and its caller gets a TimeoutError; False when no call is made now.
        """
        _left_behind.add(self)  # before: the call may return at any moment
        if self._current is None or not self._current.cancel():
            _left_behind.discard(self)
            return False
        self._is_over = True
        self._thread = None  # it ends with the call
        return True

    def stop(self) -> None:
        """Let go of the thread: it is spared if it is idle, else it ends. May be called twice."""
        self._is_over = True
        thread, self._thread = self._thread, None
        if thread is not None and self._current is not None and self._current.done():
            _spare.append(thread)

    def _do(
        self, call: Callable[[], _T], outcome: Future[_T], undo: Callable[[_T], object]
    ) -> None:
        result = call()
        if outcome.set_running_or_notify_cancel():
            outcome.set_result(result)
        else:
            undo(result)
            _left_behind.discard(self)


def _take_spare() -> BackgroundThread | None:
    with suppress(IndexError):
        return _spare.pop()
    return None

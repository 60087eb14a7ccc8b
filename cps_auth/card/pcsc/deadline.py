"""Deadlines for calls that have none: pcsc-lite waits for ever for a card or for its daemon."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from functools import partial
from queue import SimpleQueue
from typing import Final, TypeVar

_T = TypeVar("_T")
_Jobs = SimpleQueue[Callable[[], None] | None]

_MOST_LEFT_BEHIND: Final = 16
"""Threads that hang at once: a pcscd that is stopped for hours must not cost one a retry."""
_left_behind: set[DeadlineThread] = set()


def nothing(_: object) -> None:
    """Undo nothing."""


class DeadlineThread:
    """Runs one owner's blocking calls with a timeout; abandons its thread if one hangs.

    The thread starts with the first call; calls block in C, with the interpreter's lock released.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: _Jobs | None = None
        self._current: Future[object] | None = None
        self._is_over = False

    @property
    def is_over(self) -> bool:
        """Return whether it takes no more calls: stopped, or left behind with one that hangs."""
        return self._is_over

    def call(
        self,
        timeout_s: float,
        call: Callable[[], _T],
        undo: Callable[[_T], object] = nothing,
    ) -> _T:
        """Return what `call` returns or raises, or give it up after `timeout_s` seconds.

        Args:
            timeout_s: how long to wait.
            call: what it raises is raised here.
            undo: called in the thread with a result that came too late.

        Raises:
            TimeoutError: given up now, or an earlier call was, and the thread does no more; or
                too many threads hang already.
        """
        if self._is_over or (self._jobs is None and len(_left_behind) >= _MOST_LEFT_BEHIND):
            raise TimeoutError
        future: Future[_T] = Future()
        self._current = future  # type: ignore[assignment]  # of whatever it returns

        def make() -> None:
            try:
                result = call()
                settle = partial(future.set_result, result)
                late: Callable[[], object] | None = partial(undo, result)
            except BaseException as error:  # the caller's, whatever it is
                settle, late = partial(future.set_exception, error), None
            try:
                settle()
            except InvalidStateError:  # nobody waits for it any more
                if late is not None:
                    late()
                _left_behind.discard(self)

        self._start().put(make)
        try:
            return future.result(max(0.0, timeout_s))
        except (TimeoutError, CancelledError):
            if future.done() and not future.cancelled():
                return future.result()  # it came in the last moment, or raised that itself
            self.give_up()
            raise TimeoutError from None

    def give_up(self) -> bool:
        """Leave the thread behind with the call that it makes. May be called by any thread.

        Returns:
            Whether it was, and its caller gets a TimeoutError; False when no call is made now.
        """
        current = self._current
        _left_behind.add(self)  # before: the call may return at any moment
        if current is None or not current.cancel():
            _left_behind.discard(self)
            return False
        self.stop()  # it ends with the call
        return True

    def stop(self) -> None:
        """Let the thread end, after the call that it makes. May be called twice."""
        self._is_over = True
        if self._jobs is not None:
            self._jobs.put(None)

    def _start(self) -> _Jobs:
        if self._jobs is None:
            jobs = self._jobs = SimpleQueue()
            threading.Thread(target=_do_all, args=(jobs,), name=self._name, daemon=True).start()
            weakref.finalize(self, jobs.put, None)
        return self._jobs


def _do_all(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # it may hold a PIN, and the next one may be long in coming

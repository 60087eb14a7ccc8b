"""Deadlines for calls that have none: pcsc-lite waits for ever for a card or for its daemon."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

_T = TypeVar("_T")
_Job = tuple[Callable[[], Any], Future[Any], Callable[[Any], object]]


def _nothing(_: object) -> None:
    """Undo nothing."""


class DeadlineThread:
    """A thread that makes one owner's calls, and can be left behind with one that hangs.

    It starts with the first call. The calls block in C with the interpreter's lock released.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_over = False

    def call(
        self,
        timeout_s: float,
        call: Callable[[], _T],
        undo: Callable[[_T], object] = _nothing,
    ) -> _T:
        """Return what `call` returns, or give it up after `timeout_s` seconds.

        Args:
            timeout_s: how long to wait.
            call: does not raise.
            undo: called in the thread with a result that came too late.

        Raises:
            TimeoutError: given up now, or an earlier call was; the thread does no more.
        """
        if self._is_over:
            raise TimeoutError
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            self._thread.start()
        outcome: Future[_T] = Future()
        self._jobs.put((call, outcome, undo))
        try:
            return outcome.result(timeout_s)
        except TimeoutError:
            if outcome.cancel():
                self.stop()
                raise
            return outcome.result()  # it came at the last moment

    def stop(self) -> None:
        """Let the thread end, once it is idle. May be called twice."""
        self._is_over = True
        self._jobs.put(None)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            call, outcome, undo = job
            result = call()
            if outcome.set_running_or_notify_cancel():
                outcome.set_result(result)
            else:
                undo(result)
            del job, call, outcome, undo, result  # they may hold a PIN while this thread waits

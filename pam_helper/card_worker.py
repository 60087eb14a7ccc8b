"""A deadline around the card: a command that never returns costs one request, not the daemon.

Each operation runs in a thread of its own. One that is not done in time is abandoned: its
request is refused, its result is thrown away should it ever come, and the next operation opens the
card anew, on a new connection to the reader service. While several are stuck nothing is tried.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from cps_auth.errors import CardBusy

MAX_STUCK = 3

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


class CardWorker:
    """Runs one card operation at a time. Safe to use from several threads."""

    def __init__(self, turn_within_s: float, done_within_s: float) -> None:
        """Set the deadlines.

        Args:
            turn_within_s: how long a request waits for the one before it.
            done_within_s: how long an operation may take.
        """
        self._turn_within_s = turn_within_s
        self._done_within_s = done_within_s
        self._turn = threading.Lock()
        self._mutex = threading.Lock()
        self._stuck = 0

    def run(self, operation: Callable[[Callable[[], bool]], _Result]) -> _Result:
        """Return what the operation returns, or raise what it raises.

        Args:
            operation: does the work; it is given a question, "is this still wanted?", which it
                asks before it does what cannot be undone.

        Raises:
            CardBusy: another operation did not end in time, or this one did not.
        """
        if not self._turn.acquire(timeout=self._turn_within_s):
            raise CardBusy
        try:
            return self._run(operation)
        finally:
            self._turn.release()

    def _run(self, operation: Callable[[Callable[[], bool]], _Result]) -> _Result:
        with self._mutex:
            if self._stuck >= MAX_STUCK:
                raise CardBusy
        outcome: Future[_Result] = Future()
        abandoned = threading.Event()
        started_s = time.monotonic()

        def work() -> None:
            try:
                result = operation(lambda: not abandoned.is_set())
            except BaseException as error:
                outcome.set_exception(error)
            else:
                outcome.set_result(result)
            finally:
                self._came_back(abandoned, started_s)

        threading.Thread(target=work, name="card operation", daemon=True).start()
        try:
            return outcome.result(self._done_within_s)
        except TimeoutError:
            with self._mutex:
                if not outcome.done():
                    abandoned.set()
                    self._stuck += 1
            if not abandoned.is_set():
                return outcome.result()
            _log.critical("a card operation did not return in %.0f s", self._done_within_s)
            raise CardBusy from None

    def _came_back(self, abandoned: threading.Event, started_s: float) -> None:
        with self._mutex:
            if not abandoned.is_set():
                return
            self._stuck -= 1
        _log.warning("a stuck card operation returned after %.0f s", time.monotonic() - started_s)

"""Card operations, one at a time, with a deadline: a stuck one costs a request, not the daemon.

They run in their requests' own threads. One that is not done in time is abandoned with its
thread: its asker is told, its result is thrown away should it ever come, and the next operation
opens the card anew, on a new connection to the reader service. While several are stuck nothing is
tried.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from cps_auth.errors import CardBusy

MAX_STUCK = 3

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


class _Turns:
    """Fair queue: the least recently served account goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._queue: list[tuple[object, str]] = []  # ticket and asker, as they came
        self._holder: object | None = None
        self._served: dict[str, int] = {}  # asker: number of its last turn
        self._turns = 0

    def take(self, asker: str, within_s: float) -> object | None:
        """Wait for a turn; return its ticket, None if it did not come in time."""
        ticket = object()
        with self._changed:
            self._queue.append((ticket, asker))
            its_turn = self._changed.wait_for(lambda: self._is_next(ticket), within_s)
            self._queue.remove((ticket, asker))
            if not its_turn:
                self._changed.notify_all()  # the next one may be another now
                return None
            self._holder = ticket
            self._turns += 1
            self._served[asker] = self._turns
            return ticket

    def give_back(self) -> None:
        """End the turn."""
        with self._changed:
            self._holder = None
            self._changed.notify_all()

    def _is_next(self, ticket: object) -> bool:
        if self._holder is not None:
            return False
        first, _ = min(self._queue, key=lambda waiting: self._served.get(waiting[1], 0))
        return first is ticket


class _Work:
    """One operation: done, or overdue, whichever comes first."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._is_done = self.is_overdue = False

    def end(self, *, overdue: bool = False) -> bool:
        """End it as done or as overdue; return whether it was not the other already."""
        with self._mutex:
            if overdue and not self._is_done:
                self.is_overdue = True
            elif not overdue and not self.is_overdue:
                self._is_done = True
            return self.is_overdue is overdue


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
        self._turns = _Turns()
        self._mutex = threading.Lock()
        self._stuck = 0

    def run(
        self,
        asker: str,
        operation: Callable[[Callable[[], bool]], _Result],
        when_overdue: Callable[[], None] = lambda: None,
    ) -> _Result:
        """Return what the operation returns, or raise what it raises.

        Args:
            asker: the account for which it is done: the requests of one never hold up
                another's for longer than the one that is being done.
            operation: does the work; it is given a question, "is this still wanted?", which it
                asks before it does what cannot be undone.
            when_overdue: tells the asker that it is not done in time, since this thread cannot;
                called in another one, and does not raise.

        Raises:
            CardBusy: another operation did not end in time, or this one did not.
        """
        if self._turns.take(asker, self._turn_within_s) is None:
            raise CardBusy
        work, started_s = _Work(), time.monotonic()
        timer = threading.Timer(self._done_within_s, self._abandon, (work, when_overdue))
        timer.daemon = True
        try:
            self._require_few_stuck()
            timer.start()
        except BaseException:
            self._turns.give_back()
            raise
        try:
            return operation(lambda: not work.is_overdue)
        finally:
            timer.cancel()
            if work.end():
                self._turns.give_back()
            else:
                self._came_back(started_s)
                raise CardBusy

    def _require_few_stuck(self) -> None:
        with self._mutex:
            if self._stuck >= MAX_STUCK:
                raise CardBusy

    def _abandon(self, work: _Work, when_overdue: Callable[[], None]) -> None:
        """Let others have a turn while an operation is stuck, and tell who waits for it."""
        if not work.end(overdue=True):
            return
        with self._mutex:
            self._stuck += 1
        self._turns.give_back()
        _log.critical("a card operation did not return in %.0f s", self._done_within_s)
        when_overdue()

    def _came_back(self, started_s: float) -> None:
        with self._mutex:
            self._stuck -= 1
        _log.warning("a stuck card operation returned after %.0f s", time.monotonic() - started_s)

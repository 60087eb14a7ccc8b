"""Notices work that is not done in time, from a thread of its own: the one at work may be stuck."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)
_NEVER_S = float("inf")


@dataclass(eq=False)
class Work:
    """One piece of work that is watched.

    Attributes:
        is_overdue: whether its time is over; never changes once it is done.
    """

    until_s: float
    when_overdue: Callable[[], None] = field(repr=False)
    is_overdue: bool = False


@dataclass(eq=False)
class _Watched:
    """What the guard and its thread share, so that the thread does not keep the guard."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    work: Work | None = None
    sleeps_until_s: float = 0.0  # the thread wakes up by itself then
    is_ended: bool = False


class OverdueGuard:
    """Watches one piece of work at a time. Its thread ends with this object."""

    def __init__(self) -> None:
        """Start nothing yet."""
        self._watched = _Watched()
        self._is_started = False
        weakref.finalize(self, _end, self._watched)

    def watch(self, within_s: float, when_overdue: Callable[[], None]) -> Work:
        """Watch work that begins now.

        Args:
            within_s: how long it may take.
            when_overdue: called once if it takes longer, in the guard's thread; does not raise.

        Raises:
            RuntimeError: the system gives no thread.
        """
        watched = self._watched
        work = Work(time.monotonic() + within_s, when_overdue)
        with watched.changed:
            if not self._is_started:
                threading.Thread(
                    target=_watch, args=(watched,), name="overdue", daemon=True
                ).start()
                self._is_started = True
            watched.work = work
            if watched.sleeps_until_s > work.until_s:  # else it wakes up early enough
                watched.changed.notify()
        return work

    def is_done_in_time(self, work: Work) -> bool:
        """End the watch over work that is done; tell whether it was in time."""
        watched = self._watched
        with watched.changed:
            if watched.work is work:
                watched.work = None
            return not work.is_overdue


def _end(watched: _Watched) -> None:
    with watched.changed:
        watched.is_ended = True
        watched.changed.notify()


def _watch(watched: _Watched) -> None:
    while (overdue := _next_overdue(watched)) is not None:
        try:
            overdue.when_overdue()
        except Exception as error:  # without this thread nothing would ever be overdue again
            _log.error("overdue work: %s", type(error).__name__)
        del overdue  # it may hold a PIN, and the next one may be long in coming


def _next_overdue(watched: _Watched) -> Work | None:
    """Wait for work that is overdue; None to end."""
    with watched.changed:
        while not watched.is_ended:
            work, now_s = watched.work, time.monotonic()
            if work is not None and work.until_s <= now_s:
                watched.work, work.is_overdue = None, True
                return work
            watched.sleeps_until_s = _NEVER_S if work is None else work.until_s
            left_s = None if work is None else work.until_s - now_s
            del work  # it may be done, and let go of, long before this wakes up
            watched.changed.wait(left_s)
    return None

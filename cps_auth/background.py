"""A thread that stays, for what must not wait for one to start."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from queue import SimpleQueue

_Jobs = SimpleQueue[Callable[[], object] | None]


class BackgroundThread:
    """Does one job after the other. It ends with this object, after the jobs that it was given."""

    def __init__(self, name: str) -> None:
        """Start it.

        Args:
            name: of the thread.

        Raises:
            RuntimeError: the system gives no thread.
        """
        self._jobs: _Jobs = SimpleQueue()
        threading.Thread(target=_do_all, args=(self._jobs,), name=name, daemon=True).start()
        weakref.finalize(self, self._jobs.put, None)

    def do(self, job: Callable[[], object]) -> None:
        """Have a job done, which does not raise; returns at once."""
        self._jobs.put(job)


def _do_all(jobs: _Jobs) -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # it may hold a PIN, and the next one may be long in coming

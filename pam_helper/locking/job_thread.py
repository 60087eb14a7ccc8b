"""A thread that does one job after the other, and one that is due at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

_Jobs = SimpleQueue[Callable[[], object] | None]


class JobThread:
    """Does one job after the other, and one that is due at a time. Safe to use from any thread."""

    def __init__(self, name: str, failed: Callable[[Exception], object]) -> None:
        """Start it.

        Args:
            name: of the thread.
            failed: called in it for a job that raises; the thread goes on.
        """
        self._jobs: _Jobs = SimpleQueue()
        self._failed = failed
        self._due: tuple[float, Callable[[], object]] | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Return whether it runs."""
        return self._thread.is_alive()

    @property
    def has_due(self) -> bool:
        """Return whether a job is due at some time; for the jobs themselves."""
        return self._due is not None

    def do(self, job: Callable[[], object]) -> None:
        """Queue a job; returns at once."""
        self._jobs.put(job)

    def after(self, seconds: float, job: Callable[[], object]) -> None:
        """Do a job later, in place of the one that was due; for the jobs themselves."""
        self._due = (time.monotonic() + seconds, job)

    def cancel_due(self) -> None:
        """Drop the job that is due; for the jobs themselves."""
        self._due = None

    def settle(self, is_settled: Callable[[], bool], within_s: float) -> None:
        """Wait until what is queued now is done, and then for a condition, or for so long.

        Args:
            is_settled: looked at after each job.
            within_s: for both.
        """
        deadline_s = time.monotonic() + within_s
        done = threading.Event()
        self._jobs.put(done.set)
        done.wait(within_s)
        with self._changed:
            self._changed.wait_for(is_settled, max(0.0, deadline_s - time.monotonic()))

    def end(self, within_s: float) -> None:
        """Do what is queued, then end."""
        self._jobs.put(None)
        self._thread.join(within_s)

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception as error:  # it must outlive whatever a job does
                self._failed(error)
            with self._changed:
                self._changed.notify_all()
            del job  # it may be long until the next one

    def _next(self) -> Callable[[], object] | None:
        due = self._due
        try:
            return self._jobs.get(timeout=due and max(0.0, due[0] - time.monotonic()))
        except Empty:
            self._due = None
            return due[1] if due else lambda: None

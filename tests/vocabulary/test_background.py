"""A thread that stays does its jobs in their order, and ends with its object."""

from __future__ import annotations

import threading
import weakref
from functools import partial

from cps_auth.background import BackgroundThread

DEADLINE_S = 10.0


def _note(done: list[tuple[int, threading.Thread]], number: int) -> None:
    done.append((number, threading.current_thread()))


def test_jobs_are_done_in_order_by_one_thread() -> None:
    """None is lost, and none waits for a thread to start."""
    done: list[tuple[int, threading.Thread]] = []
    finished = threading.Event()
    background = BackgroundThread("background test")
    for number in range(100):
        background.do(partial(_note, done, number))
    background.do(finished.set)
    assert finished.wait(DEADLINE_S)
    assert [number for number, _ in done] == list(range(100))
    assert len({thread for _, thread in done}) == 1


def test_it_ends_with_its_object_after_its_jobs() -> None:
    """What it was given before is done; then no thread is left."""
    go, done = threading.Event(), threading.Event()
    background = BackgroundThread("background test that ends")  # another's may end just now
    background.do(lambda: go.wait(DEADLINE_S))
    background.do(done.set)
    (thread,) = (t for t in threading.enumerate() if t.name == "background test that ends")
    del background
    go.set()
    assert done.wait(DEADLINE_S)
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_it_keeps_no_job_while_it_waits() -> None:
    """A job may hold a PIN: it is let go of as soon as it is done."""

    class Job:
        def __call__(self) -> None:
            pass

    job, gone = Job(), threading.Event()
    weakref.finalize(job, gone.set)
    background = BackgroundThread("background test")
    background.do(job)
    del job
    assert gone.wait(DEADLINE_S)
    background.do(print)

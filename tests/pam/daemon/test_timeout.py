"""Work that is not done in time is noticed, once, by a thread that ends with its owner."""

from __future__ import annotations

import gc
import threading

import pytest

from pam_helper.daemon.timeout import OverdueGuard

LONG_S = 60.0


def _threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "overdue"}


@pytest.fixture
def guard() -> OverdueGuard:
    """A guard that has watched nothing yet."""
    return OverdueGuard()


def test_work_in_time_is_never_overdue(guard: OverdueGuard) -> None:
    """Nobody is told of it; of what comes after it, and takes too long, somebody is."""
    told: list[str] = []
    first = guard.watch(LONG_S, lambda: told.append("first"))
    assert guard.is_done_in_time(first)
    passed = threading.Event()
    second = guard.watch(0.1, passed.set)
    assert passed.wait(10)
    assert not guard.is_done_in_time(second)
    assert (first.is_overdue, second.is_overdue) == (False, True)
    assert told == []


def test_work_that_is_done_is_forgotten(guard: OverdueGuard) -> None:
    """Its time passes, and nothing happens; one thread is enough for all of them."""
    before, told = _threads(), []
    for _ in range(3):
        done = guard.watch(0.5, lambda: told.append("late"))
        assert guard.is_done_in_time(done)
    while guard._watched.sleeps_until_s != float("inf"):
        threading.Event().wait(0.01)
    assert told == []
    assert not done.is_overdue
    assert len(_threads() - before) == 1


def test_shorter_work_after_longer(guard: OverdueGuard) -> None:
    """The thread that sleeps until a far deadline is woken for a nearer one."""
    assert guard.is_done_in_time(guard.watch(LONG_S, lambda: None))
    passed = threading.Event()
    guard.watch(0.05, passed.set)
    assert passed.wait(10)


def test_longer_work_after_shorter(guard: OverdueGuard) -> None:
    """The thread that wakes up for work that is done sleeps again until the next one's time."""
    assert guard.is_done_in_time(guard.watch(0.5, lambda: None))
    longer = guard.watch(LONG_S, lambda: None)
    while guard._watched.sleeps_until_s != longer.until_s:
        threading.Event().wait(0.01)
    assert not longer.is_overdue
    assert guard.is_done_in_time(longer)


def test_after_a_rest(guard: OverdueGuard) -> None:
    """Once nothing is watched the thread sleeps for ever, and is woken for what comes."""
    assert guard.is_done_in_time(guard.watch(0.5, lambda: None))
    while guard._watched.sleeps_until_s != float("inf"):
        threading.Event().wait(0.01)
    passed = threading.Event()
    guard.watch(0.05, passed.set)
    assert passed.wait(10)


def test_who_cannot_be_told_is_not_the_end(
    guard: OverdueGuard, caplog: pytest.LogCaptureFixture
) -> None:
    """The thread lives on, and its log names the error without its words."""
    passed = threading.Event()

    def fail() -> None:
        raise ValueError("1234")

    guard.watch(0.01, fail)
    while "ValueError" not in caplog.text:
        threading.Event().wait(0.01)
    guard.watch(0.01, passed.set)
    assert passed.wait(10)
    assert "1234" not in caplog.text


def test_the_thread_ends_with_the_guard() -> None:
    """Nothing is left behind, whatever it was asleep for."""
    before = _threads()
    for within_s in (LONG_S, None):
        guard = OverdueGuard()
        if within_s is not None:
            guard.watch(within_s, lambda: None)
        made = _threads() - before
        assert len(made) == (within_s is not None)
        del guard
        gc.collect()
        for thread in made:
            thread.join(10)
            assert not thread.is_alive()

"""Calls that may block for ever are given up, and cleaned up after."""

from __future__ import annotations

import os
import threading

import pytest

from cps_auth.card.pcsc.deadline import DeadlineThread

DEADLINE_S = 10.0


def test_in_time() -> None:
    """A call that returns in time is as if it had been made directly."""
    undone: list[int] = []
    thread = DeadlineThread("test")
    assert thread.call(DEADLINE_S, lambda: 7, undone.append) == 7
    thread.stop()
    assert undone == []


def test_too_late() -> None:
    """A call given up is undone when it returns after all."""
    go, undone = threading.Event(), threading.Event()
    results: list[int] = []

    def slow() -> int:
        go.wait(DEADLINE_S)
        return 7

    def undo(result: int) -> None:
        results.append(result)
        undone.set()

    thread = DeadlineThread("test")
    with pytest.raises(TimeoutError):
        thread.call(0.01, slow, undo)
    with pytest.raises(TimeoutError):
        thread.call(DEADLINE_S, lambda: 7)  # at once: it is left behind for good
    assert results == []
    go.set()
    assert undone.wait(DEADLINE_S)
    assert results == [7]


def _thread_of(owner: DeadlineThread) -> threading.Thread:
    return owner.call(DEADLINE_S, threading.current_thread)


def test_a_stopped_thread_ends() -> None:
    """It takes no more calls, and is gone."""
    owner = DeadlineThread("idle")
    thread = _thread_of(owner)
    owner.stop()
    owner.stop()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()
    with pytest.raises(TimeoutError):
        owner.call(DEADLINE_S, lambda: 7)


def test_a_thread_ends_with_its_owner() -> None:
    """Who forgets to stop it leaves none behind."""
    thread = _thread_of(DeadlineThread("forgotten"))
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


@pytest.mark.parametrize("error", [TypeError("not ASCII"), TimeoutError("its own"), SystemExit(3)])
def test_an_exception_reaches_its_caller_at_once(error: BaseException) -> None:
    """A foreign library's exception is what it is, and ends no thread."""
    owner = DeadlineThread("test")

    def fail() -> int:
        raise error

    with pytest.raises(type(error)) as caught:
        owner.call(DEADLINE_S, fail)
    assert caught.value is error
    assert owner.call(DEADLINE_S, lambda: 7) == 7
    owner.stop()


def test_an_exception_that_comes_too_late_is_nobodys() -> None:
    """The thread that was left behind ends in peace."""
    go, stuck = threading.Event(), DeadlineThread("stuck")
    thread = _thread_of(stuck)

    def fail() -> int:
        go.wait(DEADLINE_S)
        raise ValueError

    with pytest.raises(TimeoutError):
        stuck.call(0.01, fail)
    go.set()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_a_thread_that_was_left_behind_ends() -> None:
    """Once its call returns; it serves nobody else."""
    go, stuck = threading.Event(), DeadlineThread("stuck")
    thread = _thread_of(stuck)
    with pytest.raises(TimeoutError):
        stuck.call(0.01, lambda: go.wait(DEADLINE_S))
    stuck.stop()
    following = DeadlineThread("next")
    assert _thread_of(following) is not thread
    following.stop()
    go.set()
    thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_a_forked_process_starts_its_own() -> None:
    """Threads are not forked: one that was to spare before answers nobody after."""
    owner = DeadlineThread("parent")
    owner.call(DEADLINE_S, lambda: 7)
    owner.stop()
    worker = os.fork()
    if worker == 0:
        status = 1
        try:
            status = 0 if DeadlineThread("child").call(DEADLINE_S, lambda: 7) == 7 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(worker, 0)[1]) == 0


def test_given_up_from_elsewhere() -> None:
    """Another thread may end the waiting; the call is undone when it returns after all."""
    go, inside, undone = threading.Event(), threading.Event(), threading.Event()
    thread = DeadlineThread("test")
    assert not thread.give_up()

    def slow() -> bool:
        inside.set()
        return go.wait(DEADLINE_S)

    def impatient() -> None:
        assert inside.wait(DEADLINE_S)
        assert thread.give_up()

    helper = threading.Thread(target=impatient)
    helper.start()
    with pytest.raises(TimeoutError):
        thread.call(DEADLINE_S, slow, lambda _: undone.set())
    helper.join()
    assert thread.is_over
    assert not undone.is_set()
    go.set()
    assert undone.wait(DEADLINE_S)


def test_not_too_many_hang() -> None:
    """While many calls hang no more are tried; when they return, all is as before."""
    go = threading.Event()
    before = threading.active_count()
    for _ in range(40):
        with pytest.raises(TimeoutError):
            DeadlineThread("hangs").call(0.001, lambda: go.wait(DEADLINE_S))
    assert threading.active_count() - before <= 16
    go.set()
    for thread in threading.enumerate():
        if thread.name == "hangs":
            thread.join(DEADLINE_S)
    fresh = DeadlineThread("test")
    assert fresh.call(DEADLINE_S, lambda: 7) == 7
    fresh.stop()

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


def test_one_idle_thread_is_spared_for_the_next_owner() -> None:
    """The next owner does not wait for a thread to start; of several idle ones, one stays."""
    owners = [DeadlineThread("idle") for _ in range(3)]
    threads = [_thread_of(owner) for owner in owners]
    assert len(set(threads)) == 3
    for owner in owners:
        owner.stop()
        owner.stop()
    for thread in threads[:2]:
        thread.join(DEADLINE_S)
        assert not thread.is_alive()
    following = DeadlineThread("next")
    assert _thread_of(following) is threads[2]
    assert _thread_of(DeadlineThread("another")) is not threads[2]
    with pytest.raises(TimeoutError):
        owners[2].call(DEADLINE_S, lambda: 7)
    following.stop()


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

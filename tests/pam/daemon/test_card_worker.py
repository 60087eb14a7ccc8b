"""A card operation that never returns costs one request, not the daemon."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from cps_auth.errors import CardBusy, NoCard
from pam_helper.daemon.card_worker import MAX_STUCK, CardWorker

ASKER = "camille"


def test_results_and_errors_come_through() -> None:
    """What the operation returns or raises is the caller's."""
    worker = CardWorker(1, 5)
    assert worker.run(ASKER, lambda wanted: wanted()) is True

    def fail(_wanted: object) -> None:
        raise NoCard

    with pytest.raises(NoCard):
        worker.run(ASKER, fail)


class Stuck:
    """An operation that returns when it is let go, asked for in a thread of its own."""

    def __init__(self, worker: CardWorker) -> None:
        self.told, self.go_on = threading.Event(), threading.Event()
        self.is_wanted: bool | None = None
        self.ended_with: BaseException | None = None
        self._worker = worker
        self._thread = threading.Thread(target=self._ask)
        within_s, worker._done_within_s = worker._done_within_s, 0.05
        self._thread.start()
        assert self.told.wait(10)
        worker._done_within_s = within_s  # the others have time

    def _ask(self) -> None:
        try:
            self._worker.run(ASKER, self._operate, self.told.set)
        except CardBusy as error:
            self.ended_with = error

    def _operate(self, wanted: Callable[[], bool]) -> str:
        self.go_on.wait(10)
        self.is_wanted = wanted()
        return "done after all"

    def end(self) -> None:
        """Let it return, and wait until it has."""
        self.go_on.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


def test_a_stuck_operation_is_abandoned_and_told() -> None:
    """Its asker is told while it is stuck, the next one works, its own result counts no more."""
    worker = CardWorker(1, 10)
    stuck = Stuck(worker)
    assert worker.run(ASKER, lambda _: "next") == "next"
    assert stuck.ended_with is None
    stuck.end()
    assert stuck.is_wanted is False
    assert isinstance(stuck.ended_with, CardBusy)
    assert worker.run(ASKER, lambda _: "after") == "after"


def test_the_stuck_one_gives_nobody_elses_turn_back() -> None:
    """When it comes back another is at work, and who comes next waits for that one."""
    worker = CardWorker(10, 10)
    stuck = Stuck(worker)
    at_work, done = threading.Event(), threading.Event()

    def work(_wanted: object) -> None:
        at_work.set()
        done.wait(10)

    second = threading.Thread(target=worker.run, args=("julien", work))
    second.start()
    assert at_work.wait(10)
    stuck.end()
    worker._turn_within_s = 0.01
    with pytest.raises(CardBusy):
        worker.run(ASKER, lambda _: "too early")
    done.set()
    second.join(10)
    worker._turn_within_s = 10
    assert worker.run(ASKER, lambda _: "my turn") == "my turn"


def test_an_operation_that_fails_too_late_is_busy_too() -> None:
    """What it raises then is no answer: the asker had one."""
    worker = CardWorker(1, 0.05)
    told = threading.Event()

    def fail(_wanted: object) -> None:
        assert told.wait(10)
        raise NoCard

    with pytest.raises(CardBusy):
        worker.run(ASKER, fail, told.set)


def test_an_operation_in_time_is_told_of_nothing() -> None:
    """It runs in its asker's own thread; whether the last one was stuck makes no difference."""
    worker = CardWorker(1, 10)
    told: list[str] = []
    for _ in range(3):
        thread = worker.run(ASKER, lambda _: threading.current_thread(), lambda: told.append("?"))
        assert thread is threading.current_thread()
    stuck = Stuck(worker)
    stuck.end()
    thread = worker.run("julien", lambda _: threading.current_thread(), lambda: told.append("?"))
    assert thread is threading.current_thread()
    assert told == []


def test_while_several_are_stuck_nothing_is_tried() -> None:
    """Threads do not pile up behind a dead reader; once they come back, cards work again."""
    worker = CardWorker(1, 10)
    stuck = []
    for _ in range(MAX_STUCK):
        stuck.append(Stuck(worker))
    tried: list[str] = []
    with pytest.raises(CardBusy):
        worker.run(ASKER, lambda _: tried.append("tried"))
    assert tried == []
    stuck[0].end()
    worker.run(ASKER, lambda _: tried.append("tried"))
    assert tried == ["tried"]
    for other in stuck[1:]:
        other.end()


def test_a_system_without_threads_costs_one_request() -> None:
    """The turn is given back, and the next request has its deadline."""
    worker = CardWorker(1, 10)
    with pytest.MonkeyPatch.context() as patch:

        def no_thread(_self: threading.Thread) -> None:
            raise RuntimeError("can't start new thread")

        patch.setattr(threading.Thread, "start", no_thread)
        with pytest.raises(RuntimeError):
            worker.run(ASKER, lambda _: "never")
    assert worker.run(ASKER, lambda _: "next") == "next"
    stuck = Stuck(worker)
    stuck.end()


def test_a_flood_of_one_holds_up_no_other() -> None:
    """Who asks for the first time comes before the rest of another's requests."""
    worker = CardWorker(10, 10)
    go_on, done = threading.Event(), []
    threads = []

    def ask(asker: str) -> None:
        def work(_wanted: object) -> None:
            go_on.wait(10)
            done.append(asker)

        threads.append(threading.Thread(target=worker.run, args=(asker, work)))
        before = len(worker._turns._queue)
        threads[-1].start()
        while len(worker._turns._queue) == before and worker._turns._holder is None:
            threading.Event().wait(0.001)
        while len(threads) > 1 and len(worker._turns._queue) == before:
            threading.Event().wait(0.001)

    for asker in ("mallory", "mallory", "mallory", "camille", "mallory", "julien"):
        ask(asker)
    go_on.set()
    for thread in threads:
        thread.join()
    assert done == ["mallory", "camille", "julien", "mallory", "mallory", "mallory"]


def test_who_gives_up_waiting_leaves_the_queue() -> None:
    """A turn that did not come in time is nobody's."""
    worker = CardWorker(0.05, 10)
    go_on, started = threading.Event(), threading.Event()

    def work(_wanted: object) -> None:
        started.set()
        go_on.wait(10)

    first = threading.Thread(target=worker.run, args=(ASKER, work))
    first.start()
    assert started.wait(10)
    with pytest.raises(CardBusy):
        worker.run("julien", lambda _: None)
    go_on.set()
    first.join()
    assert worker.run("julien", lambda _: "mine") == "mine"

"""A card operation that never returns costs one request, not the daemon."""

from __future__ import annotations

import threading

import pytest

from cps_auth.errors import CardBusy, NoCard
from pam_helper.card_worker import MAX_STUCK, CardWorker

ASKER = "camille"


def test_results_and_errors_come_through() -> None:
    """What the operation returns or raises is the caller's."""
    worker = CardWorker(1, 5)
    assert worker.run(ASKER, lambda wanted: wanted()) is True

    def fail(_wanted: object) -> None:
        raise NoCard

    with pytest.raises(NoCard):
        worker.run(ASKER, fail)


def test_a_stuck_operation_is_abandoned_and_told() -> None:
    """The request is refused, the next one works, and the stuck one learns that it is too late."""
    worker = CardWorker(1, 0.1)
    go_on, seen = threading.Event(), []

    def stuck(wanted: object) -> None:
        go_on.wait(10)
        seen.append(wanted())  # type: ignore[operator]  # a callable, by contract

    with pytest.raises(CardBusy):
        worker.run(ASKER, stuck)
    assert worker.run(ASKER, lambda _: "next") == "next"
    go_on.set()
    while not seen:
        threading.Event().wait(0.01)
    assert seen == [False]


def test_operations_share_a_thread_until_one_is_stuck() -> None:
    """None waits for a thread to start; the one that was left behind ends when it comes back."""
    worker = CardWorker(1, 0.1)
    first = worker.run(ASKER, lambda _: threading.current_thread())
    assert worker.run("julien", lambda _: threading.current_thread()) is first
    go_on = threading.Event()
    with pytest.raises(CardBusy):
        worker.run(ASKER, lambda _: go_on.wait(10))
    second = worker.run(ASKER, lambda _: threading.current_thread())
    assert second is not first
    go_on.set()
    first.join(10)
    assert not first.is_alive()
    assert worker.run(ASKER, lambda _: threading.current_thread()) is second


def test_while_several_are_stuck_nothing_is_tried() -> None:
    """Threads do not pile up behind a dead reader; once they come back, cards work again."""
    worker = CardWorker(1, 0.05)
    go_on = threading.Event()
    for _ in range(MAX_STUCK):
        with pytest.raises(CardBusy):
            worker.run(ASKER, lambda _: go_on.wait(10))
    tried: list[str] = []
    with pytest.raises(CardBusy):
        worker.run(ASKER, lambda _: tried.append("tried"))
    assert tried == []
    go_on.set()
    for _ in range(500):
        try:
            worker.run(ASKER, lambda _: tried.append("tried"))
            break
        except CardBusy:
            threading.Event().wait(0.01)
    assert tried == ["tried"]


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

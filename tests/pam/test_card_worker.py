"""A card operation that never returns costs one request, not the daemon."""

from __future__ import annotations

import threading

import pytest

from cps_auth.errors import CardBusy, NoCard
from pam_helper.card_worker import MAX_STUCK, CardWorker


def test_results_and_errors_come_through() -> None:
    """What the operation returns or raises is the caller's."""
    worker = CardWorker(1, 5)
    assert worker.run(lambda wanted: wanted()) is True

    def fail(_wanted: object) -> None:
        raise NoCard

    with pytest.raises(NoCard):
        worker.run(fail)


def test_a_stuck_operation_is_abandoned_and_told() -> None:
    """The request is refused, the next one works, and the stuck one learns that it is too late."""
    worker = CardWorker(1, 0.1)
    go_on, seen = threading.Event(), []

    def stuck(wanted: object) -> None:
        go_on.wait(10)
        seen.append(wanted())  # type: ignore[operator]  # a callable, by contract

    with pytest.raises(CardBusy):
        worker.run(stuck)
    assert worker.run(lambda _: "next") == "next"
    go_on.set()
    while not seen:
        threading.Event().wait(0.01)
    assert seen == [False]


def test_while_several_are_stuck_nothing_is_tried() -> None:
    """Threads do not pile up behind a dead reader; once they come back, cards work again."""
    worker = CardWorker(1, 0.05)
    go_on = threading.Event()
    for _ in range(MAX_STUCK):
        with pytest.raises(CardBusy):
            worker.run(lambda _: go_on.wait(10))
    tried: list[str] = []
    with pytest.raises(CardBusy):
        worker.run(lambda _: tried.append("tried"))
    assert tried == []
    go_on.set()
    for _ in range(500):
        try:
            worker.run(lambda _: tried.append("tried"))
            break
        except CardBusy:
            threading.Event().wait(0.01)
    assert tried == ["tried"]

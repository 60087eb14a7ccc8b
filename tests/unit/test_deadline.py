"""Calls that may block for ever are given up, and cleaned up after."""

from __future__ import annotations

import threading

import pytest

from cps_auth.card.deadline import call_within

DEADLINE_S = 10.0


def test_in_time() -> None:
    """A call that returns in time is as if it had been made directly."""
    undone: list[int] = []
    assert call_within(DEADLINE_S, lambda: 7, undone.append) == 7
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

    with pytest.raises(TimeoutError):
        call_within(0.01, slow, undo)
    assert results == []
    go.set()
    assert undone.wait(DEADLINE_S)
    assert results == [7]

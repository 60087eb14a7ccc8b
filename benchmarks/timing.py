"""Medians of two callables that take turns, so that the machine's mood hits both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One comparison."""

    title: str
    ours: str
    peer: str
    ours_s: float
    peer_s: float

    def __str__(self) -> str:
        ratio = self.ours_s / self.peer_s
        return (
            f"{self.title}\n  {self.ours}: {_show(self.ours_s)}\n"
            f"  {self.peer}: {_show(self.peer_s)}\n  ratio: {ratio:.3g}\n"
        )


def compare(
    title: str,
    ours: tuple[str, Callable[[], object]],
    peer: tuple[str, Callable[[], object]],
    rounds: int,
    rest_s: float = 0.0,
    before: Callable[[], object] | None = None,
) -> Figure:
    """Time both in turns after two rounds of warming up.

    Args:
        title: what is compared.
        ours, peer: name and what to run once.
        rounds: how often each is timed.
        rest_s: how long to wait before each.
        before: what to run before each, which is not timed.

    Returns:
        The medians.
    """
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 2):
        for side, (_, run) in enumerate((ours, peer)):
            if rest_s:
                time.sleep(rest_s)
            if before is not None:
                before()
            start = time.perf_counter()
            run()
            if turn >= 2:
                seconds[side].append(time.perf_counter() - start)
    ours_s, peer_s = (statistics.median(side) for side in seconds)
    return Figure(title, ours[0], peer[0], ours_s, peer_s)


def _show(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"

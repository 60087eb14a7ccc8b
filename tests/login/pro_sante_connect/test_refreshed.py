"""What is fetched once: bursts, renewal behind the requests, outages, and age."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cps_auth.errors import ProviderUnavailable
from cps_auth.login.pro_sante_connect.refreshed import FRESH_S, RETRY_S, USABLE_S, Refreshed

DEADLINE_S = 10.0


class Source:
    """Counts, fails and waits as a test says."""

    def __init__(self) -> None:
        """Start at zero, at second 0."""
        self.now_s = 0.0
        self.fetched = 0
        self.is_down = False
        self.gate = threading.Event()
        self.gate.set()
        self.done = threading.Semaphore(0)

    def fetch(self) -> int:
        """Return how often it was asked."""
        assert self.gate.wait(DEADLINE_S)
        try:
            if self.is_down:
                raise ProviderUnavailable("down")
            self.fetched += 1
            return self.fetched
        finally:
            self.done.release()

    def kept(self) -> Refreshed[int]:
        """Return the cache under test."""
        return Refreshed(self.fetch, monotonic=lambda: self.now_s)


def test_a_burst_fetches_once() -> None:
    """100 callers, 16 at a time, while the answer is on its way."""
    source = Source()
    source.gate.clear()
    kept = source.kept()
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(kept.get) for _ in range(100)]
        source.gate.set()
        assert {answer.result(DEADLINE_S) for answer in answers} == {1}
    assert source.fetched == 1


def test_it_is_renewed_behind_the_requests() -> None:
    """An old value is given at once while the new one is fetched."""
    source = Source()
    kept = source.kept()
    kept.get()
    assert source.done.acquire(timeout=DEADLINE_S)
    source.now_s = FRESH_S
    source.gate.clear()
    assert [kept.get() for _ in range(5)] == [1] * 5
    source.gate.set()
    assert source.done.acquire(timeout=DEADLINE_S)
    assert kept.newer() == 2
    assert source.fetched == 2


def test_an_outage_is_not_noticed_for_a_day() -> None:
    """The old value serves; at the end of the day there is none."""
    source = Source()
    kept = source.kept()
    kept.get()
    assert source.done.acquire(timeout=DEADLINE_S)
    source.is_down = True
    source.now_s = USABLE_S - 1
    assert kept.get() == 1
    assert source.done.acquire(timeout=DEADLINE_S)
    source.now_s = USABLE_S + RETRY_S
    with pytest.raises(ProviderUnavailable, match="down"):
        kept.get()


def test_after_a_failure_nobody_asks_for_a_moment() -> None:
    """A provider that is down costs one caller its deadline, and the others nothing."""
    source = Source()
    source.is_down = True
    kept = source.kept()
    for _ in range(10):
        with pytest.raises(ProviderUnavailable, match="down"):
            kept.get()
    assert source.done.acquire(timeout=0)
    assert not source.done.acquire(timeout=0)
    source.is_down = False
    source.now_s = RETRY_S
    assert kept.get() == 1


def test_newer_is_asked_for_at_most_every_few_seconds() -> None:
    """Tokens with unknown keys, which anybody may send, cause no traffic."""
    source = Source()
    kept = source.kept()
    kept.get()
    assert [kept.newer() for _ in range(10)] == [1] * 10
    source.now_s = RETRY_S
    assert kept.newer() == 2

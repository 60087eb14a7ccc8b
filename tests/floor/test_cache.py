"""The bounded cache."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cps_auth.cache import BoundedCache


def test_the_least_recently_used_goes_first() -> None:
    """Being asked for counts as being used."""
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache.put("a", 1)
    cache.put("b", 2)
    assert cache.get("a") == 1
    cache.put("c", 3)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]
    assert cache.pop("a") == 1
    assert cache.pop("a") is None
    cache.clear()
    assert cache.get("c") is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 99))), st.integers(1, 5))
def test_it_never_holds_more_than_it_may(puts: list[tuple[int, int]], at_most: int) -> None:
    """The last distinct keys are there with their last values, and no others."""
    cache: BoundedCache[int, int] = BoundedCache(at_most)
    for key, value in puts:
        cache.put(key, value)
    kept = list(dict(reversed(puts)))[:at_most]
    last = dict(puts)
    assert {key: cache.get(key) for key in range(10)} == {
        key: last[key] if key in kept else None for key in range(10)
    }

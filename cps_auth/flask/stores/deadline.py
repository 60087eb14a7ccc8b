"""Store time of one request: all that its stores do together ends within `STORE_TIME_S`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cps_auth.errors import StoreUnavailable

STORE_TIME_S = 0.8
"""A person waits a second for a page, and is told then that it cannot be had."""

_left_s: ContextVar[float | None] = ContextVar("cps_store_time_left", default=None)


def begin_request() -> None:
    """Give a request its store time; outside of requests each operation has that much."""
    _left_s.set(STORE_TIME_S)


def end_request() -> None:
    """Take it back."""
    _left_s.set(None)


@contextmanager
def store_time() -> Iterator[float]:
    """Count the time of a block against the request's; give the seconds that are left.

    Raises:
        StoreUnavailable: none is.
    """
    left_s = _left_s.get()
    if left_s is None:
        yield STORE_TIME_S
        return
    if left_s <= 0:
        raise StoreUnavailable("too slow for one request")
    begun_s = time.monotonic()
    try:
        yield left_s
    finally:
        _left_s.set(left_s - (time.monotonic() - begun_s))

"""The ports of the stores outside of a request; SQLite or Redis stand behind them.

Each store answers atomically across threads, processes and hosts, or raises StoreUnavailable:
a store that fails means that nobody is logged in. What the stores do for one request ends in time.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cps_auth.errors import ChallengeExpired, ChallengeUnknown, StoreUnavailable
from cps_auth.flask.sessions.model import SessionStore
from cps_auth.login.challenge import CLOCK_STEP_BACK, ChallengeStore

STORE_VERSION = 5
"""Rises with every change of what is stored: an older or newer worker would misread it.

It is in the name of the SQLite file and of every key in Redis, so workers of several versions
share a store during an upgrade without touching what the others keep.
"""

TOKEN_BYTES = 32
CAPACITY = 10_000
"""Forms, and challenges, that may wait at once; the oldest go when there are more."""


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


class FormTokenStore(Protocol):
    """The store of one-time tokens of forms and redirections, each taken once."""

    def issue(self, browser_id: str, content: str, *, at: datetime) -> str:
        """Return a fresh token for this browser.

        Args:
            browser_id: the pre-login identifier in the browser's session cookie.
            content: what the token is about, such as the certificate that the form shows.
            at: now, aware UTC.

        Raises:
            StoreUnavailable
        """

    def take(self, unverified_token: str, browser_id: str, *, at: datetime) -> str:
        """Remove the token, atomically, whatever comes of it; return its content.

        Raises:
            ChallengeUnknown: never issued, taken before, or issued to another browser.
            ChallengeExpired: too old, or from well after `at`.
            StoreUnavailable
        """


class RateStore(Protocol):
    """Counts what happened, in windows of time."""

    def add(self, what: str, who: str, *, window: timedelta, at: datetime) -> int:
        """Count one more; return how many there were in this window, this one included.

        Raises:
            StoreUnavailable
        """

    def count(self, what: str, who: str, *, window: timedelta, at: datetime) -> int:
        """Return how many there were in this window.

        Raises:
            StoreUnavailable
        """


@dataclass(frozen=True, slots=True)
class Stores:
    """All of them, in one place each."""

    forms: FormTokenStore
    challenges: ChallengeStore
    sessions: SessionStore
    rates: RateStore


def sha256(text: str) -> bytes:
    """Return what a store knows of a token or a browser."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def check_taken(
    found: tuple[bytes, float] | None, browser_id: str, lifetime: timedelta, at: datetime
) -> None:
    """Judge a token that was just removed.

    Args:
        found: SHA-256 of its browser and when it was issued, seconds of the epoch; None: none.
        browser_id: of the browser that sent it.
        lifetime: how long it was good for.
        at: now, aware UTC.

    Raises:
        ChallengeUnknown, ChallengeExpired
    """
    if found is None:
        raise ChallengeUnknown("form-token")
    browser_sha256, issued_at = found
    if browser_sha256 != sha256(browser_id):
        raise ChallengeUnknown("form-token-of-another-browser")
    age_s = at.timestamp() - issued_at  # another host may have issued it, by its own clock
    if not -CLOCK_STEP_BACK.total_seconds() <= age_s <= lifetime.total_seconds():
        raise ChallengeExpired


def window_of(window: timedelta, at: datetime) -> tuple[int, float]:
    """Return the number of the window that `at` is in, and when it ends, seconds of the epoch."""
    length_s = window.total_seconds()
    number = int(at.timestamp() // length_s)
    return number, (number + 1) * length_s

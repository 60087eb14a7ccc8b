"""Challenges: fresh by os.urandom, bound to who asked, single use by construction."""

from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections import OrderedDict
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cps_auth.errors import ChallengeExpired, ChallengeUnknown, RequestMalformed
from cps_auth.model import Challenge

NONCE_BYTES = 32
"""Web eID 1.0 asks for at least 32 bytes (256 bits) of entropy."""

LIFETIME = timedelta(seconds=300)
"""Default life of a challenge, as in Web eID's validators."""

CLOCK_STEP_BACK = timedelta(seconds=5)
"""A challenge from further in the future than this was not issued by this clock."""


def issue_challenge(origin: str, *, at: datetime, lifetime: timedelta = LIFETIME) -> Challenge:
    """Make a fresh challenge.

    Args:
        origin: who asks, from configuration and never from the request.
        at: now, aware UTC.
        lifetime: how long an answer is accepted.

    Returns:
        A challenge whose nonce has never been given out.
    """
    nonce = base64.b64encode(os.urandom(NONCE_BYTES)).decode()
    return Challenge(nonce=nonce, origin=origin, issued_at=at, lifetime=lifetime)


def store_text(challenge: Challenge) -> str:
    """Return a challenge as text, for a store outside of this process."""
    issued_at, lifetime_s = challenge.issued_at.timestamp(), challenge.lifetime.total_seconds()
    return json.dumps([challenge.nonce, challenge.origin, issued_at, lifetime_s])


def restore_challenge(stored: str) -> Challenge:
    """Return the challenge that `store_text` made a text of, taken from our own store.

    Raises:
        ChallengeUnknown: not such a text.
    """
    try:
        nonce, origin, issued_at, lifetime_s = json.loads(stored)
        at, lifetime = datetime.fromtimestamp(issued_at, UTC), timedelta(seconds=lifetime_s)
    except (ValueError, TypeError, OverflowError):
        raise ChallengeUnknown("unreadable") from None
    return Challenge(nonce=str(nonce), origin=str(origin), issued_at=at, lifetime=lifetime)


def website_challenge(unverified_nonce: str, origin: str, *, at: datetime) -> Challenge:
    """Return the challenge of a website, for its browser to be answered with a card.

    Args:
        unverified_nonce: as the website gave it.
        origin: as the browser says, https://host[:port]; never what a page says of itself.
        at: now, aware UTC.

    Raises:
        RequestMalformed: nonce or origin is not one that Web eID allows.

    Source: Web eID application, arguments of "authenticate": 44 to 128 characters of nonce,
    an origin of at most 255, https or wss.
    """
    if not _WEBSITE_NONCE.fullmatch(unverified_nonce):
        raise RequestMalformed("nonce")
    if len(origin) > ORIGIN_MAX_CHARACTERS or not _WEBSITE_ORIGIN.fullmatch(origin):
        raise RequestMalformed("origin")
    return Challenge(nonce=unverified_nonce, origin=origin, issued_at=at, lifetime=LIFETIME)


def check_fresh(challenge: Challenge, *, at: datetime) -> None:
    """Check that an answer to the challenge is still accepted.

    Raises:
        ChallengeExpired: too late, or the clock went back behind its making.
    """
    age = at - challenge.issued_at
    if age > challenge.lifetime or age < -CLOCK_STEP_BACK:
        raise ChallengeExpired


ORIGIN_MAX_CHARACTERS = 255
_WEBSITE_NONCE = re.compile(r"[!-~]{44,128}", re.ASCII)
_WEBSITE_ORIGIN = re.compile(
    r"(https|wss)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?", re.ASCII
)


class ChallengeStore(Protocol):
    """Where issued challenges wait for their answer, one per pre-login session."""

    def put(self, session_id: str, challenge: Challenge) -> None:
        """Keep the challenge for this session, replacing an earlier one."""

    def take(self, session_id: str) -> Challenge:
        """Remove and return the session's challenge, atomically across threads and processes.

        The caller checks freshness with `check_fresh` before it does any cryptography.

        Raises:
            ChallengeUnknown: none is waiting, or somebody took it first.
        """


class MemoryChallengeStore:
    """A `ChallengeStore` for one process; the oldest challenges go when it is full."""

    def __init__(self, capacity: int = 10_000) -> None:
        self._lock = threading.Lock()
        self._waiting: OrderedDict[str, Challenge] = OrderedDict()
        self._capacity = capacity

    def put(self, session_id: str, challenge: Challenge) -> None:
        """Keep the challenge for this session, replacing an earlier one."""
        with self._lock:
            self._waiting.pop(session_id, None)
            self._waiting[session_id] = challenge
            while len(self._waiting) > self._capacity:
                self._waiting.popitem(last=False)

    def take(self, session_id: str) -> Challenge:
        """Remove and return the session's challenge.

        Raises:
            ChallengeUnknown: none is waiting, or somebody took it first.
        """
        with self._lock:
            challenge = self._waiting.pop(session_id, None)
        if challenge is None:
            raise ChallengeUnknown
        return challenge

"""Challenges: fresh by os.urandom, bound to who asked, single use by construction."""

from __future__ import annotations

import base64
import json
import os
import re
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cps_auth.errors import ChallengeExpired, ChallengeUnknown, RequestMalformed
from cps_auth.model import Challenge

NONCE_BYTES = 32
"""Web eID 1.0 asks for at least 32 bytes (256 bits) of entropy."""

LIFETIME = timedelta(seconds=300)
"""Default life of a challenge, as in Web eID's validators."""

CLOCK_STEP_BACK = timedelta(seconds=5)
"""What is from further in the future than this was not written by this clock, nor by that of
another host that keeps time."""

SITE_ORIGIN_MAX = 255
"""Characters of a website's origin that Web eID's native application accepts."""

SITE_NONCE_MIN, SITE_NONCE_MAX = 44, 128
"""Characters of a website's nonce that Web eID's native application accepts."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_SITE_ORIGIN = re.compile(
    rf"(https|wss)://(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]{{2,45}}\])(?::([1-9][0-9]{{0,4}}))?",
    re.ASCII,
)
_SITE_NONCE = re.compile(rf"[!-~]{{{SITE_NONCE_MIN},{SITE_NONCE_MAX}}}", re.ASCII)
_DEFAULT_PORT = 443  # of https and of wss: an origin leaves it out, RFC 6454 section 6.2
_PORT_MAX = 65535


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


def challenge_of_site(unverified_origin: str, unverified_nonce: str, *, at: datetime) -> Challenge:
    """Make the challenge that a website issued and that a browser brings to this computer's card.

    Args:
        unverified_origin: of the page, as the browser says and never the page.
        unverified_nonce: the website's, text that is signed as it is.
        at: now, aware UTC.

    Returns:
        A challenge for a secure website, in the one spelling of its origin that browsers use.

    Raises:
        RequestMalformed: site-origin, not `https` or `wss`, host in lower-case ASCII (punycode),
            and a port other than the default one; site-nonce, its length or its characters.

    Source: Web eID system architecture, native application messages; RFC 6454 section 6.2.
    """
    origin = _SITE_ORIGIN.fullmatch(unverified_origin)
    if origin is None or len(unverified_origin) > SITE_ORIGIN_MAX:
        raise RequestMalformed("site-origin")
    if origin[2] is not None and (int(origin[2]) > _PORT_MAX or int(origin[2]) == _DEFAULT_PORT):
        raise RequestMalformed("site-origin")
    if not _SITE_NONCE.fullmatch(unverified_nonce):
        raise RequestMalformed("site-nonce")
    return Challenge(unverified_nonce, unverified_origin, issued_at=at, lifetime=LIFETIME)


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


def check_fresh(challenge: Challenge, *, at: datetime) -> None:
    """Check that an answer to the challenge is still accepted.

    Raises:
        ChallengeExpired: too late, or the clock went back behind its making.
    """
    age = at - challenge.issued_at
    if age > challenge.lifetime or age < -CLOCK_STEP_BACK:
        raise ChallengeExpired


class ChallengeStore(Protocol):
    """The store of issued challenges, one per pre-login session."""

    def put(self, session_id: str, challenge: Challenge) -> None:
        """Keep the challenge for this session, replacing an earlier one."""

    def take(self, session_id: str) -> Challenge:
        """Remove and return the session's challenge, atomically across threads and processes.

        The caller checks freshness with `check_fresh` before it does any cryptography.

        Raises:
            ChallengeUnknown: none is waiting, or somebody took it first.
        """

"""Checks of the provider's tokens: signature by its keys, then claim by claim.

Algorithms are pinned to asymmetric ones: a token that is unsigned, or signed by HMAC with the
public key, is refused before a key is looked for.
Source: OpenID Connect Core 3.1.3.7; OpenID Connect Back-Channel Logout 1.0 section 2.6; RFC 8725.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, RSAKey

from cps_auth.errors import ProviderLevelTooLow, ProviderTokenRefused, ProviderUnavailable

ALGORITHMS = ("RS256", "PS256", "ES256")
CLOCK_SKEW = timedelta(seconds=30)
TOKEN_AGE_MAX = timedelta(minutes=5)
TOKEN_MAX_CHARACTERS = 16_384
RSA_BITS_MIN = 2048
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"

_ACR = re.compile(r"eidas([1-3])", re.ASCII)
_TEXT_MAX = 255
_UNREADABLE = (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What the library raises for hostile input; nothing of it may get out."""

Claims = Mapping[str, object]


class UnknownKey(Exception):
    """No key of the set has the token's `kid`: the provider may have changed them."""


@dataclass(frozen=True, slots=True)
class Audience:
    """The expected issuer and audience of a token."""

    issuer: str
    client_id: str


def read_keys(document: Mapping[str, object]) -> KeySet:
    """Return the signing keys of a JWK set; keys for other uses and short ones are left out.

    Raises:
        ProviderUnavailable: not a JWK set, or one without a key that could have signed.
    """
    keys: list[RSAKey | ECKey] = []
    listed = document.get("keys")
    for one in listed if isinstance(listed, list) else []:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig" or "d" in one:
            continue
        try:
            if one.get("kty") == "RSA":
                rsa = RSAKey.import_key(one)
                if rsa.public_key.key_size >= RSA_BITS_MIN:
                    keys.append(rsa)
            elif one.get("kty") == "EC":
                keys.append(ECKey.import_key(one))
        except _UNREADABLE:
            continue
    if not keys:
        raise ProviderUnavailable("keys")
    return KeySet(list(keys))


def verify_token(unverified_token: object, keys: KeySet) -> Claims:
    """Return the claims of a token that one of the keys signed.

    Raises:
        ProviderTokenRefused: not a token, an algorithm that is not pinned, another key.
        UnknownKey
    """
    if not isinstance(unverified_token, str) or len(unverified_token) > TOKEN_MAX_CHARACTERS:
        raise ProviderTokenRefused("not-a-token")
    try:
        header = jws.extract_compact(unverified_token.encode()).headers()
    except _UNREADABLE:
        raise ProviderTokenRefused("not-a-token") from None
    if header.get("alg") not in ALGORITHMS:
        raise ProviderTokenRefused("unsigned" if header.get("alg") == "none" else "algorithm")
    kid = header.get("kid")
    if kid is not None and all(key.kid != kid for key in keys.keys):
        raise UnknownKey
    try:
        claims = jwt.decode(unverified_token, keys, algorithms=list(ALGORITHMS)).claims
    except _UNREADABLE:
        raise ProviderTokenRefused("signature") from None
    if not isinstance(claims, dict):
        raise ProviderTokenRefused("not-a-token")
    return claims


def check_id_token(claims: Claims, audience: Audience, *, nonce: str | None, at: datetime) -> None:
    """Check the claims of a verified id_token.

    Args:
        claims: from `verify_token`.
        audience: the provider and this client.
        nonce: of this login; None for a login that had none (CIBA).
        at: now, aware UTC.

    Raises:
        ProviderTokenRefused: "issuer", "audience", "azp", "expired", "from-the-future", "nonce",
            "subject".
        ProviderLevelTooLow: `acr` absent or below eidas1.
    """
    _check_addressed(claims, audience)
    if _time(claims, "exp") <= at - CLOCK_SKEW:
        raise ProviderTokenRefused("expired")
    _check_age(claims, at)
    if nonce is not None and not _is_same(claims.get("nonce"), nonce):
        raise ProviderTokenRefused("nonce")
    if not _is_text(claims.get("sub")):
        raise ProviderTokenRefused("subject")
    acr = claims.get("acr")
    if not isinstance(acr, str) or not _ACR.fullmatch(acr):
        raise ProviderLevelTooLow("acr")


def check_authenticated_since(claims: Claims, since: datetime) -> None:
    """Check that the person was authenticated again for this login.

    Raises:
        ProviderLevelTooLow: `auth_time` is absent, or before it.
    """
    seconds = claims.get("auth_time")
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise ProviderLevelTooLow("auth-time-absent")
    if _time(claims, "auth_time") < since - CLOCK_SKEW:
        raise ProviderLevelTooLow("auth-time")


@dataclass(frozen=True, slots=True)
class LogoutToken:
    """A verified demand to end sessions: that of `session`, or all of `subject`."""

    token_id: str
    issued_at: datetime
    session: str | None
    subject: str | None

    @property
    def latest(self) -> datetime:
        """Return the newest beginning of a session that it can be about."""
        return self.issued_at + CLOCK_SKEW


def check_logout_token(claims: Claims, audience: Audience, *, at: datetime) -> LogoutToken:
    """Check the claims of a verified logout token.

    Returns:
        What it ends.

    Raises:
        ProviderTokenRefused: as for an id_token, and "event", "nonce", "token-id".
    """
    _check_addressed(claims, audience)
    _check_age(claims, at)
    if "exp" in claims and _time(claims, "exp") <= at - CLOCK_SKEW:
        raise ProviderTokenRefused("expired")
    events = claims.get("events")
    if not isinstance(events, dict) or not isinstance(events.get(LOGOUT_EVENT), dict):
        raise ProviderTokenRefused("event")
    if "nonce" in claims:  # an id_token is no logout token
        raise ProviderTokenRefused("nonce")
    session, subject, token_id = claims.get("sid"), claims.get("sub"), claims.get("jti")
    if not _is_text(token_id):
        raise ProviderTokenRefused("token-id")
    if not _is_text(session) and not _is_text(subject):
        raise ProviderTokenRefused("subject")
    return LogoutToken(
        token_id=str(token_id),
        issued_at=_time(claims, "iat"),
        session=str(session) if _is_text(session) else None,
        subject=str(subject) if _is_text(subject) else None,
    )


def _check_addressed(claims: Claims, audience: Audience) -> None:
    if claims.get("iss") != audience.issuer:
        raise ProviderTokenRefused("issuer")
    named = claims.get("aud")
    audiences = named if isinstance(named, list) else [named]
    if audience.client_id not in audiences:
        raise ProviderTokenRefused("audience")
    authorized = claims.get("azp")
    if authorized != audience.client_id and (authorized is not None or len(audiences) > 1):
        raise ProviderTokenRefused("azp")


def _check_age(claims: Claims, at: datetime) -> None:
    issued_at = _time(claims, "iat")
    if issued_at > at + CLOCK_SKEW or ("nbf" in claims and _time(claims, "nbf") > at + CLOCK_SKEW):
        raise ProviderTokenRefused("from-the-future")
    if issued_at < at - TOKEN_AGE_MAX - CLOCK_SKEW:
        raise ProviderTokenRefused("expired")


def _time(claims: Claims, name: str) -> datetime:
    seconds = claims.get(name)
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        raise ProviderTokenRefused(name)
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise ProviderTokenRefused(name) from None


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _TEXT_MAX and value.isprintable()


def _is_same(value: object, expected: str) -> bool:
    sent = value if isinstance(value, str) else ""
    return hmac.compare_digest(sent.encode("utf-8", "surrogatepass"), expected.encode())

"""The Web eID authentication token: reads what a browser sent, strictly; judges nothing.

Source: Web eID system architecture, "Web eID authentication token format" 1.0. The proof that
comes out is judged by `cps_auth.login.verify.verify_proof`, under any trust store and profile.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from cps_auth.errors import RequestMalformed
from cps_auth.model import CardSignature, SignatureAlgorithm, UnverifiedProof

FORMAT = "web-eid:1.0"
"""What we make. A later 1.x is taken if it has the fields of 1.0, as other validators do."""

TOKEN_MIN_BYTES = 100
TOKEN_MAX_BYTES = 10_000
"""Bounds that the official validators agree on."""

_FORMAT = re.compile(r"web-eid:1(\.[0-9]{1,3})?", re.ASCII)
_FIRST_FORMATS = ("web-eid:1", FORMAT)
_LATER_FIELD = "unverifiedSigningCertificates"  # of 1.1: the official validators refuse it in 1.0
_MAX_DEPTH = 4  # a token is flat; what newer formats add is a list of objects at most
_MAX_DIGITS = 18
_NESTING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|([\[{])|([\]}])', re.DOTALL)


def parse_token(unverified_token: bytes) -> UnverifiedProof:
    """Read an authentication token.

    Args:
        unverified_token: the JSON text as it came, UTF-8.

    Returns:
        Certificate and signature; nothing about them is known. Unknown fields are ignored.

    Raises:
        RequestMalformed: its reason says which rule was broken, see the tests of this module.
    """
    if not TOKEN_MIN_BYTES <= len(unverified_token) <= TOKEN_MAX_BYTES:
        raise RequestMalformed("token-length")
    token = _read_object(unverified_token)
    format_ = _text(token, "format")
    if not _FORMAT.fullmatch(format_):
        raise RequestMalformed("token-format")
    if format_ in _FIRST_FORMATS and token.get(_LATER_FIELD):
        raise RequestMalformed("token-field-of-later-format")
    algorithm = _algorithm(_text(token, "algorithm"))
    return UnverifiedProof(
        _base64(token, "unverifiedCertificate"),
        CardSignature(algorithm, _base64(token, "signature")),
    )


def make_token(
    certificate_der: bytes, signature: CardSignature, app_version: str
) -> dict[str, str]:
    """Return the token of a signature that a card made.

    Args:
        certificate_der: the card's authentication certificate.
        signature: over a challenge of a website.
        app_version: who made the token, informative.
    """
    return {
        "unverifiedCertificate": base64.b64encode(certificate_der).decode(),
        "algorithm": signature.algorithm.value,
        "signature": base64.b64encode(signature.value).decode(),
        "format": FORMAT,
        "appVersion": app_version,
    }


def read_strict_json(unverified_text: bytes, *, max_depth: int) -> Any:
    """Read JSON of which there is only one reading.

    Args:
        unverified_text: UTF-8, no byte order mark.
        max_depth: how deep arrays and objects may lie in each other.

    Raises:
        ValueError: its text is a stable reason code: not-utf-8, too-deep, duplicate-field,
            not-a-number, not-json, lone-surrogate.

    Source: RFC 8259; RFC 7493 (I-JSON) sections 2.1 to 2.3 for surrogates and duplicates.
    """
    try:
        text = unverified_text.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("not-utf-8") from None
    if _is_deeper(unverified_text, max_depth):
        raise ValueError("too-deep")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_constant=_refuse_constant,
            parse_int=_bounded_int,
        )
    except json.JSONDecodeError:
        raise ValueError("not-json") from None
    if "\\u" in text and _has_lone_surrogate(value):
        raise ValueError("lone-surrogate")
    return value


def _read_object(unverified_token: bytes) -> dict[str, Any]:
    try:
        token = read_strict_json(unverified_token, max_depth=_MAX_DEPTH)
    except ValueError as error:
        raise RequestMalformed(f"token-{error}") from None
    if not isinstance(token, dict):
        raise RequestMalformed("token-not-an-object")
    return token


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("duplicate-field")
    return fields


def _refuse_constant(_name: str) -> None:
    raise ValueError("not-a-number")


def _bounded_int(digits: str) -> int:
    """No protocol of ours has longer ones, and converting them is not linear."""
    if len(digits) > _MAX_DIGITS:
        raise ValueError("not-a-number")
    return int(digits)


def _is_deeper(text: bytes, max_depth: int) -> bool:
    if text.count(b"{") + text.count(b"[") <= max_depth:
        return False  # no deeper than there are openings, as in every honest token
    return _depth(text) > max_depth


def _depth(text: bytes) -> int:
    depth = deepest = 0
    for match in _NESTING.finditer(text):
        if match.group(1):
            depth += 1
            deepest = max(deepest, depth)
        elif match.group(2):
            depth -= 1
    return deepest


def _has_lone_surrogate(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _text(token: dict[str, Any], field: str) -> str:
    value = token.get(field)
    if not isinstance(value, str) or not value:
        raise RequestMalformed(f"token-{_REASONS[field]}-absent")
    return value


def _algorithm(name: str) -> SignatureAlgorithm:
    try:
        return SignatureAlgorithm(name)
    except ValueError:
        raise RequestMalformed("token-algorithm") from None


def _base64(token: dict[str, Any], field: str) -> bytes:
    """Decode RFC 4648 section 4, of which there is one spelling for the same bytes."""
    text = _text(token, field)
    try:
        value = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise RequestMalformed(f"token-{_REASONS[field]}-base64") from None
    if base64.b64encode(value).decode() != text:
        raise RequestMalformed(f"token-{_REASONS[field]}-base64")
    return value


_REASONS = {
    "format": "format",
    "algorithm": "algorithm",
    "unverifiedCertificate": "certificate",
    "signature": "signature",
}

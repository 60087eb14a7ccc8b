"""Requests of an extension: reads them strictly, judges nothing.

Source: Web eID system architecture, "Native messaging"; the command and argument `watch` are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cps_auth.errors import RequestMalformed
from cps_auth.login.web_eid import read_strict_json

_MAX_DEPTH = 4  # command, arguments, and what a newer extension may put into these
_LANGUAGE_MAX = 35  # the longest language tag, RFC 5646 section 4.4.1


@dataclass(frozen=True, slots=True)
class Authenticate:
    """Sign a challenge of a website."""

    unverified_origin: str
    unverified_nonce: str
    language: str | None  # a language tag, such as "fr" or "fr-FR"
    watch: bool  # stay connected, and say when the card leaves


@dataclass(frozen=True, slots=True)
class Sign:
    """Sign a document, or give the certificate for it: never done here."""


@dataclass(frozen=True, slots=True)
class Watch:
    """A request to report when the card of this connection's login leaves."""


@dataclass(frozen=True, slots=True)
class Quit:
    """End."""


Request = Authenticate | Sign | Watch | Quit

_WITHOUT_ARGUMENTS: Mapping[str, Request] = {
    "get-signing-certificate": Sign(),
    "sign": Sign(),
    "watch": Watch(),
    "quit": Quit(),
}


def parse_request(unverified_text: bytes) -> Request:
    """Read one request; arguments that we do not know are ignored.

    Args:
        unverified_text: JSON as it came.

    Raises:
        RequestMalformed: its reason says which rule was broken.
    """
    try:
        request = read_strict_json(unverified_text, max_depth=_MAX_DEPTH)
    except ValueError as error:
        raise RequestMalformed(f"request-{error}") from None
    if not isinstance(request, dict):
        raise RequestMalformed("request-not-an-object")
    command, arguments = request.get("command"), request.get("arguments")
    if not isinstance(command, str) or not isinstance(arguments, dict):
        raise RequestMalformed("request-shape")
    if command == "authenticate":
        return _authenticate(arguments)
    if command not in _WITHOUT_ARGUMENTS:
        raise RequestMalformed("request-command")
    return _WITHOUT_ARGUMENTS[command]


def _authenticate(arguments: dict[str, Any]) -> Authenticate:
    origin, nonce = arguments.get("origin"), arguments.get("challengeNonce")
    language = arguments.get("lang")
    if not isinstance(origin, str):
        raise RequestMalformed("request-origin")
    if not isinstance(nonce, str):
        raise RequestMalformed("request-nonce")
    if language is not None and not (isinstance(language, str) and len(language) <= _LANGUAGE_MAX):
        raise RequestMalformed("request-language")
    return Authenticate(origin, nonce, language, watch=arguments.get("watch") is True)

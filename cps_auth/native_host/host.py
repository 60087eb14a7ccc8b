"""The host: greets, checks its caller, serves the requests of one connection.

authenticate              a token over the challenge of a website
watch                     our own extension only: keeps telling whether that card is there
quit                      nothing, politely
get-signing-certificate   refused: the authentication key signs challenges and nothing else
sign                      refused, likewise
"""

from __future__ import annotations

import logging
import select
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cps_auth.card.open import open_cards
from cps_auth.card.port import CardSource
from cps_auth.config import Settings, read_settings
from cps_auth.errors import (
    CpsAuthError,
    PeerNotAllowed,
    PinEntryCancelled,
    RequestMalformed,
)
from cps_auth.login.challenge import website_challenge
from cps_auth.native_host.authenticate import Authentication, Signed, as_arguments
from cps_auth.native_host.caller import calling_extension, stays_connected
from cps_auth.native_host.messages import read_request, write_reply
from cps_auth.native_host.presence import Presence
from cps_auth.wording import LANGUAGES, explain, translations

PROTOCOL_VERSION = "2.9.0"
"""Of the Web eID application whose protocol this is; the extension asks for at least 2.0."""

USER_CANCELLED = "ERR_WEBEID_USER_CANCELLED"
INVALID_ARGUMENT = "ERR_WEBEID_NATIVE_INVALID_ARGUMENT"
FATAL = "ERR_WEBEID_NATIVE_FATAL"

Reply = dict[str, Any]


def error_reply(error: CpsAuthError, language: str) -> Reply:
    """Return an error as the extension knows it, with words for a log."""
    if isinstance(error, PinEntryCancelled):
        code = USER_CANCELLED
    elif isinstance(error, (RequestMalformed, PeerNotAllowed)):
        code = INVALID_ARGUMENT
    else:
        code = FATAL
    return {"error": {"code": code, "message": explain(error, language).text}}


class Host:
    """One connection with a browser."""

    def __init__(
        self,
        cards: Callable[[], CardSource],
        settings: Settings,
        *,
        stays: bool,
        pipes: tuple[int, int] = (0, 1),
    ) -> None:
        """Remember the parts; nothing is read.

        Args:
            cards: opens the source of cards when the first request needs it.
            settings: of this machine.
            stays: whether the caller may ask more than once.
            pipes: descriptors to read from and to write to.
        """
        self._open_cards = cards
        self._settings = settings
        self._stays = stays
        self._in, self._out = pipes
        self._language: str = settings.language
        self._cards: CardSource | None = None
        self._presence: Presence | None = None
        self._signed: Signed | None = None

    def serve(self) -> None:
        """Greet, then answer until the browser goes, or once."""
        write_reply(self._out, {"version": f"{PROTOCOL_VERSION}+cps-auth.{version('cps-auth')}"})
        try:
            while (request := read_request(self._in)) is not None:
                write_reply(self._out, self._answer(request))
                if not self._stays or request.get("command") == "quit":
                    return
                if request.get("command") == "watch" and self._signed is not None:
                    self._tell_removal(self._signed)
                    return
        except RequestMalformed as error:
            write_reply(self._out, error_reply(error, self._language))
        finally:
            if self._presence is not None:
                self._presence.stop()

    def _answer(self, request: dict[str, Any]) -> Reply:
        arguments = as_arguments(request.get("arguments"))
        if arguments.get("lang", "")[:2] in LANGUAGES:
            self._language = arguments["lang"][:2]
        try:
            match request.get("command"):
                case "authenticate":
                    return self._authenticate(arguments)
                case "watch" if self._stays and self._signed is not None:
                    return {"event": "watching"}
                case "quit":
                    return {}
                case "sign" | "get-signing-certificate":
                    return self._refuse_signing()
                case _:
                    raise RequestMalformed("command")
        except CpsAuthError as error:
            return error_reply(error, self._language)

    def _authenticate(self, arguments: dict[str, str]) -> Reply:
        nonce, origin = arguments.get("challengeNonce", ""), arguments.get("origin", "")
        challenge = website_challenge(nonce, origin, at=_now())
        if self._cards is None or self._presence is None:
            self._cards = self._open_cards()
            self._presence = Presence(self._cards)
        asking = Authentication(
            self._cards,
            self._presence,
            reader=self._settings.card.reader,
            language=self._language,
            clock=_now,
            app_version=f"https://pypi.org/project/cps-auth/{version('cps-auth')}",
        )
        self._signed = asking.run(challenge)
        return dict(self._signed.token)

    def _refuse_signing(self) -> Reply:
        tr = translations(self._language)
        text = tr.gettext("The card program works with authentication only: it signs no documents.")
        return {"error": {"code": FATAL, "message": text}}

    def _tell_removal(self, signed: Signed) -> None:
        """Wait until the card that signed has left, or the browser has."""
        presence = self._presence
        while presence is not None and signed.visit is not None:
            presence.clear()
            if presence.visit(signed.reader) != signed.visit:
                break
            ready, _, _ = select.select([self._in, presence.changed], [], [])
            if self._in in ready:  # closed, or something that has no place here
                return
        write_reply(self._out, {"event": "card-removed"})


def main() -> None:
    """Serve the browser that started this program."""
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)
    try:
        settings = read_settings()
        extension = calling_extension(sys.argv[1:], settings.browser.extensions)
    except CpsAuthError as error:
        write_reply(1, error_reply(error, "en"))
        sys.exit(1)
    module = Path(settings.card.module) if settings.card.module else None
    host = Host(lambda: open_cards(module), settings, stays=stays_connected(extension))
    try:
        host.serve()
    except BrokenPipeError:  # the browser went away first
        sys.exit(0)


def _now() -> datetime:
    return datetime.now(UTC)

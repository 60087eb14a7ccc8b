"""The conversation between the browser and the host, from the greeting to the end.

The host greets, the browser asks once, the host answers and ends, as Web eID's application does.
Our own extension asks it to stay after a login, and hears when the card leaves.
"""

from __future__ import annotations

import contextlib
import logging
import select
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from cps_auth.card.port import CardSource
from cps_auth.errors import (
    CardRemoved,
    CpsAuthError,
    PinEntryCancelled,
    RequestMalformed,
    RequestRefused,
)
from cps_auth.login.challenge import challenge_of_site
from cps_auth.login.web_eid import make_token
from cps_auth.native_host import requests
from cps_auth.native_host.card_events import CardEvents
from cps_auth.native_host.framing import read_message, write_message
from cps_auth.native_host.pin_window import PinWindow

if TYPE_CHECKING:
    from cps_auth.pki.judge import Judge

_log = logging.getLogger(__name__)

PROTOCOL_VERSION: Final = "2.9.0+cps-auth"
"""Of Web eID's native application: its extension asks for an update of an older major one."""

RELEASES: Final = "https://cps-auth.invalid/releases/"
"""The token's `appVersion` is a URL, for information; we have no website, and RFC 2606 a name."""

CANCELLED: Final = "ERR_WEBEID_USER_CANCELLED"
INVALID: Final = "ERR_WEBEID_NATIVE_INVALID_ARGUMENT"
FATAL: Final = "ERR_WEBEID_NATIVE_FATAL"
"""Error codes of Web eID's native application (web-eid-app)."""

UNFORESEEN_REPLY: Final = {"error": {"code": FATAL, "message": "unforeseen"}}

NO_SIGNING: Final = "this program authenticates only: it signs no document and no given hash"


def error_reply(refusal: CpsAuthError) -> dict[str, object]:
    """Return what the browser is told of an error: its kind, nothing about card or holder."""
    match refusal:
        case PinEntryCancelled() | CardRemoved():
            code = CANCELLED
        case RequestMalformed():
            code = INVALID
        case _:
            code = FATAL
    reason = f": {refusal.data()['reason']}" if isinstance(refusal, RequestRefused) else ""
    return {"error": {"code": code, "message": refusal.code + reason}}


@dataclass(frozen=True)
class Host:
    """One connection of a browser.

    Attributes:
        browser_in: what the browser writes to.
        browser_out: what it reads from.
        cards: opens the source of cards.
        reader: the one to use; None for the only one that holds a card.
        judge: gives it, or None where this computer has no authorities.
        window: opens the PIN window.
        clock: tells the time, aware UTC.
        language: where the request names none of ours.
    """

    browser_in: int
    browser_out: int
    cards: Callable[[], CardSource]
    reader: str | None
    judge: Callable[[], Judge | None]
    window: Callable[[], PinWindow]
    clock: Callable[[], datetime]
    language: str

    def serve(self) -> None:
        """Greet, answer one request, and watch over the card if that was asked for.

        Raises:
            CpsAuthError: any leaf; the browser was told.
        """
        try:
            self._say({"version": PROTOCOL_VERSION})
            request = self._hear()
            match request:
                case requests.Authenticate():
                    self._authenticate(request)
                case requests.Sign():
                    self._say({"error": {"code": FATAL, "message": NO_SIGNING}})
                case requests.Watch():
                    raise RequestMalformed("watch-without-login")
                case requests.Quit():
                    self._say({})
                case None:
                    _log.debug("the browser asked nothing")
        except BrokenPipeError:
            raise PinEntryCancelled from None
        except CpsAuthError as refusal:
            with contextlib.suppress(BrokenPipeError):
                self._say(error_reply(refusal))
            raise

    def _authenticate(self, request: requests.Authenticate) -> None:
        challenge = challenge_of_site(
            request.unverified_origin, request.unverified_nonce, at=self.clock()
        )
        with contextlib.ExitStack() as ending:
            with self.window() as window:
                # Imported here: greeting and window come up while the rest is loaded
                from importlib.metadata import version

                from cps_auth.native_host.authentication import Login
                from cps_auth.native_host.views import Views

                cards = self.cards()
                news = CardEvents(cards)
                ending.callback(news.close)
                login = Login(
                    cards=cards,
                    reader=self.reader,
                    judge=self.judge,
                    window=window,
                    browser=self.browser_in,
                    news=news,
                    views=Views(challenge.origin, self._language(request.language)),
                    clock=self.clock,
                )
                signed = login.run(challenge)
                app_version = RELEASES + version("cps-auth")
                self._say(make_token(signed.certificate_der, signed.signature, app_version))
            _log.debug("signed for %s", challenge.origin)
            if request.watch:
                self._watch(news, signed.reader)

    def _watch(self, news: CardEvents, reader: str | None) -> None:
        """Stay until the card leaves, until nobody can tell, or until the browser goes."""
        while True:
            loss = news.loss_of(reader)
            if loss is not None:
                self._say({"event": loss.value})
                return
            waiting = select.poll()
            waiting.register(self.browser_in, select.POLLIN)
            waiting.register(news.fileno(), select.POLLIN)
            ready = dict(waiting.poll())
            if news.fileno() in ready:
                news.acknowledge()
            elif self.browser_in in ready:
                match self._hear():
                    case requests.Watch():
                        self._say({"event": "card-present"})
                    case None | requests.Quit():
                        return
                    case _:
                        raise RequestMalformed("request-while-watching")

    def _language(self, asked: str | None) -> str:
        first = (asked or "").lower()[:2]
        return first if first in ("fr", "en") else self.language

    def _hear(self) -> requests.Request | None:
        text = read_message(self.browser_in)
        return None if text is None else requests.parse_request(text)

    def _say(self, message: Mapping[str, object]) -> None:
        write_message(self.browser_out, message)

"""`authenticate`: one challenge of a website, signed by the card if its holder agrees here."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cps_auth.card.port import CardSource
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    CardUnavailable,
    CertificateRefused,
    ContactlessNotEnough,
    CpsAuthError,
    PinBlocked,
    PinEntryCancelled,
    PinRefused,
)
from cps_auth.login.web_eid import make_token
from cps_auth.model import Challenge
from cps_auth.native_host.presence import Presence
from cps_auth.native_host.window import Answer, Window
from cps_auth.native_host.words import ask_words, busy_words, trouble_words
from cps_auth.pin_entry import wipe
from cps_auth.pki.certificate import parse_certificate
from cps_auth.pki.chain import check_dates

PERSON_S = 140.0
"""The extension gives up after about as long."""

_WAIT_FOR_ANOTHER = (CardUnavailable, CardMisbehaved, CertificateRefused, PinBlocked)


@dataclass(frozen=True, slots=True)
class SeenCard:
    """The card that the person is asked about."""

    certificate_der: bytes
    name: str
    attempts_left: int | None


@dataclass(frozen=True, slots=True)
class Signed:
    """A token, and the visit of the card that made it."""

    token: dict[str, str]
    reader: str
    visit: int | None


class Authentication:
    """One conversation about one challenge."""

    def __init__(
        self,
        cards: CardSource,
        presence: Presence,
        *,
        reader: str | None,
        language: str,
        clock: Callable[[], datetime],
        app_version: str,
    ) -> None:
        self._cards = cards
        self._presence = presence
        self._reader = reader
        self._language = language
        self._clock = clock
        self._app_version = app_version

    def run(self, challenge: Challenge) -> Signed:
        """Ask the holder, and sign.

        Raises:
            PinEntryCancelled: the person gave up, or did not answer in time.
            ModuleUnusable: there is no window to ask in.
        """
        deadline = time.monotonic() + PERSON_S
        refusal: PinRefused | None = None
        with Window() as window:
            while True:
                self._presence.clear()
                try:
                    card = self._look()
                    window.show(ask_words(challenge.origin, card, refusal, self._language))
                    answer = window.wait(self._presence.changed, deadline)
                    if answer is not None:
                        refusal = None
                        window.show(busy_words(challenge.origin, self._language))
                        return self._sign(card, challenge, answer)
                except _WAIT_FOR_ANOTHER as trouble:
                    refusal = None
                    self._wait_for_change(window, challenge.origin, trouble, deadline)
                except PinEntryCancelled:
                    raise
                except PinRefused as error:
                    refusal = error  # the person may type another one; nothing retries

    def _wait_for_change(
        self, window: Window, origin: str, trouble: CpsAuthError, deadline: float
    ) -> None:
        window.show(trouble_words(origin, trouble, self._language))
        answer = window.wait(self._presence.changed, deadline)
        if answer is not None:
            wipe(answer.pin)

    def _look(self) -> SeenCard:
        """Do what costs no attempt.

        Raises:
            CardUnavailable, CardMisbehaved, CertificateRefused, PinBlocked, ModuleUnusable
        """
        with self._cards.open_card(self._reader) as card:
            if card.description.kind.is_contactless:
                raise ContactlessNotEnough
            der = card.read_authentication_certificate()
            attempts_left = card.pin_attempts_left()
        certificate = parse_certificate(der)
        check_dates(certificate, at=self._clock())
        if attempts_left == 0:
            raise PinBlocked
        return SeenCard(der, certificate.practitioner.display_name, attempts_left)

    def _sign(self, seen: SeenCard, challenge: Challenge, answer: Answer) -> Signed:
        try:
            with self._cards.open_card(self._reader) as card:
                reader = card.description.reader
                visit = self._presence.visit(reader)
                if card.read_authentication_certificate() != seen.certificate_der:
                    raise CardRemoved  # the PIN was typed for another card
                signature = card.prove(
                    answer.pin, challenge, last_attempt_allowed=answer.last_attempt_allowed
                )
        finally:
            wipe(answer.pin)
        token = make_token(seen.certificate_der, signature, self._app_version)
        return Signed(token, reader, visit)


def as_arguments(unverified_arguments: Any) -> dict[str, str]:
    """Return the arguments of a command that are texts; the others count as absent."""
    if not isinstance(unverified_arguments, dict):
        return {}
    return {name: value for name, value in unverified_arguments.items() if isinstance(value, str)}

"""The cards in the readers of this machine, as the login page shows them before any PIN."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cps_auth.card.port import Card, CardSource
from cps_auth.errors import (
    CardBusy,
    ContactlessNotEnough,
    CpsAuthError,
    NoCard,
    ReaderServiceUnavailable,
    SeveralCards,
    UnsupportedCard,
)
from cps_auth.flask.state import LoginState
from cps_auth.login.verify import admit
from cps_auth.model import Practitioner

CARD_WAIT_S = 10.0
_NOT_TO_CHOOSE = (NoCard, UnsupportedCard, ContactlessNotEnough)


@dataclass(frozen=True, slots=True)
class CardOnPage:
    """A card that may be used here, as the page shows it before any PIN."""

    holder: Practitioner
    certificate_sha256_hex: str
    attempts_left: int | None
    puk_attempts_left: int | None = None  # asked of a blocked card only
    reader: str | None = None  # chosen on the page, among several

    @property
    def needs_confirmation(self) -> bool:
        """Return whether one wrong digit may block the card."""
        return self.attempts_left is None or self.attempts_left <= 1

    @property
    def is_blocked(self) -> bool:
        """Return whether no PIN attempt is left."""
        return self.attempts_left == 0

    @property
    def may_lose_card(self) -> bool:
        """Return whether one wrong unblocking code may make the card useless for good."""
        return self.puk_attempts_left is None or self.puk_attempts_left <= 1


@dataclass(frozen=True, slots=True)
class CardChoice:
    """One of several cards, to choose from."""

    reader: str
    holder: Practitioner | None  # None: it cannot be used here, and `error` says why
    error: CpsAuthError | None = None


class CardsHere:
    """The readers of this machine; one request uses them at a time."""

    def __init__(self, source: CardSource, reader: str | None) -> None:
        """Keep the parts; no card is touched.

        Args:
            source: the readers.
            reader: name of the one that counts, None for any.
        """
        self.source = source
        self._reader = reader
        self._in_use = threading.Lock()

    @contextmanager
    def open(self, chosen: str | None = None) -> Iterator[Card]:
        """Open the card, one request at a time.

        Args:
            chosen: name of a reader that the person chose; a reader of the settings goes before.

        Raises:
            CardBusy: another request holds it for too long.
            CpsAuthError: as `CardSource.open_card`.
        """
        if not self._in_use.acquire(timeout=CARD_WAIT_S):
            raise CardBusy
        try:
            with self.source.open_card(self._reader or chosen) as card:
                yield card
        finally:
            self._in_use.release()

    def chosen(self, unverified_reader: str | None) -> str | None:
        """Return the reader that a page asks for, if it is there and has a card in it."""
        if self._reader is not None or unverified_reader is None:
            return None
        return unverified_reader if unverified_reader in self._with_cards() else None

    def look(self, state: LoginState, chosen: str | None) -> CardOnPage | CpsAuthError:
        """Do what costs no PIN attempt, and return what came of it."""
        try:
            with self.open(chosen) as card:
                admission = admit(card, judge=state.judge, allow=state.allow, at=state.clock())
                attempts_left = card.pin_attempts_left()
                puk_attempts_left = card.puk_attempts_left() if attempts_left == 0 else None
        except CpsAuthError as error:
            return error
        certificate = admission.judged.certificate
        return CardOnPage(
            certificate.practitioner,
            certificate.sha256_hex,
            attempts_left,
            puk_attempts_left,
            chosen,
        )

    def choices(self, state: LoginState, seen: CardOnPage | CpsAuthError) -> Sequence[CardChoice]:
        """Return the cards to choose from, where `look` found several; none otherwise."""
        if not isinstance(seen, SeveralCards):
            return ()
        looks = ((reader, self.look(state, reader)) for reader in self._with_cards())
        return [
            CardChoice(reader, None, found)
            if isinstance(found, CpsAuthError)
            else CardChoice(reader, found.holder)
            for reader, found in looks
            if not isinstance(found, _NOT_TO_CHOOSE)
        ]

    def _with_cards(self) -> Sequence[str]:
        try:
            states = self.source.readers()
        except ReaderServiceUnavailable:
            return ()
        return [state.name for state in states if state.atr is not None]

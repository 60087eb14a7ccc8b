"""One login: waits for a card, asks for the PIN in the window, has the challenge signed.

A person who typed a wrong PIN may correct it in the same window, after reading how many attempts
are left: that is a new decision of the person. Nothing here sends the same digits twice.
"""

from __future__ import annotations

import contextlib
import select
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from time import monotonic

from cps_auth.backoff import Backoff
from cps_auth.card.port import Card, CardSource
from cps_auth.errors import (
    CardBusy,
    CardMisbehaved,
    CardRemoved,
    CardUnavailable,
    ContactlessNotEnough,
    CpsAuthError,
    LastAttempt,
    PinBlocked,
    PinEntryCancelled,
    PinMalformed,
    WrongPin,
)
from cps_auth.login.challenge import LIFETIME
from cps_auth.model import CardSignature, Challenge
from cps_auth.native_host.card_events import CardEvents
from cps_auth.native_host.pin_window import PinWindow
from cps_auth.native_host.views import Views, read_holder
from cps_auth.pki.judge import Judge

_FIRST_RETRY_S, _LONGEST_RETRY_S = 0.5, 4.0
"""Another program lets go of the card without PC/SC saying so."""


@dataclass(frozen=True, slots=True)
class SignedChallenge:
    """The result of a login.

    Attributes:
        certificate_der: of the card, unverified.
        signature: over the challenge.
        reader: where the card is; None when no reader of PC/SC is known to hold it.
    """

    certificate_der: bytes
    signature: CardSignature
    reader: str | None


@dataclass(frozen=True)
class Login:
    """Everything that one login needs.

    Attributes:
        cards: where cards come from.
        reader: the one to use; None for the only one that holds a card.
        judge: gives it, or None where this computer has no authorities; asked once a card is there.
        window: opened, shows nothing yet.
        browser: the descriptor whose end means that nobody waits for an answer any more.
        news: of the cards, running.
        views: what to show.
        clock: tells the time, aware UTC.
    """

    cards: CardSource
    reader: str | None
    judge: Callable[[], Judge | None]
    window: PinWindow
    browser: int
    news: CardEvents
    views: Views
    clock: Callable[[], datetime]

    def run(self, challenge: Challenge) -> SignedChallenge:
        """Have the challenge signed, or say in the window why not.

        Raises:
            PinEntryCancelled: the person gave up or did not answer, or the browser did not wait.
            CardRemoved: the card was pulled while the PIN was asked for.
            CpsAuthError: what the window showed before the person closed it.
        """
        deadline = monotonic() + LIFETIME.total_seconds()
        try:
            with self._open(deadline) as card:
                return self._sign(card, challenge, deadline)
        except (PinEntryCancelled, CardRemoved):
            raise
        except CpsAuthError as refusal:
            self.window.show(self.views.refused(refusal))
            with contextlib.suppress(PinEntryCancelled), self._answer(deadline, None):
                pass
            raise

    def _open(self, deadline: float) -> Card:
        """Open the card; as long as there is none that can be used, say why."""
        backoff = Backoff(_FIRST_RETRY_S, _LONGEST_RETRY_S)
        while True:
            self.news.forget()
            try:
                card = self.cards.open_card(self.reader)
                if not card.description.kind.is_contactless:
                    return card
                card.close()
                why: CpsAuthError = ContactlessNotEnough()
            except (CardUnavailable, CardMisbehaved) as unusable:
                why = unusable
            self.window.show(self.views.waiting(why))
            self._await_news(deadline, backoff.pause_s() if isinstance(why, CardBusy) else None)

    def _sign(self, card: Card, challenge: Challenge, deadline: float) -> SignedChallenge:
        reader = card.description.reader if card.description.atr_hex else None
        certificate_der = card.read_authentication_certificate()
        holder = read_holder(certificate_der, self.judge(), at=self.clock())
        trouble: CpsAuthError | None = None
        while True:
            attempts_left = card.pin_attempts_left()
            if attempts_left == 0:
                raise PinBlocked
            on_pad = card.has_pin_pad
            self.window.show(self.views.pin(holder, attempts_left, trouble, on_pad=on_pad))
            with self._answer(deadline, reader) as (typed, confirmed):
                pin = None if on_pad else typed
                try:
                    signature = card.verify_pin_and_sign(
                        pin, challenge, last_attempt_allowed=confirmed
                    )
                    return SignedChallenge(certificate_der, signature, reader)
                except (WrongPin, PinMalformed, LastAttempt) as again:
                    trouble = again

    @contextlib.contextmanager
    def _answer(self, deadline: float, reader: str | None) -> Iterator[tuple[bytearray, bool]]:
        """Wait for the person's answer, as long as the browser and the card are there.

        What PC/SC says does not count without a reader: its end says nothing of a soft token, and
        a card in a reader that nobody could name fails when it is asked to sign.
        """
        while not self._wait(deadline, None):
            if reader is not None and self.news.loss_of(reader) is not None:
                raise CardRemoved
        with self.window.answer() as answer:
            yield answer

    def _await_news(self, deadline: float, at_most_s: float | None) -> None:
        """Wait until something happens at the readers, or for some time."""
        if self._wait(deadline, at_most_s):
            with self.window.answer():
                raise PinEntryCancelled  # no digits were asked for: whatever it is, nobody waits

    def _wait(self, deadline: float, at_most_s: float | None) -> bool:
        """Wait for news of the cards or for the window; return whether it was the window."""
        waiting = select.poll()
        waiting.register(self.window.fileno(), select.POLLIN)
        waiting.register(self.news.fileno(), select.POLLIN)
        waiting.register(self.browser, select.POLLRDHUP)  # POLLHUP, of a pipe, is always told
        left_s = deadline - monotonic()
        timeout_s = left_s if at_most_s is None else min(left_s, at_most_s)
        ready = dict(waiting.poll(max(0.0, timeout_s) * 1000))
        if self.browser in ready or left_s <= 0:
            raise PinEntryCancelled
        if self.news.fileno() in ready:
            self.news.acknowledge()
            return False
        return self.window.fileno() in ready

"""The public API as its users write it: type-checked by `./dev check`, never run."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cps_auth.card.open import open_cards
from cps_auth.card.port import Card, CardSource
from cps_auth.errors import CpsAuthError, WrongPin
from cps_auth.login.verify import log_in, show_holder
from cps_auth.model import CardEvent, Practitioner, VerifiedHolder
from cps_auth.pki.judge import Judge, folder_judge, production_judge
from cps_auth.session_lock import LockAction, SessionLock
from cps_auth.wording import explain


def who(pin: bytearray, trust: Path | None) -> VerifiedHolder | str:
    """Log in with the card in the reader."""
    judge: Judge = production_judge() if trust is None else folder_judge(trust)
    cards: CardSource = open_cards()
    try:
        with cards.open_card() as card:
            return finish(card, pin, judge)
    except WrongPin as error:
        left: int | None = error.attempts_left
        return str(left)
    except CpsAuthError as error:
        code: str = error.code
        return code + explain(error, "fr").text


def finish(card: Card, pin: bytearray, judge: Judge) -> VerifiedHolder:
    """Show the holder, then log in."""
    shown: Practitioner = show_holder(card, judge=judge, at=now()).certificate.practitioner
    name: str = shown.display_name
    return log_in(card, pin, origin=name, judge=judge, allow=allow, clock=now)


def allow(practitioner: Practitioner) -> None:
    """Accept everybody."""


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def lock_on_removal(holder: VerifiedHolder, reader: str, cards: CardSource) -> None:
    """Bind a session to its card."""

    def perform(action: LockAction) -> None:
        print(action.value)

    lock = SessionLock(holder, reader, perform)

    def listen(event: CardEvent) -> None:
        lock.feed_card_event(event)

    cards.watch(listen).stop()

"""The public API as its users write it: type-checked by `./dev check`, never run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from flask import Flask

from cps_auth.card.open import open_cards
from cps_auth.card.port import Card, CardSource
from cps_auth.errors import CpsAuthError, WrongPin
from cps_auth.flask import cps_required, cps_user
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


@cps_required(professions={"10"}, max_age=timedelta(minutes=10))
async def prescriptions(number: int) -> str:
    """Answer as Flask's own async views do."""
    user = cps_user()
    return "" if user is None else f"{number} {user.display_name}"


@cps_required(exercice=True)
def place() -> dict[str, str]:
    """Answer in JSON."""
    user = cps_user()
    return {} if user is None or user.exercice is None else {"of": str(user.exercice.profession)}


def add_views(app: Flask) -> None:
    """Register both: Flask takes what the decorator returns."""
    app.add_url_rule("/prescriptions/<int:number>", view_func=prescriptions)
    app.add_url_rule("/place", view_func=place)
    app.get("/again/<int:number>")(prescriptions)

"""Unblocks a card in the reader beside the browser: its PUK, and a new PIN typed twice."""

from __future__ import annotations

from cps_auth.errors import CardRemoved, NewPinsDiffer, RequestMalformed
from cps_auth.flask import audit
from cps_auth.flask.methods.cards_here import CardsHere
from cps_auth.flask.methods.login_form import LoginForm
from cps_auth.flask.sessions.browser import browser_id
from cps_auth.flask.state import LoginState
from cps_auth.login.verify import admit

UNBLOCK = "unblock"
"""In place of a login's purpose: a form made for one is none for the other."""

FIELDS = ("puk", "new_pin", "new_pin_again")


def unblock_card(state: LoginState, cards: CardsHere, form: LoginForm, method: str) -> None:
    """Give a blocked card its PIN attempts and a new PIN. Nobody is logged in by that.

    Args:
        state: of the application.
        cards: the readers of this machine.
        form: with `FIELDS`; its token names the card that the page showed.
        method: name of the login method, for the audit lines.

    Raises:
        ChallengeUnknown, ChallengeExpired: the form was used, or is too old.
        RequestMalformed: it was made for a login.
        NewPinsDiffer, PinMalformed, PukMalformed: nothing was sent to the card.
        CardRemoved: another card is there now; nothing was sent to it.
        LastPukAttempt, PukBlocked, WrongPuk: as `Card.unblock`.
        CpsAuthError: the card cannot be used here.
        StoreUnavailable
    """
    content = state.stores.forms.take(form.unverified_token, browser_id(), at=state.clock())
    shown, purpose, reader = split_content(content)
    if purpose != UNBLOCK:
        raise RequestMalformed("purpose")
    puk, new, again = (form.codes[name] for name in FIELDS)
    if new != again:
        raise NewPinsDiffer
    with cards.open(reader) as card:
        admission = admit(card, judge=state.judge, allow=state.allow, at=state.clock())
        certificate = admission.judged.certificate
        if certificate.sha256_hex != shown:
            raise CardRemoved  # the codes were typed for another card: not sent to this one
        card.unblock(puk, new, last_attempt_allowed=form.last_attempt_confirmed)
    audit.pin_unblocked(certificate.practitioner, admission.card_serial, method)


def join_content(certificate_sha256_hex: str, purpose: str, reader: str | None) -> str:
    """Return what a form's token stands for: the card shown, what for, and a chosen reader."""
    return f"{certificate_sha256_hex} {purpose} {reader or ''}"


def split_content(content: str) -> tuple[str, str, str | None]:
    """Return card, purpose and reader of `join_content`."""
    shown, _, rest = content.partition(" ")
    purpose, _, reader = rest.partition(" ")
    return shown, purpose, reader or None

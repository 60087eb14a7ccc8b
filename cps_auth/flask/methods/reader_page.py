"""What the local reader answers: its login page for a person, the same in JSON for a script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from flask import request, url_for
from flask.typing import ResponseReturnValue

from cps_auth.errors import (
    BadSignature,
    CertificateRefused,
    CpsAuthError,
    HolderNotAllowed,
    NoCard,
    PinBlocked,
    PinRefused,
    PukBlocked,
    UnsupportedCard,
)
from cps_auth.flask.http_errors import http_status
from cps_auth.flask.methods.cards_here import CardChoice, CardOnPage, CardsHere
from cps_auth.flask.methods.method import offered_methods
from cps_auth.flask.methods.unblocking import UNBLOCK, join_content
from cps_auth.flask.pages.redirects import asked_or_after_login
from cps_auth.flask.pages.render import render_page
from cps_auth.flask.sessions.browser import browser_id, current_language
from cps_auth.flask.sessions.purpose import asked_purpose, purpose_text, same_purpose
from cps_auth.flask.state import LoginState
from cps_auth.wording import attempts_left_text, explain

NORMAL_ATTEMPTS = 3
"""Attempts of a CPS whose last PIN was right; fewer are worth a word (ANS, CPS3 guide)."""

_ABOUT_THE_CARD = (CertificateRefused, HolderNotAllowed, PinRefused, UnsupportedCard)


@dataclass(frozen=True, slots=True)
class ReaderView:
    """What is in the readers, and what came of the last try.

    Attributes:
        card: the card that may be used; None for none.
        choices: the cards to choose from, where there are several.
        trouble: what keeps the card from being used.
        refusal: why the login that was just tried was refused.
        presence: fingerprint of the readers, from before they were looked at.
        chosen: the reader that the person chose.
    """

    card: CardOnPage | None
    choices: Sequence[CardChoice]
    trouble: CpsAuthError | None
    refusal: CpsAuthError | None
    presence: str | bool
    chosen: str | None


def look_at_readers(
    state: LoginState, cards: CardsHere, *, presence: str | bool, refusal: CpsAuthError | None
) -> ReaderView:
    """Look at the readers for this request; costs no PIN attempt."""
    chosen = cards.chosen(request.args.get("reader"))
    seen = cards.look(state, chosen)
    card = seen if isinstance(seen, CardOnPage) else None
    trouble = seen if isinstance(seen, CpsAuthError) else _why_blocked(card)
    if trouble is not None and type(trouble) is type(refusal):
        refusal, trouble = None, refusal
    return ReaderView(card, cards.choices(state, seen), trouble, refusal, presence, chosen)


def show_page(
    state: LoginState, view: ReaderView, unverified_next: str | None, *, has_others: bool
) -> ResponseReturnValue:
    """Show who is on the card and ask for the PIN, or what to do instead."""
    language, demand = current_language(), same_purpose()
    asked = asked_or_after_login(unverified_next)
    others = offered_methods(state.methods.values(), again="again" in demand, card="card" in demand)
    trouble, refusal, card = view.trouble, view.refusal, view.card
    page = render_page(
        "login.html",
        card=card,
        choices=view.choices,
        why=lambda choice: explain(choice.error, language).happened,
        reader=view.chosen,
        attempts=_attempts_text(card, language),
        trouble=None if trouble is None else explain(trouble, language),
        was_last_attempt=isinstance(trouble, PinBlocked) and request.endpoint == "cps.submit",
        is_waiting=isinstance(trouble, NoCard),
        is_card_refused=isinstance(trouble, _ABOUT_THE_CARD),
        refusal=None if refusal is None else explain(refusal, language),
        token=_token(state, view),
        unblock_token=_unblock_token(state, view),
        next=asked,
        here=url_for("cps.login", next=asked, reader=view.chosen, **demand),
        beside=[method for method in others if method.is_beside_card],
        has_other_ways=has_others and any(not one.is_beside_card for one in others),
        presence=view.presence,
        renew_after_s=max(1, int(state.settings.form_lifetime.total_seconds() * 0.8)),
    )
    return page, _page_status(refusal, trouble)


def show_json(state: LoginState, view: ReaderView) -> ResponseReturnValue:
    """Answer a script of the application's own login page: what `show_page` shows, in JSON."""
    language, card = current_language(), view.card
    error = view.refusal or view.trouble
    told: dict[str, Any] = {
        "presence": view.presence,
        "card": None,
        "choices": [
            {"reader": one.reader, "name": one.holder.display_name}
            for one in view.choices
            if one.holder is not None
        ],
        "token": _token(state, view),
        "error": None,
    }
    if card is not None:
        told["card"] = {
            "name": card.holder.display_name,
            "profession": card.holder.profession or card.holder.title,
            "attempts_left": card.attempts_left,
            "needs_confirmation": card.needs_confirmation,
        }
    if error is not None:
        words = explain(error, language)
        told["error"] = {"code": error.code, "happened": words.happened, "to_do": words.to_do}
    return told, _page_status(view.refusal, view.trouble), {"Cache-Control": "no-store"}


def _why_blocked(card: CardOnPage | None) -> CpsAuthError | None:
    if card is None or not card.is_blocked:
        return None
    return PukBlocked() if card.puk_attempts_left == 0 else PinBlocked()


def _page_status(refusal: CpsAuthError | None, trouble: CpsAuthError | None) -> int:
    """A refused login has its status; a page that waits for a card is a good page."""
    error = refusal or trouble
    if request.method == "POST" and error is not None:
        return http_status(error)
    if trouble is not None and http_status(trouble) >= 500:
        return http_status(trouble)
    return 200


def _attempts_text(card: CardOnPage | None, language: str) -> str:
    if card is None or card.attempts_left is None or card.attempts_left >= NORMAL_ATTEMPTS:
        return ""
    return attempts_left_text(card.attempts_left, language)


def _token(state: LoginState, view: ReaderView) -> str | None:
    """Return the token of the login form; None where no PIN is asked for."""
    if view.trouble is not None or isinstance(view.refusal, BadSignature):
        return None
    return _issue(state, view.card, purpose_text(asked_purpose()))


def _unblock_token(state: LoginState, view: ReaderView) -> str | None:
    """Return the token of the form that unblocks the card; None where that is no help."""
    if view.card is None or not view.card.is_blocked or view.card.puk_attempts_left == 0:
        return None
    return _issue(state, view.card, UNBLOCK)


def _issue(state: LoginState, card: CardOnPage | None, purpose: str) -> str | None:
    if card is None:
        return None
    content = join_content(card.certificate_sha256_hex, purpose, card.reader)
    return state.stores.forms.issue(browser_id(), content, at=state.clock())

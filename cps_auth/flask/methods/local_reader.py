"""The way in for the practice's own PC: card in its reader, PIN typed into its browser."""

from __future__ import annotations

from dataclasses import dataclass

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from cps_auth.errors import (
    BadSignature,
    CardRemoved,
    CertificateRefused,
    CpsAuthError,
    HolderNotAllowed,
    NoCard,
    PeerNotAllowed,
    PinBlocked,
    PinRefused,
    UnsupportedCard,
)
from cps_auth.flask.guards.csrf import browser_id
from cps_auth.flask.guards.rate_limit import check_rate
from cps_auth.flask.guards.requests import check_own_page, check_same_machine
from cps_auth.flask.http_errors import http_status, may_be_explained
from cps_auth.flask.methods.login_form import LoginForm, login_form
from cps_auth.flask.methods.reader_fingerprint import presence_of
from cps_auth.flask.pages.language import current_language
from cps_auth.flask.pages.redirects import asked_or_after_login
from cps_auth.flask.pages.refuse import answer_refusal
from cps_auth.flask.pages.render import render_page
from cps_auth.flask.sessions.model import EndReason, NewSession, WayIn
from cps_auth.flask.sessions.start import let_in, make_session, note_refusal, user_of
from cps_auth.flask.state import LocalReader, LoginState, current_state
from cps_auth.flask.user import CpsUser
from cps_auth.login.verify import admit, prove
from cps_auth.model import Practitioner, VerifiedHolder
from cps_auth.wording import attempts_left_text, explain

NORMAL_ATTEMPTS = 3
"""Attempts of a CPS whose last PIN was right; fewer are worth a word (ANS, CPS3 guide)."""

_ABOUT_THE_CARD = (CertificateRefused, HolderNotAllowed, PinRefused, UnsupportedCard)


@dataclass(frozen=True, slots=True)
class CardOnPage:
    """A card that may be used here, as the page shows it before any PIN."""

    holder: Practitioner
    certificate_sha256_hex: str
    attempts_left: int | None

    @property
    def needs_confirmation(self) -> bool:
        """Return whether one wrong digit may block the card."""
        return self.attempts_left is None or self.attempts_left <= 1


def add_local_reader(blueprint: Blueprint) -> None:
    """Put the login form on the extension's blueprint."""
    blueprint.add_url_rule("/login", "submit", submit, methods=["POST"])


def show_local(state: LoginState, local: LocalReader) -> ResponseReturnValue:
    """Show who is on the card and ask for the PIN, or what to do instead."""
    return _page(state, local, request.args.get("next"), refusal=None)


def submit() -> ResponseReturnValue:
    """Log in: every check of the request first, then the card, then the session."""
    state = current_state()
    local = _local(state)
    asked = None
    try:
        check_same_machine(request.environ, state.settings)
        check_own_page(request.environ, state.settings)
        check_rate(state, WayIn.LOCAL_READER.value)
        with login_form(request) as form:
            asked = form.unverified_next
            holder, user = _log_in(state, local, form)
        let_in(state, holder, user)
    except CpsAuthError as refusal:
        note_refusal(state, refusal, WayIn.LOCAL_READER)
        if not may_be_explained(refusal):
            return answer_refusal(refusal)
        return _page(state, local, asked, refusal=refusal)
    return redirect(asked_or_after_login(asked), code=303)


def _local(state: LoginState) -> LocalReader:
    if state.local is None:
        raise PeerNotAllowed("no-local-reader")
    return state.local


def _log_in(
    state: LoginState, local: LocalReader, form: LoginForm
) -> tuple[VerifiedHolder, CpsUser]:
    shown = state.stores.forms.take(form.unverified_token, browser_id(), at=state.clock())
    watch_id = local.removal.ensure_running()
    with local.open_card() as card:
        reader = card.description.reader
        visit = local.removal.await_visit(reader)
        admission = admit(card, judge=state.judge, allow=state.allow, at=state.clock())
        certificate = admission.judged.certificate
        if certificate.sha256_hex != shown:
            raise CardRemoved  # the PIN was typed for another card: it is not sent to this one
        holder = prove(
            card,
            form.pin,
            admission,
            origin=state.settings.origin,
            clock=state.clock,
            last_attempt_allowed=form.last_attempt_confirmed,
        )
    new = NewSession(holder, certificate.der, WayIn.LOCAL_READER, reader, watch_id)
    opened = make_session(state, new)
    # Look again: a card that left meanwhile ends the session at once.
    if not local.removal.still_there(reader, visit):
        state.end_session(opened, EndReason.CARD_REMOVED)
    return holder, user_of(state, opened, holder)


def _look(state: LoginState, local: LocalReader) -> CardOnPage | CpsAuthError:
    """Do what costs no PIN attempt, and return what came of it."""
    try:
        with local.open_card() as card:
            admission = admit(card, judge=state.judge, allow=state.allow, at=state.clock())
            attempts_left = card.pin_attempts_left()
    except CpsAuthError as error:
        return error
    if attempts_left == 0:
        return PinBlocked()
    certificate = admission.judged.certificate
    return CardOnPage(certificate.practitioner, certificate.sha256_hex, attempts_left)


def _page(
    state: LoginState,
    local: LocalReader,
    unverified_next: str | None,
    refusal: CpsAuthError | None,
) -> ResponseReturnValue:
    language = current_language()
    presence = presence_of(local.cards)["presence"]  # before the card: a later change is seen
    seen = _look(state, local)
    card = seen if isinstance(seen, CardOnPage) else None
    trouble = seen if isinstance(seen, CpsAuthError) else None
    if trouble is not None and type(trouble) is type(refusal):
        refusal, trouble = None, refusal
    has_form = card is not None and (refusal is None or not isinstance(refusal, BadSignature))
    asked = asked_or_after_login(unverified_next)
    page = render_page(
        "login.html",
        card=card,
        attempts=_attempts_text(card, language),
        trouble=None if trouble is None else explain(trouble, language),
        is_waiting=isinstance(trouble, NoCard),
        is_card_refused=isinstance(trouble, _ABOUT_THE_CARD),
        refusal=None if refusal is None else explain(refusal, language),
        token=_token(state, card) if has_form else None,
        next=asked,
        here=url_for("cps.login", next=asked),
        again=request.args.get("again") == "1",
        has_other_ways=state.settings.has_remote_way_in,
        presence=presence,
        renew_after_s=max(1, int(state.settings.form_lifetime.total_seconds() * 0.8)),
    )
    return page, _page_status(refusal, trouble)


def _page_status(refusal: CpsAuthError | None, trouble: CpsAuthError | None) -> int:
    """A refused login has its status; a page that waits for a card is a good page."""
    if request.method == "POST" and (refusal or trouble) is not None:
        return http_status(refusal or trouble)  # type: ignore[arg-type]  # one of them is
    if trouble is not None and http_status(trouble) >= 500:
        return http_status(trouble)
    return 200


def _attempts_text(card: CardOnPage | None, language: str) -> str:
    if card is None or card.attempts_left is None or card.attempts_left >= NORMAL_ATTEMPTS:
        return ""
    return attempts_left_text(card.attempts_left, language)


def _token(state: LoginState, card: CardOnPage | None) -> str | None:
    if card is None:
        return None
    return state.stores.forms.issue(browser_id(), card.certificate_sha256_hex, at=state.clock())

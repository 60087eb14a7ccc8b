"""Pages that all login methods share: login, status, closed, logout."""

from __future__ import annotations

from collections.abc import Sequence

from flask import Blueprint, abort, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import logout_user

from cps_auth.errors import CpsAuthError, PeerNotAllowed, StoreUnavailable
from cps_auth.flask.guards.requests import check_document, check_own_page, is_phone, opens_a_page
from cps_auth.flask.methods.method import LoginMethod, offered_methods
from cps_auth.flask.pages.redirects import (
    after_login,
    after_logout,
    asked_or_after_login,
    this_page,
)
from cps_auth.flask.pages.refuse import answer_program, answer_unavailable, refused
from cps_auth.flask.pages.render import LOGOUT, SAID, render_page
from cps_auth.flask.sessions.browser import (
    TOKEN_FIELD,
    check_form_token,
    empty_session,
    session_id,
)
from cps_auth.flask.sessions.model import EndReason, SessionRow
from cps_auth.flask.sessions.purpose import Purpose, asked_purpose
from cps_auth.flask.state import LoginState, current_state

POLL_HERE_MS = 400
"""How often a page asks where a card can be pulled in this machine: half a second, to notice."""


def add_pages(blueprint: Blueprint) -> None:
    """Put the shared pages on the extension's blueprint."""
    blueprint.add_url_rule("/login", "login", login)
    blueprint.add_url_rule("/status", view_func=status)
    blueprint.add_url_rule("/closed", view_func=closed)
    blueprint.add_url_rule("/logout", view_func=logout, methods=["POST"])
    blueprint.register_error_handler(CpsAuthError, refused)
    blueprint.register_error_handler(StoreUnavailable, answer_unavailable)


def login() -> ResponseReturnValue:
    """Show the login methods that this browser may use: one with a page of its own first."""
    state = current_state()
    usable = _usable(state)
    check_document(request.environ)
    known, asked = session_id(), request.args.get("next")
    again, card = request.args.get("again") == "1", request.args.get("card") == "1"
    purpose = asked_purpose()
    is_for_more = again or card or purpose is not Purpose.LOGIN
    if known and not is_for_more and state.live_session(known, touch=False) is not None:
        return redirect(asked_or_after_login(asked))
    if purpose is Purpose.LINK and state.link_account is None:
        abort(404)
    has_others = len(usable) > 1
    with_page = next((method for method in usable if method.has_page), None)
    if with_page is not None and not (has_others and "remote" in request.args):
        return with_page.page(has_others=has_others)
    return render_page(
        "remote.html",
        next=asked_or_after_login(asked),
        methods=sorted(
            offered_methods(usable, again=again, card=card),
            key=lambda method: not (method.is_first_on_phones and is_phone(request)),
        ),
    )


def _usable(state: LoginState) -> Sequence[LoginMethod]:
    """Return the methods that this browser may use, in their order.

    Raises:
        PeerNotAllowed: none, for the reason that the last one gave.
    """
    usable: list[LoginMethod] = []
    refusal = PeerNotAllowed("no-login-method")
    for method in state.methods.values():
        try:
            method.check_usable()
        except PeerNotAllowed as error:
            refusal = error
        else:
            usable.append(method)
    if not usable:
        raise refusal
    return usable


def status() -> ResponseReturnValue:
    """Answer an open page: does its session go on, did a card come or go, when to ask again."""
    state = current_state()
    check_own_page(request.environ, state.settings)
    known = session_id()
    is_open = known is not None and state.live_session(known, touch=False) is not None
    here = _status_of_methods(state)
    again_ms = POLL_HERE_MS if here else round(state.settings.poll.total_seconds() * 1000)
    answer = {"session": "open" if is_open else "closed", "again_ms": again_ms}
    return {**answer, **here}, {"Cache-Control": "no-store"}


def _status_of_methods(state: LoginState) -> dict[str, str | bool]:
    answer: dict[str, str | bool] = {}
    for method in state.methods.values():
        answer.update(method.status())
    return answer


def closed() -> ResponseReturnValue:
    """Explain why the session is over, and lead back to the login."""
    state = current_state()
    known = session_id()
    if known is not None and state.live_session(known, touch=False) is not None:
        return redirect(after_login())
    row = None if known is None else state.stores.sessions.find(known)
    return render_page(
        "closed.html",
        reason=None if row is None else row.end_reason,
        reasons=EndReason,
        next=asked_or_after_login(request.args.get("next")),
        presence=_status_of_methods(state).get("presence"),
    )


def logout() -> ResponseReturnValue:
    """End the session, in the browser and here."""
    state = current_state()
    check_own_page(request.environ, state.settings)
    check_form_token(request.form.get(TOKEN_FIELD), LOGOUT)
    known = session_id()
    row = None if known is None else state.live_session(known, touch=False)
    if known is not None:
        state.end_session(known, EndReason.LOGOUT)
    logout_user()
    empty_session()
    session[SAID] = "logged-out"
    return redirect(_leave(state, row) or after_logout(), code=303)


def _leave(state: LoginState, row: SessionRow | None) -> str | None:
    method = None if row is None else state.methods.get(row.method)
    if row is None or method is None:
        return None
    return method.logout_url(row, back_to=state.settings.origin + after_logout())


def needs_refresh() -> ResponseReturnValue:
    """Answer a request that needs a fresh login, in Flask-Login's sense: ask for card and PIN."""
    if not opens_a_page(request):
        return answer_program()
    return redirect(url_for("cps.login", next=this_page(), again=1), code=303)


def unauthorized() -> ResponseReturnValue:
    """Answer a request that needs a login: lead a person there, tell a program 401."""
    if not opens_a_page(request):
        return answer_program()
    known = session_id()
    row = None if known is None else current_state().stores.sessions.find(known)
    was_ended = row is not None and row.end_reason not in (None, EndReason.LOGOUT)
    page = "cps.closed" if was_ended else "cps.login"
    return redirect(url_for(page, next=this_page()), code=302 if request.method == "GET" else 303)

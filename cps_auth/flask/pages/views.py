"""Pages that every way in shares: status, closed, logout, refused."""

from __future__ import annotations

from flask import Blueprint, abort, redirect, request, session, url_for
from flask.typing import ResponseReturnValue
from flask_login import logout_user

from cps_auth.errors import CpsAuthError, PeerNotAllowed
from cps_auth.flask.guards.csrf import TOKEN_FIELD, check_form_token, session_id
from cps_auth.flask.guards.requests import (
    check_document,
    check_own_page,
    check_same_machine,
    opens_a_page,
)
from cps_auth.flask.methods.local_reader import show_local
from cps_auth.flask.methods.reader_fingerprint import presence_of
from cps_auth.flask.pages.language import LANGUAGE_KEY
from cps_auth.flask.pages.redirects import (
    after_login,
    after_logout,
    asked_or_after_login,
    this_page,
)
from cps_auth.flask.pages.refuse import refused
from cps_auth.flask.pages.render import LOGOUT, render_page
from cps_auth.flask.sessions.model import EndReason
from cps_auth.flask.state import LocalReader, LoginState, current_state


def add_pages(blueprint: Blueprint) -> None:
    """Put the shared pages on the extension's blueprint."""
    blueprint.add_url_rule("/login", "login", login)
    blueprint.add_url_rule("/status", view_func=status)
    blueprint.add_url_rule("/closed", view_func=closed)
    blueprint.add_url_rule("/logout", view_func=logout, methods=["POST"])
    blueprint.register_error_handler(CpsAuthError, refused)


def login() -> ResponseReturnValue:
    """Show the way in that fits: the reader of this machine, or the card of another one."""
    state = current_state()
    local = _local_if_same_machine(state)
    check_document(request.environ)
    known, asked = session_id(), request.args.get("next")
    again = request.args.get("again") == "1"
    if known and not again and state.live_session(known, touch=False) is not None:
        return redirect(asked_or_after_login(asked))
    if local is not None:
        return show_local(state, local)
    return render_page(
        "remote.html",
        next=asked_or_after_login(asked),
        again=again,
        web_eid=state.settings.web_eid,
        mtls=state.settings.mtls is not None and not again,
    )


def _local_if_same_machine(state: LoginState) -> LocalReader | None:
    """Return the local reader where the browser runs beside it and it was not passed over.

    Raises:
        PeerNotAllowed: the browser is elsewhere, and there is no other way in.
    """
    if state.local is None or (state.settings.has_remote_way_in and "remote" in request.args):
        return None
    try:
        check_same_machine(request.environ, state.settings)
    except PeerNotAllowed:
        if not state.settings.has_remote_way_in:
            raise
        return None
    return state.local


def status() -> ResponseReturnValue:
    """Tell an open page of ours whether its session goes on and whether a card came or went."""
    state = current_state()
    check_own_page(request.environ, state.settings)
    known = session_id()
    is_open = known is not None and state.live_session(known, touch=False) is not None
    answer = {"session": "open" if is_open else "closed"} | _presence_here(state)
    return answer, {"Cache-Control": "no-store"}


def _presence_here(state: LoginState) -> dict[str, str | bool]:
    """Return what the page may know; a remote one learns nothing about this machine's readers."""
    if state.local is None:
        return {}
    try:
        check_same_machine(request.environ, state.settings)
    except PeerNotAllowed:
        return {}
    return presence_of(state.local.cards)


def closed() -> ResponseReturnValue:
    """Say why the session is over, and lead back to the login."""
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
        presence=_presence_here(state).get("presence"),
    )


def logout() -> ResponseReturnValue:
    """End the session, in the browser and here."""
    state = current_state()
    check_own_page(request.environ, state.settings)
    check_form_token(request.form.get(TOKEN_FIELD), LOGOUT)
    known = session_id()
    if known is not None:
        state.end_session(known, EndReason.LOGOUT)
    forget_browser_session()
    return redirect(after_logout(), code=303)


def forget_browser_session() -> None:
    """Empty the browser's session, but for its language."""
    language = session.get(LANGUAGE_KEY)
    logout_user()
    session.clear()
    if language is not None:
        session[LANGUAGE_KEY] = language


def unauthorized() -> ResponseReturnValue:
    """Answer a request that needs a login: lead a person there, tell a program 401."""
    if not opens_a_page(request):
        abort(401)
    known = session_id()
    row = None if known is None else current_state().stores.sessions.find(known)
    was_ended = row is not None and row.end_reason not in (None, EndReason.LOGOUT)
    page = "cps.closed" if was_ended else "cps.login"
    return redirect(url_for(page, next=this_page()), code=302 if request.method == "GET" else 303)

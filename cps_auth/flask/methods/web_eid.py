"""The way in for a card in another machine: a Web eID token from the browser there.

The challenge is single use and bound to the browser; it is taken out of its store before
anything of the answer is looked at. The origin comes from CPS_ORIGIN and from nowhere else.
"""

from __future__ import annotations

from flask import Blueprint, Request, request
from flask.typing import ResponseReturnValue

from cps_auth.errors import CpsAuthError, PeerNotAllowed, RequestMalformed
from cps_auth.flask.guards.csrf import browser_id, check_form_token, known_browser_id, session_id
from cps_auth.flask.guards.rate_limit import check_rate
from cps_auth.flask.guards.requests import check_own_page
from cps_auth.flask.pages.redirects import asked_or_after_login
from cps_auth.flask.pages.refuse import answer_script
from cps_auth.flask.pages.render import GUARD, WEB_EID
from cps_auth.flask.sessions.model import EndReason, NewSession, WayIn
from cps_auth.flask.sessions.start import let_in, make_session, note_refusal, user_of
from cps_auth.flask.state import LoginState, current_state
from cps_auth.login.challenge import issue_challenge
from cps_auth.login.verify import verify_proof
from cps_auth.login.web_eid import TOKEN_MAX_BYTES, parse_token
from cps_auth.model import VerifiedHolder

TOKEN_HEADER = "X-CPS-Token"  # noqa: S105 (the name of a header)
MAX_BODY_BYTES = 64 * 1024

_NO_STORE = {"Cache-Control": "no-store"}


def add_web_eid(blueprint: Blueprint) -> None:
    """Put challenge, login and guard on the extension's blueprint."""
    blueprint.add_url_rule("/web-eid/challenge", "challenge", challenge, methods=["POST"])
    blueprint.add_url_rule("/web-eid/login", "web_eid", log_in, methods=["POST"])
    blueprint.add_url_rule("/web-eid/heartbeat", "heartbeat", heartbeat, methods=["POST"])
    blueprint.add_url_rule("/web-eid/card-removed", "card_removed", card_removed, methods=["POST"])


def challenge() -> ResponseReturnValue:
    """Give this browser a challenge, in place of an earlier one."""
    state = current_state()
    try:
        _check_asked_by_own_page(state, WEB_EID)
        check_rate(state, "challenge")
        fresh = issue_challenge(state.settings.origin, at=state.clock())
        state.stores.challenges.put(browser_id(), fresh)
    except CpsAuthError as refusal:
        note_refusal(state, refusal, WayIn.WEB_EID)
        return answer_script(refusal)
    return {"nonce": fresh.nonce}, _NO_STORE


def log_in() -> ResponseReturnValue:
    """Log in with a token; its challenge is gone whatever comes of it."""
    state = current_state()
    try:
        _check_asked_by_own_page(state, WEB_EID)
        check_rate(state, WayIn.WEB_EID.value)
        guarded = request.args.get("guard") == "1"
        holder, certificate_der = _verify(state)
        if state.settings.web_eid_guard_required and not guarded:
            raise RequestMalformed("no-guard")
        new = NewSession(holder, certificate_der, WayIn.WEB_EID, is_guarded_by_browser=guarded)
        opened = make_session(state, new)
        let_in(state, holder, user_of(state, opened, holder))
    except CpsAuthError as refusal:
        note_refusal(state, refusal, WayIn.WEB_EID)
        return answer_script(refusal)
    asked = asked_or_after_login(request.args.get("next"))
    return {"next": asked}, _NO_STORE


def heartbeat() -> ResponseReturnValue:
    """Hear from the guarding browser that the card is still there."""
    state = current_state()
    check_own_page(request.environ, state.settings)
    check_form_token(request.headers.get(TOKEN_HEADER), GUARD)
    known = session_id()
    row = None if known is None else state.live_session(known, touch=False)
    if known is not None and row is not None and row.heartbeat_at is not None:
        state.stores.sessions.beat(known, at=state.clock())
    return {"session": "closed" if row is None else "open"}, _NO_STORE


def card_removed() -> ResponseReturnValue:
    """Hear from the guarding browser that the card was pulled: end its session."""
    state = current_state()
    check_own_page(request.environ, state.settings)
    check_form_token(request.headers.get(TOKEN_HEADER), GUARD)
    known = session_id()
    if known is not None:
        state.end_session(known, EndReason.CARD_REMOVED)
    return {"session": "closed"}, _NO_STORE


def _check_asked_by_own_page(state: LoginState, form: str) -> None:
    if not state.settings.web_eid:
        raise PeerNotAllowed("no-web-eid")
    check_own_page(request.environ, state.settings)
    check_form_token(request.headers.get(TOKEN_HEADER), form)


def _verify(state: LoginState) -> tuple[VerifiedHolder, bytes]:
    waiting = state.stores.challenges.take(known_browser_id())
    proof = parse_token(_read_body(request))
    at = state.clock()
    holder = verify_proof(proof, waiting, judge=state.judge, allow=state.allow, at=at)
    return holder, proof.unverified_certificate_der


def _read_body(asking: Request) -> bytes:
    length = asking.content_length
    if asking.mimetype != "application/json" or asking.content_encoding:
        raise RequestMalformed("content-type")
    if length is None or length > MAX_BODY_BYTES:
        raise RequestMalformed("content-length")
    if length > TOKEN_MAX_BYTES:
        raise RequestMalformed("token-length")
    body: bytes = asking.stream.read(length)
    if len(body) != length:
        raise RequestMalformed("body-cut-off")
    return body

"""The login method for a card in another machine: a Web eID token from the browser there.

The challenge is single use and bound to the browser; it is taken out of its store before
anything of the answer is looked at. The origin comes from CPS_ORIGIN and from nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Self

from flask import Blueprint, Request, request, url_for
from flask.typing import ResponseReturnValue
from markupsafe import Markup

from cps_auth.errors import CpsAuthError, RequestMalformed
from cps_auth.flask.guards.rate_limit import check_rate
from cps_auth.flask.guards.requests import check_own_page
from cps_auth.flask.methods.method import LoginMethod
from cps_auth.flask.pages.redirects import asked_or_after_login, this_page
from cps_auth.flask.pages.refuse import answer_script
from cps_auth.flask.sessions.browser import (
    browser_id,
    check_form_token,
    form_token,
    known_browser_id,
    session_id,
)
from cps_auth.flask.sessions.model import EndReason, NewSession, SessionRow
from cps_auth.flask.sessions.purpose import TEXT_FIELD, Purpose
from cps_auth.flask.sessions.start import let_in, note_refusal
from cps_auth.flask.setting_reader import SettingReader
from cps_auth.flask.state import LoginState, current_state
from cps_auth.login.challenge import issue_challenge
from cps_auth.login.verify import verify_proof
from cps_auth.login.web_eid import TOKEN_MAX_BYTES, parse_token
from cps_auth.model import VerifiedHolder

TOKEN_HEADER = "X-CPS-Token"  # noqa: S105 (the name of a header)
MAX_BODY_BYTES = 64 * 1024
PAGE, GUARD = "web-eid", "guard"
"""Purposes of form tokens: the login page's script, and that of an open page."""

_NO_STORE = {"Cache-Control": "no-store"}


class WebEid(LoginMethod):
    """Login by challenge and signature through a browser extension, anywhere."""

    name = "web-eid"
    settings: ClassVar[Mapping[str, object]] = {
        "CPS_WEB_EID": False,
        "CPS_WEB_EID_GUARD_REQUIRED": False,
        "CPS_HEARTBEAT": timedelta(seconds=150),
    }
    asks_pin = True
    template = "cps/method_web_eid.html"

    def __init__(self, *, guard_required: bool, heartbeat: timedelta) -> None:
        """Keep the settings.

        Args:
            guard_required: refuse browsers that cannot tell when the card is pulled.
            heartbeat: how long a browser that can may be silent.
        """
        self._guard_required = guard_required
        self._heartbeat = heartbeat

    @classmethod
    def from_settings(cls, reader: SettingReader) -> Self | None:
        """Return the method if CPS_WEB_EID is set."""
        method = cls(
            guard_required=reader.flag("CPS_WEB_EID_GUARD_REQUIRED"),
            heartbeat=reader.duration("CPS_HEARTBEAT"),
        )
        return method if reader.flag("CPS_WEB_EID") else None

    def add_routes(self, blueprint: Blueprint) -> None:
        """Put challenge, login and guard on the extension's blueprint."""
        for path, endpoint, view in (
            ("challenge", "challenge", self.challenge),
            ("login", "web_eid", self.log_in),
            ("heartbeat", "heartbeat", self.heartbeat),
            ("card-removed", "card_removed", self.card_removed),
        ):
            blueprint.add_url_rule(f"/web-eid/{path}", endpoint, view, methods=["POST"])

    def why_over(self, row: SessionRow, *, at: datetime) -> EndReason | None:
        """Return whether a browser that guards the card was silent for too long."""
        if row.heartbeat_at is not None and at - row.heartbeat_at > self._heartbeat:
            return EndReason.HEARTBEAT_LOST
        return None

    def watch_script(self, row: SessionRow) -> Markup:
        """Return what makes a page watch over a card in the browser's own machine."""
        if row.heartbeat_at is None:
            return Markup("")
        return Markup(
            '<script src="{src}" defer data-heartbeat="{heartbeat}" data-removed="{removed}"'
            ' data-token="{token}" data-closed="{closed}" data-every="{every}"></script>'
        ).format(
            src=url_for("cps.static", filename="cps-guard.js"),
            heartbeat=url_for("cps.heartbeat"),
            removed=url_for("cps.card_removed"),
            token=form_token(GUARD),
            closed=url_for("cps.closed", next=this_page()),
            every=max(1, int(self._heartbeat.total_seconds() / 5)),
        )

    def challenge(self) -> ResponseReturnValue:
        """Give this browser a challenge, in place of an earlier one."""
        state = current_state()
        try:
            _check_asked_by_own_page(state, PAGE)
            check_rate(state, "challenge")
            fresh = issue_challenge(state.settings.origin, at=state.clock())
            state.stores.challenges.put(browser_id(), fresh)
        except CpsAuthError as refusal:
            note_refusal(state, refusal, self.name)
            return answer_script(refusal)
        return {"nonce": fresh.nonce}, _NO_STORE

    def log_in(self) -> ResponseReturnValue:
        """Log in with a token; its challenge is gone whatever comes of it."""
        state = current_state()
        try:
            _check_asked_by_own_page(state, PAGE)
            check_rate(state, self.name)
            guarded = request.args.get("guard") == "1"
            holder, certificate_der = _verify(state)
            if self._guard_required and not guarded:
                raise RequestMalformed("no-guard")
            let_in(
                state,
                NewSession(holder, certificate_der, self.name, is_guarded_by_browser=guarded),
                purpose_text=request.args.get(TEXT_FIELD, Purpose.LOGIN.value),
            )
        except CpsAuthError as refusal:
            note_refusal(state, refusal, self.name)
            return answer_script(refusal)
        return {"next": asked_or_after_login(request.args.get("next"))}, _NO_STORE

    def heartbeat(self) -> ResponseReturnValue:
        """Hear from the guarding browser that the card is still there."""
        state = current_state()
        _check_asked_by_own_page(state, GUARD)
        known = session_id()
        row = None if known is None else state.live_session(known, touch=False)
        if known is not None and row is not None and row.heartbeat_at is not None:
            state.stores.sessions.record_heartbeat(known, at=state.clock())
        return {"session": "closed" if row is None else "open"}, _NO_STORE

    def card_removed(self) -> ResponseReturnValue:
        """Hear from the guarding browser that the card was pulled: end its session."""
        state = current_state()
        _check_asked_by_own_page(state, GUARD)
        known = session_id()
        if known is not None:
            state.end_session(known, EndReason.CARD_REMOVED)
        return {"session": "closed"}, _NO_STORE


def _check_asked_by_own_page(state: LoginState, purpose: str) -> None:
    check_own_page(request.environ, state.settings)
    check_form_token(request.headers.get(TOKEN_HEADER), purpose)


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

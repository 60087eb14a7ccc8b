"""The login method for browsers that present the card's certificate in TLS, behind a proxy.

Three steps, because a browser is asked for a certificate once per host, at its first handshake:
the application's own host starts, the host that asks for certificates (CPS_MTLS_ORIGIN) proves,
and the application's own host finishes. What is handed over between the last two is a one-time
code: it reaches the browser that presented the certificate and no other, and it only counts in
the browser that started. So a link that an attacker prepared logs nobody in, on either side.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from functools import wraps
from typing import ClassVar, Self
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from cps_auth.errors import CpsAuthError, PeerNotAllowed, RequestMalformed
from cps_auth.flask.guards.rate_limit import check_rate
from cps_auth.flask.guards.requests import as_received, check_document, check_own_page, server_peer
from cps_auth.flask.methods.method import LoginMethod
from cps_auth.flask.methods.mtls.proxy_presets import read_forwarded_certificate
from cps_auth.flask.methods.mtls.settings import DEFAULTS, MtlsSettings, read_mtls_settings
from cps_auth.flask.pages.redirects import asked_or_after_login
from cps_auth.flask.pages.refuse import refuse_login
from cps_auth.flask.sessions.browser import (
    TOKEN_FIELD,
    browser_id,
    check_form_token,
    known_browser_id,
)
from cps_auth.flask.sessions.model import NewSession
from cps_auth.flask.sessions.purpose import TEXT_FIELD, Purpose
from cps_auth.flask.sessions.start import let_in
from cps_auth.flask.setting_reader import SettingReader
from cps_auth.flask.state import LoginState, current_state
from cps_auth.login.verify import accept_tls_proof
from cps_auth.model import TlsProof

SECRET_HEADER = "X-CPS-Proxy-Secret"  # noqa: S105 (the name of a header)
PAGE = "mtls"
"""Purpose of the form token of the login page's button."""

_MAX_TOKEN_CHARACTERS = 128

Step = Callable[[LoginState], ResponseReturnValue]


class Mtls(LoginMethod):
    """Login by a TLS client certificate that a trusted proxy reports."""

    name = "mtls"
    settings: ClassVar[Mapping[str, object]] = DEFAULTS
    template = "cps/method_mtls.html"

    def __init__(self, proxies: MtlsSettings) -> None:
        """Keep whose word counts, and on which host.

        Browsers hold a form's redirections against its policy, too.
        """
        self.proxies = proxies
        self.policy = {"form-action": (proxies.origin,)}

    @classmethod
    def from_settings(cls, reader: SettingReader) -> Self | None:
        """Return the method if CPS_MTLS_PROXIES names a proxy."""
        settings = read_mtls_settings(reader)
        return None if settings is None else cls(settings)

    def add_routes(self, blueprint: Blueprint) -> None:
        """Put the three steps on the extension's blueprint."""
        for path, step, verb in (
            ("start", self.start, "POST"),
            ("prove", self.prove, "GET"),
            ("finish", self.finish, "GET"),
        ):
            view = self._view(step)
            blueprint.add_url_rule(f"/mtls/{path}", f"mtls_{path}", view, methods=[verb])

    def _view(self, step: Step) -> Callable[[], ResponseReturnValue]:
        @wraps(step)
        def checked() -> ResponseReturnValue:
            state = current_state()
            try:
                return step(state)
            except CpsAuthError as refusal:
                return refuse_login(self, refusal)

        return checked

    def start(self, state: LoginState) -> ResponseReturnValue:
        """Begin in the browser that wants to log in."""
        check_own_page(request.environ, state.settings)
        check_form_token(request.form.get(TOKEN_FIELD), PAGE)
        check_rate(state, "mtls-start")
        asked = asked_or_after_login(request.form.get("next"))
        content = f"{request.form.get(TEXT_FIELD, Purpose.LOGIN.value)} {asked}"
        started = state.stores.forms.issue(browser_id(), content, at=state.clock())
        return _lead_to(self.proxies.origin, "cps.mtls_prove", started=started)

    def prove(self, state: LoginState) -> ResponseReturnValue:
        """Judge the certificate that the proxy passes on, on the host that asks for one."""
        check_document(request.environ)
        check_rate(state, "mtls-prove")
        check_proxy(self.proxies)
        started = _token("started")
        at, preset = state.clock(), self.proxies.preset
        proof = TlsProof(
            unverified_certificate_der=read_forwarded_certificate(request.environ, preset),
            reported_by=f"{preset.name} at {server_peer(request.environ) or 'unix'}",
            reported_at=at,
        )
        accept_tls_proof(proof, judge=state.judge, allow=state.allow, at=at)
        content = msgspec.json.encode(proof).decode()
        code = state.stores.forms.issue(_owner_of_code(started), content, at=at)
        return _lead_to(state.settings.origin, "cps.mtls_finish", started=started, code=code)

    def finish(self, state: LoginState) -> ResponseReturnValue:
        """Open the session, in the browser that started and came back with the code."""
        check_document(request.environ)
        check_rate(state, "mtls-finish")
        started, code = _token("started"), _token("code")
        at = state.clock()
        content = state.stores.forms.take(code, _owner_of_code(started), at=at)
        begun = state.stores.forms.take(started, known_browser_id(), at=at)
        purpose, _, asked = begun.partition(" ")
        proof = msgspec.json.decode(content, type=TlsProof)
        holder = accept_tls_proof(proof, judge=state.judge, allow=state.allow, at=at)
        new = NewSession(holder, proof.unverified_certificate_der, self.name)
        let_in(state, new, purpose_text=purpose)
        return redirect(asked, code=303)


def check_proxy(mtls: MtlsSettings) -> None:
    """Check that the host which asks for certificates made this request out of the browser's.

    Peer and Host are looked at below Werkzeug's ProxyFix; the secret only that host adds.

    Raises:
        PeerNotAllowed: its reason is "not-the-proxy", "not-the-mtls-host" or "proxy-secret".
    """
    if not mtls.trusts(server_peer(request.environ)):
        raise PeerNotAllowed("not-the-proxy")
    if as_received(request.environ, "HTTP_HOST") != mtls.host:
        raise PeerNotAllowed("not-the-mtls-host")
    sent = request.headers.get(SECRET_HEADER, "")
    if not hmac.compare_digest(sent.encode("utf-8", "surrogatepass"), mtls.secret.encode()):
        raise PeerNotAllowed("proxy-secret")


def _lead_to(origin: str, endpoint: str, **query: str) -> ResponseReturnValue:
    return redirect(f"{origin}{url_for(endpoint)}?{urlencode(query)}", code=303)


def _token(name: str) -> str:
    value = request.args.get(name, "")
    if not 0 < len(value) <= _MAX_TOKEN_CHARACTERS or len(request.args.getlist(name)) != 1:
        raise RequestMalformed(f"mtls-{name}")
    return value


def _owner_of_code(started: str) -> str:
    """A code belongs to one start, as other forms belong to one browser."""
    return f"mtls:{started}"

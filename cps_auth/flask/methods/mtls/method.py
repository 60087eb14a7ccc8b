"""The way in for browsers that present the card's certificate in TLS, behind a proxy.

Three steps, because a browser is asked for a certificate once per host, at its first handshake:
the application's own host starts, the host that asks for certificates (CPS_MTLS_ORIGIN) proves,
and the application's own host finishes. What is handed over between the last two is a one-time
code: it reaches the browser that presented the certificate and no other, and it only counts in
the browser that started. So a link that an attacker prepared logs nobody in, on either side.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import wraps
from urllib.parse import urlencode

import msgspec
from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from cps_auth.errors import CpsAuthError, PeerNotAllowed, RequestMalformed
from cps_auth.flask.guards.csrf import TOKEN_FIELD, browser_id, check_form_token, known_browser_id
from cps_auth.flask.guards.rate_limit import check_rate
from cps_auth.flask.guards.requests import as_received, check_document, check_own_page, server_peer
from cps_auth.flask.methods.mtls.proxy_presets import read_forwarded_certificate
from cps_auth.flask.methods.mtls.settings import MtlsSettings
from cps_auth.flask.pages.redirects import asked_or_after_login
from cps_auth.flask.pages.refuse import answer_remotely
from cps_auth.flask.pages.render import MTLS
from cps_auth.flask.sessions.model import NewSession, WayIn
from cps_auth.flask.sessions.start import let_in, make_session, note_refusal, user_of
from cps_auth.flask.state import LoginState, current_state
from cps_auth.login.verify import accept_tls_proof
from cps_auth.model import TlsProof

SECRET_HEADER = "X-CPS-Proxy-Secret"  # noqa: S105 (the name of a header)
_MAX_TOKEN_CHARACTERS = 128

Step = Callable[[LoginState, MtlsSettings], ResponseReturnValue]


def add_mtls(blueprint: Blueprint) -> None:
    """Put the three steps on the extension's blueprint."""
    blueprint.add_url_rule("/mtls/start", "mtls_start", _view(start), methods=["POST"])
    blueprint.add_url_rule("/mtls/prove", "mtls_prove", _view(prove), methods=["GET"])
    blueprint.add_url_rule("/mtls/finish", "mtls_finish", _view(finish), methods=["GET"])


def _view(step: Step) -> Callable[[], ResponseReturnValue]:
    @wraps(step)
    def checked() -> ResponseReturnValue:
        state = current_state()
        try:
            if state.settings.mtls is None:
                raise PeerNotAllowed("no-mtls")
            return step(state, state.settings.mtls)
        except CpsAuthError as refusal:
            note_refusal(state, refusal, WayIn.MTLS)
            return answer_remotely(refusal)

    return checked


def start(state: LoginState, mtls: MtlsSettings) -> ResponseReturnValue:
    """Begin in the browser that wants to log in."""
    check_own_page(request.environ, state.settings)
    check_form_token(request.form.get(TOKEN_FIELD), MTLS)
    check_rate(state, "mtls-start")
    asked = asked_or_after_login(request.form.get("next"))
    started = state.stores.forms.issue(browser_id(), asked, at=state.clock())
    return _lead_to(mtls.origin, "cps.mtls_prove", started=started)


def prove(state: LoginState, mtls: MtlsSettings) -> ResponseReturnValue:
    """Judge the certificate that the proxy passes on, on the host that asks for one."""
    check_document(request.environ)
    check_rate(state, "mtls-prove")
    check_proxy(mtls)
    started = _token("started")
    at = state.clock()
    proof = TlsProof(
        unverified_certificate_der=read_forwarded_certificate(request.environ, mtls.preset),
        reported_by=f"{mtls.preset.name} at {server_peer(request.environ) or 'unix'}",
        reported_at=at,
    )
    accept_tls_proof(proof, judge=state.judge, allow=state.allow, at=at)
    content = msgspec.json.encode(proof).decode()
    code = state.stores.forms.issue(_owner_of_code(started), content, at=at)
    return _lead_to(state.settings.origin, "cps.mtls_finish", started=started, code=code)


def finish(state: LoginState, _mtls: MtlsSettings) -> ResponseReturnValue:
    """Open the session, in the browser that started and came back with the code."""
    check_document(request.environ)
    check_rate(state, "mtls-finish")
    started, code = _token("started"), _token("code")
    at = state.clock()
    content = state.stores.forms.take(code, _owner_of_code(started), at=at)
    asked = state.stores.forms.take(started, known_browser_id(), at=at)
    proof = msgspec.json.decode(content, type=TlsProof)
    holder = accept_tls_proof(proof, judge=state.judge, allow=state.allow, at=at)
    new = NewSession(holder, proof.unverified_certificate_der, WayIn.MTLS)
    let_in(state, holder, user_of(state, make_session(state, new), holder))
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

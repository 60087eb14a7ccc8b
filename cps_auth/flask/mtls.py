"""The way in for browsers that present the card's certificate in TLS, behind a proxy.

Three steps, because a browser asks for a certificate once per host, at its first handshake: the
application's own host starts, the host that asks for certificates (CPS_MTLS_ORIGIN) proves, and
the application's own host finishes. The code between the last two reaches the browser that
presented the certificate and no other, and only counts in the browser that started.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable
from functools import wraps
from ipaddress import ip_address
from urllib.parse import urlencode

from flask import Blueprint, redirect, request, url_for
from flask.typing import ResponseReturnValue

from cps_auth.errors import CpsAuthError, PeerNotAllowed, RequestMalformed
from cps_auth.flask.browser import as_received, check_document, check_own_page, server_peer
from cps_auth.flask.client_certificate import read_client_certificate
from cps_auth.flask.csrf import TOKEN_FIELD, browser_id, check_form_token
from cps_auth.flask.limits import check_rate
from cps_auth.flask.next_page import next_or
from cps_auth.flask.opening import let_in, make_session, note_refusal, user_of
from cps_auth.flask.refusal import answer_remotely
from cps_auth.flask.rendering import MTLS
from cps_auth.flask.sessions import NewSession, WayIn
from cps_auth.flask.settings import MtlsSettings
from cps_auth.flask.state import LoginState, current_state
from cps_auth.login.verify import verify_tls_client

SECRET_HEADER = "HTTP_X_CPS_PROXY_SECRET"  # noqa: S105 (the name of a header)
_MAX_TOKEN_CHARACTERS = 128

View = Callable[[LoginState, MtlsSettings], ResponseReturnValue]


def add_mtls(blueprint: Blueprint) -> None:
    """Put the three steps on the extension's blueprint."""
    blueprint.add_url_rule("/mtls/start", "mtls_start", _step(start), methods=["POST"])
    blueprint.add_url_rule("/mtls/prove", "mtls_prove", _step(prove))
    blueprint.add_url_rule("/mtls/finish", "mtls_finish", _step(finish))


def _step(view: View) -> Callable[[], ResponseReturnValue]:
    @wraps(view)
    def checked() -> ResponseReturnValue:
        state = current_state()
        try:
            if state.settings.mtls is None:
                raise PeerNotAllowed("no-mtls")
            check_rate(state, f"mtls-{view.__name__}")
            return view(state, state.settings.mtls)
        except CpsAuthError as refusal:
            note_refusal(state, refusal, WayIn.MTLS)
            return answer_remotely(refusal)

    return checked


def start(state: LoginState, mtls: MtlsSettings) -> ResponseReturnValue:
    """Begin in the browser that wants to log in."""
    check_own_page(request.environ, state.settings)
    check_form_token(request.form.get(TOKEN_FIELD), MTLS)
    asked = next_or(request.form.get("next"), state.settings.after_login)
    started = state.stores.forms.issue(browser_id(), asked, at=state.clock())
    there = url_for("cps.mtls_prove")
    return redirect(f"{mtls.origin}{there}?{urlencode({'started': started})}", code=303)


def prove(state: LoginState, mtls: MtlsSettings) -> ResponseReturnValue:
    """Judge the certificate, on the host that asks for one."""
    check_document(request.environ)
    check_proxy(mtls)
    certificate_der = read_client_certificate(request.environ, mtls.proxy)
    state.judge.judge(certificate_der, at=state.clock())
    started = _token("started")
    content = base64.b64encode(certificate_der).decode()
    code = state.stores.forms.issue(_proof_of(started), content, at=state.clock())
    there = url_for("cps.mtls_finish")
    query = urlencode({"started": started, "code": code})
    return redirect(f"{state.settings.origin}{there}?{query}", code=303)


def finish(state: LoginState, _mtls: MtlsSettings) -> ResponseReturnValue:
    """Open the session, in the browser that started and came back with the code."""
    check_document(request.environ)
    started, code = _token("started"), _token("code")
    at = state.clock()
    content = state.stores.forms.take(code, _proof_of(started), at=at)
    asked = state.stores.forms.take(started, browser_id(), at=at)
    certificate_der = base64.b64decode(content)
    holder = verify_tls_client(certificate_der, judge=state.judge, allow=state.allow, at=at)
    opened = make_session(state, NewSession(holder, certificate_der, WayIn.MTLS))
    let_in(state, holder, user_of(state, opened, holder))
    return redirect(asked, code=303)


def check_proxy(mtls: MtlsSettings) -> None:
    """Check that the proxy itself is at the other end of the connection.

    Raises:
        PeerNotAllowed: somebody else is, who could write any header.
    """
    if not _is_trusted(server_peer(request.environ), mtls):
        raise PeerNotAllowed("not-the-proxy")
    if as_received(request.environ, "HTTP_HOST") != mtls.host:
        raise PeerNotAllowed("host-asks-for-no-certificate")
    if mtls.secret is not None:
        sent = as_received(request.environ, SECRET_HEADER) or ""
        expected = mtls.secret.encode()
        if not hmac.compare_digest(sent.encode("utf-8", "surrogatepass"), expected):
            raise PeerNotAllowed("proxy-secret")


def _is_trusted(peer: str | None, mtls: MtlsSettings) -> bool:
    if not peer or peer.startswith("/"):
        return mtls.allows_unix
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return any(address in network for network in mtls.networks)


def _token(name: str) -> str:
    value = request.args.get(name, "")
    if not 0 < len(value) <= _MAX_TOKEN_CHARACTERS:
        raise RequestMalformed(f"mtls-{name}")
    return value


def _proof_of(started: str) -> str:
    return f"mtls:{started}"

"""Back-channel logout: the provider says that a session there is over, so ours are, at once.

A token ends only sessions that were there when it was made: whoever sends it again later ends
nothing, and no list of used tokens is needed.
Source: OpenID Connect Back-Channel Logout 1.0 sections 2.5 to 2.8.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import request
from flask.typing import ResponseReturnValue

from cps_auth.errors import (
    CpsAuthError,
    ProviderUnavailable,
    RequestMalformed,
    StoreUnavailable,
)
from cps_auth.flask import audit
from cps_auth.flask.sessions.model import EndReason, SessionRow
from cps_auth.flask.state import LoginState

if TYPE_CHECKING:
    from cps_auth.login.pro_sante_connect.client import PscClient
    from cps_auth.login.pro_sante_connect.tokens import LogoutToken

MAX_BODY_BYTES = 64 * 1024
_NO_STORE = {"Cache-Control": "no-store"}
_BAD, _LATER = 400, 503


def end_at_provider_demand(
    state: LoginState, client: PscClient, method: str
) -> ResponseReturnValue:
    """End the sessions that a logout token names.

    Args:
        state: of the application.
        client: checks the token.
        method: name of the login method whose sessions they are.
    """
    try:
        token = client.check_logout(_read_token(), at=state.clock())
        for row in state.stores.sessions.live(at=state.clock()):
            if row.method == method and _names(token, row, client.audience.issuer):
                _end(state, row)
    except (ProviderUnavailable, StoreUnavailable) as error:  # it may send it again
        audit.refused(error, method)
        return {"error": "temporarily_unavailable"}, _LATER, _NO_STORE
    except CpsAuthError as error:
        audit.refused(error, method)
        return {"error": "invalid_request"}, _BAD, _NO_STORE
    return "", _NO_STORE


def _read_token() -> str:
    length = request.content_length
    if length is None or length > MAX_BODY_BYTES:
        raise RequestMalformed("content-length")
    if request.mimetype != "application/x-www-form-urlencoded":
        raise RequestMalformed("content-type")
    values = request.form.getlist("logout_token")
    if len(values) != 1:
        raise RequestMalformed("logout-token")
    return values[0]


def _names(token: LogoutToken, row: SessionRow, issuer: str) -> bool:
    psc = row.holder.psc
    if psc is None or psc.issuer != issuer or row.created_at > token.latest:
        return False
    if token.session is not None:
        return psc.session == token.session
    return psc.subject == token.subject


def _end(state: LoginState, row: SessionRow) -> None:
    sessions = state.stores.sessions
    for ended in sessions.end_handle(row.handle, EndReason.PROVIDER_LOGOUT, at=state.clock()):
        state.tell_ended(ended)

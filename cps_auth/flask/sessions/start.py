"""Opens a session for a verified holder, the same way whatever proved them to be one."""

from __future__ import annotations

from collections.abc import Callable

from flask import request
from flask_login import login_user

from cps_auth.errors import CardRemoved, CpsAuthError
from cps_auth.flask import audit
from cps_auth.flask.guards.rate_limit import count_refusal
from cps_auth.flask.guards.requests import server_peer
from cps_auth.flask.sessions.browser import empty_session, session_id
from cps_auth.flask.sessions.model import EndReason, NewSession
from cps_auth.flask.signals import holder_logged_in, login_refused
from cps_auth.flask.state import LoginState
from cps_auth.flask.user import CpsUser


def let_in(
    state: LoginState, new: NewSession, *, is_still_there: Callable[[], bool] | None = None
) -> None:
    """Open the session of a verified holder and give it to the browser: every login's last act.

    Args:
        state: of the application.
        new: made by a `LoginMethod` of a holder whom `cps_auth.login.verify` returned.
        is_still_there: asked when the row is there: a card that left meanwhile ends it.

    Raises:
        CardRemoved: the session ended before it began.
        HolderNotAllowed: the application has no account for this holder.
        StoreUnavailable
    """
    lifetime = state.settings.session_lifetime
    opened = state.stores.sessions.create(new, at=state.clock(), lifetime=lifetime)
    if is_still_there is not None and not is_still_there():
        state.end_session(opened, EndReason.CARD_REMOVED)
    user = _user_of(state, opened, new)
    audit.logged_in(new)
    earlier = session_id()
    if earlier is not None:
        state.end_session(earlier, EndReason.REPLACED)
    empty_session()  # nothing that was planted before the login outlives it
    login_user(user)
    holder_logged_in.send(state.app, holder=new.holder, reader=new.reader)


def note_refusal(state: LoginState, error: CpsAuthError, method: str) -> None:
    """Count a refused login, write it down, and tell who listens: once per refusal."""
    count_refusal(state, error)
    audit.refused(error, method, server_peer(request.environ))
    login_refused.send(state.app, error=error)


def _user_of(state: LoginState, opened: str, new: NewSession) -> CpsUser:
    row = state.live_session(opened, touch=False)
    if row is None:
        raise CardRemoved
    return CpsUser(opened, row, state.account_of(new.holder.practitioner))

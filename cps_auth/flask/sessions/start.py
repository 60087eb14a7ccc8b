"""Opens a session for a verified holder, the same way whatever proved them to be one."""

from __future__ import annotations

from flask import request, session
from flask_login import login_user

from cps_auth.errors import CardRemoved, CpsAuthError
from cps_auth.flask import audit
from cps_auth.flask.guards.csrf import session_id
from cps_auth.flask.guards.rate_limit import count_refusal
from cps_auth.flask.guards.requests import server_peer
from cps_auth.flask.pages.language import LANGUAGE_KEY
from cps_auth.flask.sessions.model import EndReason, NewSession, WayIn
from cps_auth.flask.signals import holder_logged_in, login_refused
from cps_auth.flask.state import LoginState
from cps_auth.flask.user import CpsUser
from cps_auth.model import VerifiedHolder


def make_session(state: LoginState, new: NewSession) -> str:
    """Make the row of a session; nobody has its identifier yet.

    Raises:
        StoreUnavailable
    """
    lifetime = state.settings.session_lifetime
    return state.stores.sessions.create(new, at=state.clock(), lifetime=lifetime)


def user_of(state: LoginState, opened: str, holder: VerifiedHolder) -> CpsUser:
    """Return the user of a session that was just made, if it still may go on.

    Raises:
        CardRemoved: it may not.
        HolderNotAllowed: the account was withdrawn meanwhile.
        StoreUnavailable
    """
    row = state.live_session(opened, touch=False)
    if row is None:
        raise CardRemoved
    return CpsUser(opened, row, state.account_of(holder.practitioner))


def let_in(state: LoginState, holder: VerifiedHolder, user: CpsUser) -> None:
    """Give the browser its session: the last act of every login."""
    audit.logged_in(holder, user.way_in, user.session.reader)
    _begin_browser_session(state, user)
    holder_logged_in.send(state.app, holder=holder, reader=user.session.reader)


def note_refusal(state: LoginState, error: CpsAuthError, way_in: WayIn) -> None:
    """Count a refused login, write it down, and tell who listens: once per refusal."""
    count_refusal(state, error)
    audit.refused(error, way_in, server_peer(request.environ))
    login_refused.send(state.app, error=error)


def _begin_browser_session(state: LoginState, user: CpsUser) -> None:
    """Start from an empty browser session: nothing planted before the login outlives it."""
    earlier, language = session_id(), session.get(LANGUAGE_KEY)
    if earlier is not None:
        state.end_session(earlier, EndReason.REPLACED)
    regenerate = getattr(state.app.session_interface, "regenerate", None)
    if regenerate is not None:
        regenerate(session)  # Flask-Session: before clear(), it does nothing to an empty one
    session.clear()
    if language is not None:
        session[LANGUAGE_KEY] = language
    login_user(user)

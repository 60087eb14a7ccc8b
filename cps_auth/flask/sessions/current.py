"""The card's session of the current request: loads it, and answers `cps_user()`."""

from __future__ import annotations

from typing import Any

from flask import g
from flask_login import current_user

from cps_auth.errors import HolderNotAllowed, StoreUnavailable
from cps_auth.flask.sessions.browser import session_id
from cps_auth.flask.sessions.model import EndReason
from cps_auth.flask.state import current_state
from cps_auth.flask.user import CpsUser

_USER, _NOBODY = "cps_user", "cps_nobody"


def load_by_id(known: str) -> Any:
    """Return who is logged in by a session: the row decides, at every request.

    Args:
        known: session identifier, from the browser's cookie.

    Returns:
        The application's own user, or a `CpsUser`; None where the session is over.

    Raises:
        StoreUnavailable: nobody can tell; once per request, so that its error page has nobody.
    """
    user = _load(known)
    return None if user is None else user.login


def cps_user() -> CpsUser | None:
    """Return what the card said of the person of this request; None without a card's session.

    `current_user` may be the application's own user, logged in with the card or, with a card
    session on top (`@cps_required`), by other means. This is the card's side of them.

    Raises:
        StoreUnavailable
    """
    current_user._get_current_object()  # Flask-Login loads by `load_by_id`
    known = session_id()
    return None if known is None else _load(known)


def have_nobody() -> None:
    """Have nobody logged in for the rest of this request: its error page must not ask again."""
    g.cps_nobody = True


def _load(known: str) -> CpsUser | None:
    loaded: CpsUser | None = g.get(_USER)
    if loaded is not None and loaded.session_id == known:
        return loaded
    if g.get(_NOBODY, False):
        return None
    state = current_state()
    try:
        row = state.live_session(known)
        if row is None:
            return None
        user = CpsUser(known, row, state.account_of(row.holder.practitioner))
    except HolderNotAllowed:
        state.end_session(known, EndReason.ACCOUNT_GONE)
        return None
    except StoreUnavailable:
        have_nobody()
        raise
    g.cps_user = user
    return user

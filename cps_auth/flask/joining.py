"""Joins what the application has: its LoginManager, CSRFProtect, hooks, in any order of making.

Flask-Login knows one `user_loader` per application, and applications set it when they like. So
each request begins with a look whether ours still stands in front of it. Identifiers of ours
begin with `ID_PREFIX` and are loaded here; every other one goes to the application's loader.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, g, request
from flask_login import LoginManager, user_logged_in, user_logged_out

from cps_auth.errors import ConfigurationError, CpsAuthError, StoreUnavailable
from cps_auth.flask.guards.headers import protect
from cps_auth.flask.methods.login_form import hold_login_form, wipe_login_form
from cps_auth.flask.pages.refuse import answer_unavailable
from cps_auth.flask.pages.views import needs_refresh, unauthorized
from cps_auth.flask.sessions.browser import forget_card, session_id_in
from cps_auth.flask.sessions.model import EndReason
from cps_auth.flask.state import LoginState, current_state
from cps_auth.flask.stores.ports import begin_request, end_request
from cps_auth.flask.user import load_by_id

_log = logging.getLogger(__name__)
_BEGIN = threading.Lock()


class UserLoader:
    """Flask-Login's `user_loader`: ours in front of the application's."""

    def __init__(self, others: Callable[[str], Any] | None) -> None:
        """Stand in front.

        Args:
            others: the application's own loader; None where it has none.
        """
        self.others = others

    def __call__(self, user_id: str) -> Any:
        """Return the user of an identifier; None where nobody is logged in."""
        ours = session_id_in(user_id)
        if ours is not None:
            return load_by_id(ours)
        return None if self.others is None else self.others(user_id)


def join(app: Flask) -> None:
    """Prepare an application; what it makes later is joined at its first request.

    Raises:
        ConfigurationError: its `login_manager` is none of Flask-Login.
    """
    if not hasattr(app, "login_manager"):
        LoginManager(app).session_protection = None  # it hashes headers; the row is the guard
    _join_login_manager(app)
    app.register_error_handler(StoreUnavailable, answer_unavailable)
    app.url_value_preprocessor(lambda _endpoint, _arguments: _begin(app))
    app.teardown_request(lambda _error: _end())
    user_logged_in.connect(_another_login, app, weak=False)
    user_logged_out.connect(_logged_out, app, weak=False)


def _begin(app: Flask) -> None:
    """Run before every hook of a request."""
    begin_request()
    _join_login_manager(app)
    if not current_state().is_serving:
        _begin_serving(app, current_state())
    if request.endpoint in ("cps.submit", "cps.unblock") and request.method == "POST":
        hold_login_form()  # before a hook of the application reads it, PIN and all


def _end() -> None:
    """Run after every request, however it ended."""
    wipe_login_form()
    end_request()


def _begin_serving(app: Flask, state: LoginState) -> None:
    """Join what an application cannot add any more after its first request."""
    with _BEGIN:
        if state.is_serving:
            return
        app.after_request_funcs.setdefault(None, []).insert(0, _protect_own_pages)  # called last
        csrf: Any = app.extensions.get("csrf")
        if hasattr(csrf, "exempt"):  # Flask-WTF: our forms have tokens of their own
            csrf.exempt(app.blueprints["cps"])
        for method in state.methods.values():
            method.begin_serving()
        state.is_serving = True


def check_joinable(app: Flask) -> None:
    """Check that the application's login manager is Flask-Login's, if it has one.

    Raises:
        ConfigurationError: it is not.
    """
    if not isinstance(getattr(app, "login_manager", LoginManager()), LoginManager):
        raise ConfigurationError(
            "app.login_manager is not Flask-Login's, which CpsLogin joins: let the extension that"
            " set it use flask_login.LoginManager, or give CpsLogin an application without it"
        )


def _join_login_manager(app: Flask) -> None:
    check_joinable(app)
    manager = app.login_manager  # type: ignore[attr-defined]  # set by Flask-Login
    if isinstance(manager._user_callback, UserLoader):
        return
    manager.user_loader(UserLoader(manager._user_callback))
    has_view = manager.login_view is not None or manager.blueprint_login_views
    if manager.unauthorized_callback is None and not has_view:
        manager.unauthorized_handler(unauthorized)
    if manager.needs_refresh_callback is None and manager.refresh_view is None:
        manager.needs_refresh_handler(needs_refresh)


def _protect_own_pages(response: Response) -> Response:
    """Set our headers last: a hook of the application must not loosen those of the login."""
    return protect(response) if request.blueprint == "cps" else response


def _another_login(_app: Flask, **_about: Any) -> None:
    """End the card's session when the application logs in somebody by its own means."""
    if not g.get("cps_is_letting_in", False):
        _end_session(current_state(), EndReason.REPLACED)


def _logged_out(_app: Flask, **_about: Any) -> None:
    _end_session(current_state(), EndReason.LOGOUT)


def _end_session(state: LoginState, reason: EndReason) -> None:
    known = forget_card()
    g.pop("cps_user", None)
    if known is None:
        return
    try:
        state.end_session(known, reason)
    except CpsAuthError:  # the cookie is gone either way
        _log.exception("a session could not be ended")

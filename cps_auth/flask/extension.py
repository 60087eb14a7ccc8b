"""`CpsLogin`, the Flask extension: wires the parts together and keeps nothing on itself."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from flask import Blueprint, Flask
from flask_login import LoginManager

from cps_auth.card.port import CardSource
from cps_auth.errors import ConfigurationError, HolderNotAllowed
from cps_auth.flask import sessions, stores
from cps_auth.flask.database import Database
from cps_auth.flask.headers import keep_out_of_caches, protect
from cps_auth.flask.local_reader import add_local_reader
from cps_auth.flask.pages import add_pages, unauthorized
from cps_auth.flask.removal import RemovalWatch
from cps_auth.flask.rendering import page_context
from cps_auth.flask.sessions import EndReason, SessionRow, SessionStore
from cps_auth.flask.settings import FlaskSettings, read_flask_settings
from cps_auth.flask.state import EXTENSION, LoadAccount, LoginState, current_state
from cps_auth.flask.stores import SqliteFormTokens
from cps_auth.flask.user import CpsUser
from cps_auth.pki.judge import Judge


def _now() -> datetime:
    return datetime.now(UTC)


class CpsLogin:
    """Makes the CPS the login of Flask applications; on Flask-Login.

    One object may serve several applications; what belongs to one is in its
    `app.extensions["cps_login"]`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        judge: Judge,
        cards: CardSource | None = None,
        load_account: LoadAccount | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        """Remember the parts; with an application, also attach to it.

        Args:
            app: an application whose configuration is complete, or None to call `init_app`.
            judge: whom to trust, which lists to ask, and which cards to accept.
            cards: the readers of this machine, for the local-reader way in.
            load_account: the application's own account of a verified holder, None where
                there is none and the login is refused. Asked at the login before any PIN,
                and again at each request. Without it every accepted card may come in.
            clock: tells the time, aware UTC.

        Raises:
            ConfigurationError: as in `init_app`.
        """
        self._judge = judge
        self._cards = cards
        self._load_account = load_account
        self._clock = clock
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Attach to an application.

        Args:
            app: its `SECRET_KEY` and `CPS_…` settings are read and checked now.

        Raises:
            ConfigurationError: a setting is missing, unknown or unsafe, no way in was given,
                or the application has another LoginManager.
        """
        if hasattr(app, "login_manager") or EXTENSION in app.extensions:
            raise ConfigurationError("this application has a LoginManager already")
        settings = read_flask_settings(app)
        app.extensions[EXTENSION] = self._make_state(app, settings)
        _harden_cookie(app, settings)
        _attach_login_manager(app)
        app.register_blueprint(_make_blueprint(), url_prefix=settings.url_prefix)
        app.context_processor(page_context)
        app.after_request(keep_out_of_caches)

    def stop(self, app: Flask) -> None:
        """Stop watching the readers for an application; every local session ends."""
        state: LoginState = app.extensions[EXTENSION]
        state.removal.stop()

    def _make_state(self, app: Flask, settings: FlaskSettings) -> LoginState:
        if self._cards is None:
            raise ConfigurationError("no way in: CpsLogin was given no cards")
        database = Database(settings.database, sessions.SCHEMA, stores.SCHEMA)
        store = SessionStore(database)

        def tell(row: SessionRow) -> None:
            state.tell_ended(row)

        state = LoginState(
            app=app,
            settings=settings,
            cards=self._cards,
            judge=self._judge,
            load_account=self._load_account,
            sessions=store,
            form_tokens=SqliteFormTokens(database, lifetime=settings.form_lifetime),
            clock=self._clock,
            removal=RemovalWatch(self._cards, store, self._clock, tell),
        )
        return state


def _make_blueprint() -> Blueprint:
    blueprint = Blueprint(
        "cps", "cps_auth.flask", template_folder="templates", static_folder="static"
    )
    add_local_reader(blueprint)
    add_pages(blueprint)
    blueprint.after_request(protect)
    return blueprint


def _attach_login_manager(app: Flask) -> None:
    manager = LoginManager()
    manager.session_protection = None  # it hashes X-Forwarded-For; the session row is the guard
    manager.init_app(app)
    manager.user_loader(_load_user)
    manager.unauthorized_handler(unauthorized)


def _load_user(session_id: str) -> CpsUser | None:
    """Flask-Login's user_loader: the row decides, at every request."""
    state = current_state()
    row = state.live_session(session_id)
    if row is None:
        return None
    try:
        account = state.account_of(row.holder.practitioner)
    except HolderNotAllowed:
        state.end_session(session_id, EndReason.ACCOUNT_GONE)
        return None
    return CpsUser(session_id, row, account)


def _harden_cookie(app: Flask, settings: FlaskSettings) -> None:
    """Close what Flask leaves open by default; what the application set stays set."""
    app.config["SESSION_COOKIE_HTTPONLY"] = True
    if app.config["SESSION_COOKIE_SAMESITE"] is None:
        app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    if settings.origin.startswith("https:"):
        app.config["SESSION_COOKIE_SECURE"] = True

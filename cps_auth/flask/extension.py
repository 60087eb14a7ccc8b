"""`CpsLogin`, the Flask extension: wires the parts together and keeps nothing on itself."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial

from flask import Blueprint, Flask

from cps_auth.audit.handler import attach
from cps_auth.audit.journal import AuditJournal
from cps_auth.card.port import CardSource
from cps_auth.errors import ConfigurationError
from cps_auth.flask.commands import session_commands
from cps_auth.flask.guards.headers import keep_out_of_caches, protect
from cps_auth.flask.joining import check_joinable, join
from cps_auth.flask.methods.local_reader import LocalReader
from cps_auth.flask.methods.method import LoginMethod
from cps_auth.flask.methods.mtls.method import Mtls
from cps_auth.flask.methods.pro_sante_connect.method import ProSanteConnect
from cps_auth.flask.methods.web_eid import WebEid
from cps_auth.flask.pages.render import page_context
from cps_auth.flask.pages.views import add_pages
from cps_auth.flask.setting_reader import SettingReader
from cps_auth.flask.settings import FlaskSettings, fill_in_defaults, read_flask_settings
from cps_auth.flask.state import EXTENSION, IsKnown, LinkAccount, LoadAccount, LoginState
from cps_auth.flask.stores.ports import Stores
from cps_auth.flask.stores.redis_stores import open_redis_stores
from cps_auth.flask.stores.sqlite_stores import open_sqlite_stores
from cps_auth.pki.judge import Judge
from cps_auth.pki.open import open_judge

BY_SETTINGS: tuple[type[LoginMethod], ...] = (WebEid, Mtls, ProSanteConnect)
"""The login methods that settings switch on, in the order of the login page."""

_NOW = partial(datetime.now, UTC)


class CpsLogin:
    """Makes the CPS the login of Flask applications; on Flask-Login.

    One object may serve several applications; what belongs to one is in its
    `app.extensions["cps_login"]`.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        judge: Judge | None = None,
        cards: CardSource | None = None,
        methods: Iterable[LoginMethod] = (),
        load_account: LoadAccount | None = None,
        is_known: IsKnown | None = None,
        link_account: LinkAccount | None = None,
        clock: Callable[[], datetime] = _NOW,
    ) -> None:
        """Remember the parts; with an application, also attach to it.

        Args:
            app: an application whose configuration is complete, or None to call `init_app`.
            judge: whom to trust, which lists to ask, and which cards to accept; None for
                CPS_TRUST or, without it, real cards under the pinned authorities.
            cards: the readers of this machine, for the local reader's login method.
            methods: login methods of the application's own; they serve one application.
            load_account: the application's own account of a verified holder, None where
                there is none and the login is refused. Asked when the signature verified, and
                again at each request. A user of Flask-Login that it returns is `current_user`.
                Without it every accepted card may come in.
            is_known: whether a holder has an account. Asked before any PIN, of whoever put a
                card in, so it must change nothing; where it is False no PIN is asked for.
            link_account: links a verified card to the account of the user who is logged in
                by the application's own means; with it, `/cps/login?link=1` does that.
            clock: tells the time, aware UTC.

        Raises:
            ConfigurationError, TrustStoreUnusable: as in `init_app`.
        """
        self._judge = judge
        self._cards = cards
        self._own_methods = tuple(methods)
        self._load_account = load_account
        self._is_known = is_known
        self._link_account = link_account
        self._clock = clock
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Attach to an application.

        Args:
            app: its `SECRET_KEY` and `CPS_…` settings are read and checked now.

        Raises:
            ConfigurationError: a setting is missing, unknown or unsafe, no login method was given,
                or the application has a login manager that is none of Flask-Login.
            TrustStoreUnusable: no judge was given, and real cards cannot be judged.
        """
        if EXTENSION in app.extensions:
            raise ConfigurationError("this application has a CpsLogin already")
        check_joinable(app)
        state = self._make_state(app)
        app.extensions[EXTENSION] = state
        _harden_cookie(app, state.settings)
        if state.settings.audit_folder is not None:
            attach(AuditJournal(state.settings.audit_folder, clock=self._clock))
        join(app)
        app.register_blueprint(
            _make_blueprint(state.methods.values()), url_prefix=state.settings.url_prefix
        )
        app.context_processor(page_context)
        app.after_request(keep_out_of_caches)
        app.cli.add_command(session_commands())

    def stop(self, app: Flask) -> None:
        """Stop what runs in the background for an application; every local session ends."""
        state: LoginState = app.extensions[EXTENSION]
        for method in state.methods.values():
            method.stop()

    def _make_state(self, app: Flask) -> LoginState:
        own = (type(method) for method in self._own_methods)
        kinds: tuple[type[LoginMethod], ...] = (LocalReader, *BY_SETTINGS, *own)
        of_methods = {key: value for kind in kinds for key, value in kind.settings.items()}
        reader = fill_in_defaults(app, of_methods)
        settings = read_flask_settings(app, reader)
        methods = {method.name: method for method in self._methods(reader)}
        if not methods:
            reader.note(
                "no login method: no cards, no CPS_WEB_EID, no CPS_MTLS_PROXIES, no CPS_PSC"
            )
        reader.finish()
        state = LoginState(
            app,
            settings,
            methods=methods,
            judge=self._judge or _judge_of(settings),
            load_account=self._load_account,
            is_known=self._is_known,
            link_account=self._link_account,
            stores=open_stores(settings),
            clock=self._clock,
        )
        for method in methods.values():
            method.attach(
                sessions=state.stores.sessions, clock=self._clock, on_end=state.tell_ended
            )
        return state

    def _methods(self, reader: SettingReader) -> Iterator[LoginMethod]:
        if self._cards is not None:
            yield LocalReader(self._cards, reader.text_or_none("CPS_READER"))
        for kind in BY_SETTINGS:
            method = kind.from_settings(reader)
            if method is not None:
                yield method
        yield from self._own_methods


def _judge_of(settings: FlaskSettings) -> Judge:
    return open_judge(
        settings.trust,
        grace_hours=settings.revocation_grace / timedelta(hours=1),
        ask_responders=settings.ocsp,
        nonce_required=settings.ocsp_nonce,
    )


def open_stores(settings: FlaskSettings) -> Stores:
    """Return the stores that the settings name.

    Raises:
        ConfigurationError: as each of them.
    """
    if settings.store is not None:
        return open_redis_stores(settings.store, form_lifetime=settings.form_lifetime)
    return open_sqlite_stores(settings.database, form_lifetime=settings.form_lifetime)


def _make_blueprint(methods: Iterable[LoginMethod]) -> Blueprint:
    blueprint = Blueprint(
        "cps", "cps_auth.flask.pages", template_folder="templates", static_folder="static"
    )
    add_pages(blueprint)
    for method in methods:
        method.add_routes(blueprint)
    blueprint.after_request(protect)
    return blueprint


def _harden_cookie(app: Flask, settings: FlaskSettings) -> None:
    """Close what Flask leaves open by default; what the application set stays set."""
    app.config["SESSION_COOKIE_HTTPONLY"] = True
    if app.config["SESSION_COOKIE_SAMESITE"] is None:
        app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    is_https = settings.origin.startswith("https:")
    if is_https:
        app.config["SESSION_COOKIE_SECURE"] = True
    if app.config["SESSION_COOKIE_NAME"] == app.default_config["SESSION_COOKIE_NAME"]:
        app.config["SESSION_COOKIE_NAME"] = _cookie_name(app, settings, is_https=is_https)


def _cookie_name(app: Flask, settings: FlaskSettings, *, is_https: bool) -> str:
    """Return a cookie's name of this application's own.

    Browsers tell cookies of one host apart by name and path alone, not by port: two applications
    that call theirs "session" log each other's users out. `__Host-` keeps those out that a
    neighbour under the same domain, or plain http, could plant.
    """
    digest = hashlib.sha256(f"{app.name} {settings.origin}".encode()).hexdigest()
    path = app.config["SESSION_COOKIE_PATH"] or app.config["APPLICATION_ROOT"]
    is_of_host = is_https and path == "/" and not app.config["SESSION_COOKIE_DOMAIN"]
    return f"{'__Host-' if is_of_host else ''}cps-{digest[:8]}"

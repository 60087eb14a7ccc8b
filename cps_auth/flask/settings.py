"""The `CPS_…` keys of `app.config`: defaults, checked once at start, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask

from cps_auth.errors import ConfigurationError
from cps_auth.flask.guards.origin import read_origin
from cps_auth.flask.methods.mtls.settings import MtlsSettings, read_mtls_settings
from cps_auth.flask.pages.next_page import is_safe_next
from cps_auth.pki.revocation.policy import GRACE_MAX_HOURS
from cps_auth.wording import LANGUAGES

DEFAULTS: Mapping[str, object] = {
    "CPS_ORIGIN": None,
    "CPS_DATABASE": None,
    "CPS_READER": None,
    "CPS_URL_PREFIX": "/cps",
    "CPS_TITLE": None,
    "CPS_AFTER_LOGIN": "/",
    "CPS_AFTER_LOGOUT": "/",
    "CPS_LANGUAGE": "fr",
    "CPS_SESSION_LIFETIME": timedelta(hours=12),
    "CPS_SESSION_IDLE": timedelta(minutes=60),
    "CPS_FORM_LIFETIME": timedelta(minutes=5),
    "CPS_TRUST": None,
    "CPS_REVOCATION_GRACE": timedelta(0),
    "CPS_OCSP": False,
    "CPS_STORE": None,
    "CPS_WEB_EID": False,
    "CPS_WEB_EID_GUARD_REQUIRED": False,
    "CPS_HEARTBEAT": timedelta(seconds=150),
    "CPS_MTLS_PROXIES": (),
    "CPS_MTLS_PRESET": None,
    "CPS_MTLS_ORIGIN": None,
    "CPS_MTLS_SECRET": None,
    "CPS_REQUESTS_PER_MINUTE": 60,
    "CPS_REFUSALS_BEFORE_LOCKOUT": 20,
    "CPS_LOCKOUT": timedelta(minutes=15),
}
"""Every key there is; `docs/flask.md` explains them. Another `CPS_…` key is refused."""

_LONGEST_S = timedelta(days=3660).total_seconds()
_STORE_SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class FlaskSettings:
    """The keys, checked and typed."""

    origin: str
    database: Path
    reader: str | None
    url_prefix: str
    title: str
    after_login: str
    after_logout: str
    language: str
    session_lifetime: timedelta
    session_idle: timedelta
    form_lifetime: timedelta
    trust: Path | None  # folder that replaces the pinned authorities
    revocation_grace: timedelta  # how long after its nextUpdate a list still counts
    ocsp: bool  # ask the authorities' responders where no list is current
    store: str | None  # address of a Redis server, None for SQLite
    web_eid: bool
    web_eid_guard_required: bool
    heartbeat: timedelta
    mtls: MtlsSettings | None
    requests_per_minute: int
    refusals_before_lockout: int
    lockout: timedelta

    @property
    def has_remote_way_in(self) -> bool:
        """Return whether somebody may log in whose card is in another machine."""
        return self.web_eid or self.mtls is not None

    @property
    def host(self) -> str:
        """Return the only `Host` header under which the local reader answers."""
        return urlsplit(self.origin).netloc


def read_flask_settings(app: Flask) -> FlaskSettings:
    """Fill in the defaults and check every `CPS_…` key.

    Args:
        app: an application whose configuration is complete.

    Returns:
        The settings.

    Raises:
        ConfigurationError: a key is missing, unknown, or has a value that cannot be.
    """
    for key, default in DEFAULTS.items():
        app.config.setdefault(key, default)
    unknown = sorted(key for key in app.config if key.startswith("CPS_") and key not in DEFAULTS)
    if unknown:
        raise ConfigurationError(f"unknown setting {unknown[0]}")
    if not app.secret_key:
        raise ConfigurationError("SECRET_KEY is not set; set it before CpsLogin.init_app")
    return FlaskSettings(
        origin=read_origin(app.config["CPS_ORIGIN"], "CPS_ORIGIN"),
        database=_database(app),
        reader=_text_or_none(app, "CPS_READER"),
        url_prefix=_path(app, "CPS_URL_PREFIX"),
        title=_text_or_none(app, "CPS_TITLE") or app.name,
        after_login=_path(app, "CPS_AFTER_LOGIN"),
        after_logout=_path(app, "CPS_AFTER_LOGOUT"),
        language=_language(app.config["CPS_LANGUAGE"]),
        session_lifetime=_duration(app, "CPS_SESSION_LIFETIME"),
        session_idle=_duration(app, "CPS_SESSION_IDLE"),
        form_lifetime=_duration(app, "CPS_FORM_LIFETIME"),
        trust=_folder(app, "CPS_TRUST"),
        revocation_grace=_grace(app, "CPS_REVOCATION_GRACE"),
        ocsp=_flag(app, "CPS_OCSP"),
        store=_store(app),
        web_eid=_flag(app, "CPS_WEB_EID"),
        web_eid_guard_required=_flag(app, "CPS_WEB_EID_GUARD_REQUIRED"),
        heartbeat=_duration(app, "CPS_HEARTBEAT"),
        mtls=read_mtls_settings(app.config),
        requests_per_minute=_count(app, "CPS_REQUESTS_PER_MINUTE"),
        refusals_before_lockout=_count(app, "CPS_REFUSALS_BEFORE_LOCKOUT"),
        lockout=_duration(app, "CPS_LOCKOUT"),
    )


def _database(app: Flask) -> Path:
    return _folder(app, "CPS_DATABASE") or Path(app.instance_path) / "cps-auth.sqlite3"


def _folder(app: Flask, key: str) -> Path | None:
    value = app.config[key]
    if value is None:
        return None
    if not isinstance(value, (str, Path)) or not Path(value).is_absolute():
        raise ConfigurationError(f"{key} must be an absolute path")
    return Path(value)


def _text_or_none(app: Flask, key: str) -> str | None:
    value = app.config[key]
    if value is None or (isinstance(value, str) and value):
        return value
    raise ConfigurationError(f"{key} must be a text")


def _path(app: Flask, key: str) -> str:
    value = app.config[key]
    if not isinstance(value, str) or not is_safe_next(value):
        raise ConfigurationError(f"{key} must be a path of this application, such as /home")
    return value


def _language(value: object) -> str:
    if not isinstance(value, str) or value not in LANGUAGES:
        raise ConfigurationError(f"CPS_LANGUAGE must be one of {', '.join(LANGUAGES)}")
    return value


def _duration(app: Flask, key: str) -> timedelta:
    value = app.config[key]
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    elif isinstance(value, int) and not isinstance(value, bool):  # as in Flask's own settings
        seconds = value
    else:
        raise ConfigurationError(f"{key} must be a timedelta, or a number of seconds")
    if not 1 <= seconds <= _LONGEST_S:
        raise ConfigurationError(f"{key} must be between 1 second and 10 years")
    return timedelta(seconds=seconds)


def _grace(app: Flask, key: str) -> timedelta:
    value = app.config[key]
    longest = timedelta(hours=GRACE_MAX_HOURS)
    if not isinstance(value, timedelta) or not timedelta(0) <= value <= longest:
        raise ConfigurationError(f"{key} must be a timedelta of at most {longest.days} days")
    return value


def _flag(app: Flask, key: str) -> bool:
    value = app.config[key]
    if not isinstance(value, bool):
        raise ConfigurationError(f"{key} must be True or False")
    return value


def _count(app: Flask, key: str) -> int:
    value = app.config[key]
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigurationError(f"{key} must be a number from 1")
    return value


def _store(app: Flask) -> str | None:
    value = _text_or_none(app, "CPS_STORE")
    if value is not None and value.partition("://")[0] not in _STORE_SCHEMES:
        raise ConfigurationError("CPS_STORE must begin with redis://, rediss:// or unix://")
    return value

"""The `CPS_…` keys of `app.config`: defaults, checked once at start, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask

from cps_auth.errors import ConfigurationError
from cps_auth.flask.next_page import is_safe_next
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
}
"""Every key there is; `docs/flask.md` explains them. Another `CPS_…` key is refused."""

_DEFAULT_PORTS = {"http": 80, "https": 443}


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
        origin=_origin(app.config["CPS_ORIGIN"]),
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
    )


def is_loopback(host: str) -> bool:
    """Return whether a host name or address text means this very machine."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _origin(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError("CPS_ORIGIN is not set, such as http://127.0.0.1:5000")
    parts = urlsplit(value)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(f"CPS_ORIGIN {value!r} has no valid port") from None
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme):
        shown = f"{shown}:{port}"
    if not host or value != f"{parts.scheme}://{shown}" or not value.isascii():
        raise ConfigurationError(f"CPS_ORIGIN {value!r} is not what a browser calls an origin")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigurationError("CPS_ORIGIN must be https, or http on a loopback address")
    return value


def _database(app: Flask) -> Path:
    value = app.config["CPS_DATABASE"]
    if value is None:
        return Path(app.instance_path) / "cps-auth.sqlite3"
    if not isinstance(value, (str, Path)) or not Path(value).is_absolute():
        raise ConfigurationError("CPS_DATABASE must be an absolute path")
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
    if not isinstance(value, timedelta) or value <= timedelta(0):
        raise ConfigurationError(f"{key} must be a positive timedelta")
    return value

"""The `CPS_…` keys of `app.config`: defaults, checked once at start, frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask

from cps_auth.flask.setting_reader import SettingReader
from cps_auth.pki.revocation.policy import GRACE_MAX_HOURS
from cps_auth.wording import LANGUAGES

DEFAULTS: Mapping[str, object] = {
    "CPS_ORIGIN": None,
    "CPS_DATABASE": None,
    "CPS_URL_PREFIX": "/cps",
    "CPS_TITLE": None,
    "CPS_AFTER_LOGIN": "/",
    "CPS_AFTER_LOGOUT": "/",
    "CPS_LANGUAGE": "fr",
    "CPS_SESSION_LIFETIME": timedelta(hours=12),
    "CPS_SESSION_IDLE": timedelta(minutes=60),
    "CPS_FORM_LIFETIME": timedelta(minutes=5),
    "CPS_POLL": timedelta(seconds=30),
    "CPS_TRUST": None,
    "CPS_REVOCATION_GRACE": timedelta(0),
    "CPS_OCSP": False,
    "CPS_OCSP_NONCE": True,
    "CPS_STORE": None,
    "CPS_AUDIT_FOLDER": None,
    "CPS_REQUESTS_PER_MINUTE": 60,
    "CPS_REQUESTS_PER_MINUTE_AND_ADDRESS": 3000,
    "CPS_REFUSALS_BEFORE_LOCKOUT": 20,
    "CPS_LOCKOUT": timedelta(minutes=15),
}
"""The keys that belong to no login method; `docs/flask.md` explains them."""

_STORE_SCHEMES = ("redis", "rediss", "unix")


@dataclass(frozen=True, slots=True)
class FlaskSettings:
    """The keys, checked and typed."""

    origin: str
    host: str  # the only `Host` header under which the local reader answers
    database: Path
    url_prefix: str
    title: str
    after_login: str
    after_logout: str
    language: str
    session_lifetime: timedelta
    session_idle: timedelta
    form_lifetime: timedelta
    poll: timedelta  # how often an open page asks whose card is in another machine
    trust: Path | None  # folder that replaces the pinned authorities
    revocation_grace: timedelta  # how long after its nextUpdate a CRL still counts
    ocsp: bool  # ask the authorities' responders where no CRL is current
    ocsp_nonce: bool  # their "good" has to repeat our nonce
    store: str | None  # address of a Redis server, None for SQLite
    audit_folder: Path | None  # of the audit journal; None: only log lines
    requests_per_minute: int
    requests_per_minute_and_address: int
    refusals_before_lockout: int
    lockout: timedelta


def fill_in_defaults(app: Flask, of_methods: Mapping[str, object]) -> SettingReader:
    """Fill in every key that was not set.

    Args:
        app: an application whose configuration is complete.
        of_methods: the keys of the login methods, and their defaults.

    Returns:
        A reader of the configuration, which has noted every unknown key.
    """
    known = {**DEFAULTS, **of_methods}
    for key, default in known.items():
        app.config.setdefault(key, default)
    reader = SettingReader(app.config)
    for key in sorted(key for key in app.config if key.startswith("CPS_") and key not in known):
        reader.note(f"unknown setting {key}")
    if not app.secret_key:
        reader.note("SECRET_KEY is not set; set it before CpsLogin.init_app")
    return reader


def read_flask_settings(app: Flask, reader: SettingReader) -> FlaskSettings:
    """Read every key of `DEFAULTS`.

    Args:
        app: the application.
        reader: of its configuration; keeps what is wrong, so the settings count only after
            its `finish`.
    """
    origin = reader.origin("CPS_ORIGIN")
    return FlaskSettings(
        origin=origin,
        host=urlsplit(origin).netloc,
        database=reader.folder("CPS_DATABASE") or Path(app.instance_path) / "cps-auth.sqlite3",
        url_prefix=reader.page("CPS_URL_PREFIX"),
        title=reader.text_or_none("CPS_TITLE") or app.name,
        after_login=reader.page("CPS_AFTER_LOGIN"),
        after_logout=reader.page("CPS_AFTER_LOGOUT"),
        language=reader.choice("CPS_LANGUAGE", LANGUAGES),
        session_lifetime=reader.duration("CPS_SESSION_LIFETIME"),
        session_idle=reader.duration("CPS_SESSION_IDLE"),
        form_lifetime=reader.duration("CPS_FORM_LIFETIME"),
        poll=reader.duration("CPS_POLL"),
        trust=reader.folder("CPS_TRUST"),
        revocation_grace=reader.duration(
            "CPS_REVOCATION_GRACE",
            shortest=timedelta(0),
            longest=timedelta(hours=GRACE_MAX_HOURS),
        ),
        ocsp=reader.flag("CPS_OCSP"),
        ocsp_nonce=reader.flag("CPS_OCSP_NONCE"),
        store=_store(reader),
        audit_folder=reader.folder("CPS_AUDIT_FOLDER"),
        requests_per_minute=reader.count("CPS_REQUESTS_PER_MINUTE"),
        requests_per_minute_and_address=reader.count("CPS_REQUESTS_PER_MINUTE_AND_ADDRESS"),
        refusals_before_lockout=reader.count("CPS_REFUSALS_BEFORE_LOCKOUT"),
        lockout=reader.duration("CPS_LOCKOUT"),
    )


def _store(reader: SettingReader) -> str | None:
    value = reader.text_or_none("CPS_STORE")
    if value is not None and value.partition("://")[0] not in _STORE_SCHEMES:
        reader.note(
            "CPS_STORE must begin with redis://, rediss:// or unix:// and name one server;"
            " where Sentinel watches it, a proxy that follows the primary"
        )
    return value

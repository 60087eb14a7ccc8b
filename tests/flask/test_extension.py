"""The extension keeps Flask's conventions, and refuses a configuration it cannot trust."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask

from cps_auth.errors import ConfigurationError
from cps_auth.flask import CpsLogin
from tests.flask.conftest import cookie_name
from webdemo.desk import VirtualDesk


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "",
        "127.0.0.1:5000",
        "http://cabinet.example",
        "https://cabinet.example/",
        "https://cabinet.example:443",
        "https://Cabinet.example",
        "https://user@cabinet.example",
        "https://cabinet.example/path",
        "https://cabinet.example:port",
        "ftp://127.0.0.1",
        "https://café.example",
    ],
)
def test_what_is_not_an_origin_is_refused(make_app, origin: str | None) -> None:
    """CPS_ORIGIN is exactly what a browser calls one: https, or http on loopback."""
    with pytest.raises(ConfigurationError):
        make_app(config={"CPS_ORIGIN": origin})


@pytest.mark.parametrize(
    "origin",
    [
        "https://cabinet.example",
        "https://cabinet.example:8443",
        "http://[::1]:5000",
        "http://localhost",
    ],
)
def test_an_origin_is_accepted(make_app, origin: str) -> None:
    """Ordinary ones pass; https makes the session cookie Secure."""
    app = make_app(config={"CPS_ORIGIN": origin})
    assert app.config["SESSION_COOKIE_SECURE"] is origin.startswith("https")
    assert app.config["SESSION_COOKIE_SAMESITE"] == "Lax"


@pytest.mark.parametrize(
    "config",
    [
        {"CPS_ORIGN": "http://127.0.0.1:5000"},
        {"SECRET_KEY": None},
        {"CPS_DATABASE": "relative.sqlite3"},
        {"CPS_READER": 3},
        {"CPS_AFTER_LOGIN": "//evil.test"},
        {"CPS_LANGUAGE": "de"},
        {"CPS_SESSION_IDLE": "3600"},
        {"CPS_SESSION_IDLE": True},
        {"CPS_SESSION_IDLE": -(10**30)},
        {"CPS_SESSION_LIFETIME": 10**30},
        {"CPS_SESSION_LIFETIME": timedelta.max},
        {"CPS_HEARTBEAT": timedelta(milliseconds=10)},
        {"CPS_FORM_LIFETIME": timedelta(0)},
    ],
)
def test_a_wrong_setting_is_refused_at_start(make_app, config: dict[str, object]) -> None:
    """Unknown keys, wrong types and impossible values are said before the first request."""
    with pytest.raises(ConfigurationError):
        make_app(config=config)


def test_every_mistake_is_told_at_once(make_app) -> None:
    """Nobody starts an application five times to learn of five mistakes."""
    config = {"CPS_ORIGN": "x", "CPS_LANGUAGE": "de", "CPS_MTLS_PRESET": "nginx"}
    with pytest.raises(ConfigurationError) as refused:
        make_app(config={**config, "CPS_ORIGIN": None})
    for key in (*config, "CPS_ORIGIN", "CPS_MTLS_PROXIES"):
        assert key in refused.value.what


def test_an_extension_without_a_login_method_is_refused(make_app) -> None:
    """Without cards nobody could ever log in."""
    with pytest.raises(ConfigurationError):
        make_app(cards=None)


def test_one_extension_serves_several_applications(
    judge, desk: VirtualDesk, tmp_path: Path, visit
) -> None:
    """Their sessions are their own: a login at one is none at the other."""
    login = CpsLogin(judge=judge, cards=desk.cards)
    apps = [Flask(name) for name in ("one", "two")]
    for app in apps:
        app.config.update(
            SECRET_KEY="the same key",
            CPS_ORIGIN="http://127.0.0.1:5000",
            CPS_DATABASE=tmp_path / f"{app.name}.sqlite3",
        )
        login.init_app(app)
    desk.insert("doctor")
    first, second = (visit(app) for app in apps)
    assert first.log_in().status_code == 303
    cookie = first.client.get_cookie(cookie_name(first.client), domain="127.0.0.1")
    second.client.set_cookie(cookie_name(second.client), cookie.value, domain="127.0.0.1")
    assert first.get("/cps/status").json["session"] == "open"
    assert second.get("/cps/status").json["session"] == "closed"
    for app in apps:
        login.stop(app)


def test_an_application_may_bring_its_own_page(make_app, visit, tmp_path: Path) -> None:
    """A template of the same name in the application's folder wins."""
    folder = tmp_path / "templates" / "cps"
    folder.mkdir(parents=True)
    (folder / "closed.html").write_text("our own words")
    app = make_app()
    app.jinja_loader.searchpath.append(str(tmp_path / "templates"))
    assert visit(app).get("/cps/closed").text == "our own words"

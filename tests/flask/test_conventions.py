"""What applications do with a Flask extension: mount it, write async views, add a proxy."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask, jsonify
from flask_login import login_required
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from cps_auth.flask import cps_required
from cps_auth.flask.guards.addresses import is_loopback
from cps_auth.flask.settings import fill_in_defaults, read_flask_settings
from webdemo.desk import VirtualDesk

NAVIGATION = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "empty"}
"""What Chromium says of a page that a service worker fetches: tried, version 156."""


@pytest.fixture
def mounted(app: Flask) -> Flask:
    """The usual application at /office; another one has the rest of the host."""
    app.wsgi_app = DispatcherMiddleware(Flask("other"), {"/office": app.wsgi_app})
    return app


def test_a_mounted_application_leads_back_to_itself(
    mounted: Flask, visit, desk: VirtualDesk
) -> None:
    """The path of the mount is in every page that a browser is led to."""
    desk.insert("doctor")
    visitor = visit(mounted)
    asked = visitor.get("/office/me?tab=1")
    assert asked.location == "/office/cps/login?next=/office/me?tab%3D1"
    form = visitor.form(asked.location)
    answer = visitor.post("/office/cps/login", {**form, "pin": "1234"})
    assert answer.location == "/office/me?tab=1"
    assert visitor.get(answer.location).status_code == 200
    assert visitor.get("/office/cps/login").location == "/office/"
    assert "next=/office/watched" in visitor.get("/office/watched").text.replace("%2F", "/")
    logout = visitor.form("/office/form")
    assert visitor.post("/office/cps/logout", logout).location == "/office/"


def test_a_prefix_that_a_proxy_took_off_is_put_back(
    remote_app: Flask, remote, remote_visit
) -> None:
    """ProxyFix with x_prefix tells where the application is mounted; a script is told too."""
    remote_app.wsgi_app = ProxyFix(remote_app.wsgi_app, x_prefix=1)
    remote.headers["X-Forwarded-Prefix"] = "/office"
    assert remote.log_in().json == {"next": "/office/"}
    other = remote_visit(remote_app)
    other.headers["X-Forwarded-Prefix"] = "//evil.test"
    assert other.log_in().json == {"next": "/"}


@pytest.mark.parametrize("headers", [{}, NAVIGATION], ids=["a browser", "a service worker"])
def test_a_form_that_came_too_late_leads_to_the_login(visitor, headers: dict[str, str]) -> None:
    """A person whose session ended meanwhile sees a page, and not the word Unauthorized."""
    visitor.client.application.post("/save")(login_required(lambda: "saved"))
    answer = visitor.post("/save", {"text": "long"}, **headers)
    assert (answer.status_code, answer.location) == (303, "/cps/login?next=/")


def test_a_service_worker_may_fetch_the_login_page(visitor, desk: VirtualDesk) -> None:
    """An application with one still has its login: no script can say `navigate`."""
    desk.insert("doctor")
    assert visitor.get("/cps/login", **NAVIGATION).status_code == 200
    assert visitor.get("/me", **NAVIGATION).status_code == 302


def test_a_program_with_an_old_login_is_told_401(visitor, desk: VirtualDesk, clock) -> None:
    """It cannot type a PIN: no login page for its fetch."""
    desk.insert("doctor")
    visitor.log_in()
    clock.ahead = timedelta(minutes=6)
    assert visitor.get("/fresh").status_code == 303
    assert visitor.get("/fresh", Sec_Fetch_Dest="empty").status_code == 401
    assert visitor.get("/fresh", Accept="application/json").status_code == 401


def test_a_view_may_be_async(app: Flask, visitor, desk: VirtualDesk) -> None:
    """Flask runs it through `ensure_sync`, and so does the decorator."""

    def run(view: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: asyncio.run(view(*args, **kwargs))

    app.async_to_sync = run  # type: ignore[assignment,method-assign]  # Flask's own needs asgiref

    @app.get("/later")
    @cps_required(professions={"10"})
    async def later() -> Any:
        await asyncio.sleep(0)
        return jsonify(when="later")

    assert visitor.get("/later").status_code == 302
    desk.insert("doctor")
    visitor.log_in()
    assert visitor.get("/later").json == {"when": "later"}


def test_durations_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    """`from_prefixed_env` reads JSON, which has numbers of seconds and no timedelta."""
    values = {
        "SECRET_KEY": "k",
        "CPS_ORIGIN": "http://127.0.0.1:5000",
        "CPS_SESSION_IDLE": 600,
        "CPS_REVOCATION_GRACE": 3600.0,
        "CPS_MTLS_PROXIES": [],
    }
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        monkeypatch.setenv(f"FLASK_{name}", text)
    app = Flask("environment", instance_path=str(tmp_path))
    app.config.from_prefixed_env()
    reader = fill_in_defaults(app, {"CPS_MTLS_PROXIES": ()})
    assert read_flask_settings(app, reader).session_idle == timedelta(minutes=10)
    reader.finish()


@pytest.mark.parametrize(
    ("peer", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.7", False),
        ("::127.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 (a text)
        ("::", False),
        ("127.0.0.1.evil.test", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_a_loopback_peer_is_one_in_any_spelling(
    visitor, desk: VirtualDesk, peer: str, is_local: bool
) -> None:
    """A server on [::] names an IPv4 peer ::ffff:127.0.0.1; a Unix socket names nobody."""
    desk.insert("doctor")
    visitor.peer = peer
    assert is_loopback(peer) is is_local
    assert (visitor.get("/cps/login").status_code == 200) is is_local


@pytest.mark.parametrize(
    "environ",
    [
        {"SERVER_PROTOCOL": "HTTP/1.0"},
        {"HTTP_X_FORWARDED_PROTO": "https"},
        {"HTTP_X_FORWARDED_SERVER": "proxy"},
        {"HTTP_VIA": "1.1 proxy"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_a_proxy_on_this_machine_is_noticed(
    visitor, desk: VirtualDesk, environ: dict[str, str]
) -> None:
    """nginx with nothing but `proxy_pass` speaks HTTP/1.0 and names the backend as the host."""
    desk.insert("doctor")
    answer = visitor.client.get(
        "/cps/login",
        base_url="http://127.0.0.1:5000",
        headers=visitor.headers,
        environ_overrides={"REMOTE_ADDR": "127.0.0.1", **environ},
    )
    assert answer.status_code == 403
    assert desk.readers.apdu_count == 0


def test_another_spelling_of_the_host_is_led_to_the_configured_one(visitor) -> None:
    """Who opened http://localhost finds the way to the address that the login answers under."""
    answer = visitor.get("/cps/login", Host="localhost:5000")
    assert answer.status_code == 403
    assert 'href="http://127.0.0.1:5000/cps/login"' in answer.text

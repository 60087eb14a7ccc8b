"""The session's cookie: of this application's own, and out of its neighbours' reach."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask, session

from tests.flask.conftest import REMOTE_ORIGIN, cookie_name


def other_application() -> Flask:
    """Return an application without the card, that keeps something in its own session."""
    app = Flask("other")
    app.secret_key = "another key"

    @app.get("/")
    def home() -> str:
        session["seen"] = session.get("seen", 0) + 1
        return str(session["seen"])

    return app


@pytest.mark.parametrize(
    "beside",
    [{"CPS_ORIGIN": "http://127.0.0.1:6000"}, {"CPS_URL_PREFIX": "/lab/cps"}],
    ids=["another port", "another prefix"],
)
def test_applications_on_one_host_leave_each_other_alone(
    make_app: Any, visit: Any, desk: Any, beside: dict[str, str]
) -> None:
    """Browsers do not tell ports apart: each has a cookie of its own, and so do strangers."""
    desk.insert("doctor")
    practice, lab = visit(make_app("practice")), visit(make_app("lab", beside))
    stranger = other_application().test_client()
    shared = practice.client._cookies  # what a browser has for this host
    lab.client._cookies = stranger._cookies = shared
    assert practice.log_in().status_code == 303
    for number in (1, 2):
        assert stranger.get("/", base_url="http://127.0.0.1:7000").text == str(number)
    lab.client.get("/me", base_url=beside.get("CPS_ORIGIN", "http://127.0.0.1:5000"))
    with lab.client.session_transaction(base_url="http://127.0.0.1:6000") as kept:
        kept["something"] = "of the laboratory's"
    assert practice.is_in()
    names = {name for _, _, name in shared}
    assert names == {"session", cookie_name(practice.client), cookie_name(lab.client)}


def test_on_https_no_neighbour_can_plant_one(remote: Any) -> None:
    """`__Host-`: Secure, for the whole host and no other, as browsers demand of the name."""
    answer = remote.open("GET", "/cps/login")
    (cookie,) = answer.headers.getlist("Set-Cookie")
    name, _, attributes = cookie.partition("=")
    assert name.startswith("__Host-cps-")
    assert "Secure" in attributes
    assert "HttpOnly" in attributes
    assert "Path=/;" in attributes + ";"
    assert "Domain" not in attributes


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"APPLICATION_ROOT": "/lab"}, "cps-"),
        ({"SESSION_COOKIE_PATH": "/lab"}, "cps-"),
        ({"SESSION_COOKIE_DOMAIN": "practice.test"}, "cps-"),
        ({"SESSION_COOKIE_NAME": "ours"}, "ours"),
        ({}, "__Host-cps-"),
    ],
    ids=str,
)
def test_only_where_browsers_take_it(
    make_app: Any, remote_config: dict[str, Any], changes: dict[str, str], begins: str
) -> None:
    """A path or a domain rules the prefix out; what the application set stays set."""
    app = make_app("elsewhere", {**remote_config, **changes}, cards=None)
    assert app.config["SESSION_COOKIE_NAME"].startswith(begins)


def test_every_worker_has_the_same_name(
    make_app: Any, remote_config: dict[str, Any], tmp_path: Path
) -> None:
    """It depends on the application's name and origin, and on nothing of a process or a key."""
    names = {
        make_app(
            "same",
            {**remote_config, "SECRET_KEY": key, "CPS_DATABASE": tmp_path / f"{key}.sqlite3"},
            cards=None,
        ).config["SESSION_COOKIE_NAME"]
        for key in ("one", "two")
    }
    assert len(names) == 1
    assert REMOTE_ORIGIN.startswith("https:")

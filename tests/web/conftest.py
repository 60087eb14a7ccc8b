"""A small application behind the card login, a virtual desk, and a browser to visit it."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, jsonify
from flask.sessions import SessionMixin
from flask.testing import FlaskClient
from flask_login import current_user, login_required
from werkzeug.test import TestResponse

from cps_auth.flask import CpsLogin, cps_required
from cps_auth.model import CardType
from cps_auth.pki.judge import Judge, folder_judge
from hardware_mocks.igc import FakeIgcSante
from webdemo.desk import VirtualDesk

ORIGIN = "http://127.0.0.1:5000"
PIN = "1234"
NOTICED_WITHIN_S = 5.0
BROWSER_HEADERS = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


@dataclass
class Clock:
    """Tells the time, which a test may move."""

    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        """Return now, aware UTC."""
        return datetime.now(UTC) + self.ahead


@dataclass
class Visitor:
    """A browser on the practice's own PC."""

    client: FlaskClient
    headers: dict[str, str] = field(default_factory=lambda: dict(BROWSER_HEADERS))
    peer: str = "127.0.0.1"

    def get(self, path: str, **headers: str) -> TestResponse:
        """Open a page; `headers` in Python spelling."""
        return self._open("GET", path, headers)

    def post(self, path: str, data: dict[str, str], **headers: str) -> TestResponse:
        """Send a form from a page of the origin, unless the headers say otherwise."""
        return self._open("POST", path, {"Origin": ORIGIN, **headers}, data=data)

    def form(self, path: str = "/cps/login") -> dict[str, str]:
        """Return the hidden fields of the login form; empty when no PIN is asked for."""
        text = self.get(path).text
        return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text))

    def log_in(self, pin: str = PIN, **more: str) -> TestResponse:
        """Open the login page and send the PIN."""
        return self.post("/cps/login", {**self.form(), "pin": pin, **more})

    def is_in(self) -> bool:
        """Whether a page that needs a login is served."""
        return self.get("/me").status_code == 200

    def cookie(self) -> AbstractContextManager[SessionMixin]:
        """Give the browser session, to look at or to plant something in."""
        return self.client.session_transaction(base_url=ORIGIN)

    def _open(self, method: str, path: str, headers: dict[str, str], **more: Any) -> TestResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.open(
            path,
            method=method,
            base_url=ORIGIN,
            headers={**self.headers, **named},
            environ_overrides={"REMOTE_ADDR": self.peer},
            **more,
        )


MakeApp = Callable[..., Flask]


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits for what another thread does, with a deadline."""

    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + NOTICED_WITHIN_S
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.005)

    return wait


@pytest.fixture
def desk(igc: FakeIgcSante) -> VirtualDesk:
    """One empty reader, and a drawer with a new card of every persona."""
    return VirtualDesk(igc)


@pytest.fixture(scope="session")
def judge(igc_dir: Path) -> Judge:
    """Trusts the fake IGC-Santé and has its lists."""
    return folder_judge(igc_dir)


@pytest.fixture
def clock() -> Clock:
    """The time that the application sees."""
    return Clock()


@pytest.fixture
def make_app(desk: VirtualDesk, judge: Judge, clock: Clock, tmp_path: Path) -> Iterator[MakeApp]:
    """Makes applications whose watchers stop with the test."""
    made: list[tuple[CpsLogin, Flask]] = []

    def make(name: str = "practice", config: dict[str, Any] | None = None, **parts: Any) -> Flask:
        app = Flask(name)
        app.config.update(
            TESTING=True,
            SECRET_KEY="a key for tests",
            CPS_ORIGIN=ORIGIN,
            CPS_DATABASE=tmp_path / f"{name}.sqlite3",
        )
        app.config.update(config or {})
        given = {"cards": desk.cards, "judge": judge, "clock": clock, **parts}
        login = CpsLogin(app, **given)
        made.append((login, app))
        _add_pages(app)
        return app

    yield make
    for login, app in made:
        login.stop(app)


@pytest.fixture
def visit() -> Callable[[Flask], Visitor]:
    """Gives a new browser at an application."""
    return lambda app: Visitor(app.test_client())


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    """The usual application: every genuine card may come in."""
    return make_app()


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    """A browser without a session, at the usual application."""
    return Visitor(app.test_client())


def _add_pages(app: Flask) -> None:
    @app.get("/me")
    @login_required
    def me() -> Any:
        return jsonify(
            ps_idnat=current_user.ps_idnat,
            name=current_user.display_name,
            profession=current_user.profession,
            card_type=current_user.card_type.name,
            way_in=current_user.way_in.value,
            verified_at=current_user.verified_at.isoformat(),
            trust=current_user.holder.trust,
            account=current_user.account,
        )

    @app.get("/doctors")
    @cps_required(professions={"10"}, card_types={CardType.CPS})
    def doctors() -> str:
        return "for doctors"

    @app.get("/fresh")
    @cps_required(max_age=timedelta(minutes=5))
    def fresh() -> str:
        return "verified just now"

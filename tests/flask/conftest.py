"""A small application behind the card login, a virtual desk, and a browser to visit it."""

from __future__ import annotations

import hashlib
import json
import re
import signal
import subprocess
import tempfile
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from flask import Flask, jsonify, render_template_string
from flask.sessions import SessionMixin
from flask.testing import FlaskClient
from flask_login import current_user, login_required
from werkzeug.test import TestResponse

from cps_auth.flask import CpsLogin, cps_required
from cps_auth.model import CardType
from cps_auth.pki.judge import Judge, folder_judge
from hardware_mocks.igc.fake_igc import FakeIgcSante
from webdemo.desk import VirtualDesk

ORIGIN = "http://127.0.0.1:5000"
PIN = "1234"
NOTICED_WITHIN_S = 5.0
BROWSER_HEADERS = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


@dataclass
class Clock:
    """Tells the time, which a test may move, or stop: requests are counted by the minute."""

    ahead: timedelta = timedelta(0)
    stopped_at: datetime | None = None

    def __call__(self) -> datetime:
        """Return now, aware UTC."""
        return (self.stopped_at or datetime.now(UTC)) + self.ahead

    def stop(self) -> None:
        """Let no time pass any more."""
        self.stopped_at = datetime.now(UTC)


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


def cookie_name(client: FlaskClient) -> str:
    """Return how the application calls its session's cookie."""
    return str(client.application.config["SESSION_COOKIE_NAME"])


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
            card_type=getattr(current_user.card_type, "name", None),
            method=current_user.method,
            verified_at=current_user.verified_at.isoformat(),
            trust=current_user.holder.trust,
            account=current_user.account,
        )

    @app.get("/form")
    @login_required
    def form() -> str:
        return render_template_string("{{ cps_logout_token() }}")

    @app.get("/watched")
    @login_required
    def watched() -> str:
        return render_template_string("{{ cps_watch() }}")

    @app.get("/doctors")
    @cps_required(professions={"10"}, card_types={CardType.CPS})
    def doctors() -> str:
        return "for doctors"

    @app.get("/fresh")
    @cps_required(max_age=timedelta(minutes=5))
    def fresh() -> str:
        return "verified just now"


REMOTE_ORIGIN = "https://practice.test"


@dataclass
class RemoteVisitor:
    """A browser on another machine, with a Web eID extension and a card."""

    client: FlaskClient
    igc: FakeIgcSante
    headers: dict[str, str] = field(default_factory=lambda: dict(BROWSER_HEADERS))
    peer: str = "192.0.2.7"

    def open(self, method: str, path: str, **more: Any) -> TestResponse:
        """Send a request from a page of the origin, unless the headers say otherwise."""
        headers = {"Origin": REMOTE_ORIGIN, **self.headers, **more.pop("headers", {})}
        if method == "GET":
            headers.pop("Origin")
        kept = {name: value for name, value in headers.items() if value is not None}
        return self.client.open(
            path,
            method=method,
            base_url=more.pop("base_url", REMOTE_ORIGIN),
            headers=kept,
            environ_overrides={"REMOTE_ADDR": self.peer, **more.pop("environ", {})},
            **more,
        )

    def page_token(self, page: str = "/cps/login") -> str:
        """Open the login page and return the token of its script."""
        text = self.open("GET", page).text
        found = re.search(r'data-token="([0-9a-f]+)"', text)
        assert found is not None, text
        return found.group(1)

    def challenge(self, token: str | None = None) -> str:
        """Ask for a challenge."""
        answer = self.open(
            "POST",
            "/cps/web-eid/challenge",
            headers={"X-CPS-Token": token or self.page_token()},
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json["nonce"])

    def answer(
        self, nonce: str, persona: str = "doctor", origin: str = REMOTE_ORIGIN, **changes: Any
    ) -> dict[str, Any]:
        """Sign as a card would, by the letter of Web eID; fields replaced by `changes`."""
        card = self.igc.credentials(persona)
        message = b"".join(hashlib.sha256(part.encode()).digest() for part in (origin, nonce))
        value = card.authentication_key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return {
            "unverifiedCertificate": b64encode(card.authentication_certificate_der).decode(),
            "algorithm": "RS256",
            "signature": b64encode(value).decode(),
            "format": "web-eid:1.0",
            "appVersion": "https://cps-auth.test/1.0",
            **changes,
        }

    def send(self, token: dict[str, Any] | bytes, page_token: str, **more: Any) -> TestResponse:
        """Hand a token over."""
        body = token if isinstance(token, bytes) else json.dumps(token).encode()
        headers = {"X-CPS-Token": page_token, "Content-Type": "application/json"}
        headers |= more.pop("headers", {})
        path = more.pop("path", "/cps/web-eid/login")
        return self.open("POST", path, data=body, headers=headers, **more)

    def log_in(
        self, persona: str = "doctor", page: str = "/cps/login", **more: Any
    ) -> TestResponse:
        """Do all of it."""
        page_token = self.page_token(page)
        nonce = self.challenge(page_token)
        return self.send(self.answer(nonce, persona), page_token, **more)

    def is_in(self) -> bool:
        """Whether a page that needs a login is served."""
        return self.open("GET", "/me").status_code == 200


@pytest.fixture
def remote_app(make_app: MakeApp) -> Flask:
    """An application that only takes cards from elsewhere."""
    return make_app("remote", REMOTE, cards=None)


REMOTE = {
    "CPS_ORIGIN": REMOTE_ORIGIN,
    "CPS_WEB_EID": True,
    "CPS_REQUESTS_PER_MINUTE": 10_000,
    "CPS_REFUSALS_BEFORE_LOCKOUT": 10_000,
}


@pytest.fixture
def remote_config() -> dict[str, Any]:
    """Its settings, to be changed."""
    return dict(REMOTE)


@pytest.fixture
def remote_visit(igc: FakeIgcSante) -> Callable[[Flask], RemoteVisitor]:
    """Gives a new browser elsewhere."""
    return lambda app: RemoteVisitor(app.test_client(), igc)


@pytest.fixture
def remote(remote_app: Flask, igc: FakeIgcSante) -> RemoteVisitor:
    """A browser elsewhere, without a session."""
    return RemoteVisitor(remote_app.test_client(), igc)


class RedisServer:
    """A real Redis of one's own, on a Unix socket; killed and started as a test likes."""

    def __init__(self, folder: Path, *arguments: str, password: str | None = None) -> None:
        """Remember how to start it.

        Args:
            folder: what it saves there survives it.
            arguments: more of them, such as ports.
            password: that it asks for.
        """
        self._folder = folder
        self._arguments = [*arguments, *(("--requirepass", password) if password else ())]
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder / 'redis.sock'}"

    def start(self) -> None:
        """Start it on what it saved, and wait until it answers."""
        arguments = ["--port", "0", "--unixsocket", "redis.sock", "--dir", str(self._folder)]
        arguments += ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        arguments += self._arguments
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                ["redis-server", *arguments], cwd=self._folder, stdout=log, stderr=log
            )
        client = redis.Redis.from_url(self.url, password=self._password)
        deadline = time.monotonic() + 20
        while True:
            try:
                if client.ping():
                    break
            except redis.RedisError:
                assert time.monotonic() < deadline, (self._folder / "log").read_text()
                time.sleep(0.01)
        client.close()

    def pause(self) -> None:
        """Let it hang: connections are accepted, and nothing is answered."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a chance to tidy up."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(20)
        (self._folder / "redis.sock").unlink(missing_ok=True)

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.kill()


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """A running Redis."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:  # a short path for a socket
        server = RedisServer(Path(folder))
        server.start()
        yield server
        server.stop()

"""Starts the application under a WSGI server of one's choice, and visits it over HTTP."""

from __future__ import annotations

import http.client
import http.cookies
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.free_ports import free_port

APP = "tests.flask.servers.practice:app"
ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent
_DEADLINE_S = 60.0


@dataclass
class Browser:
    """A browser on the machine that has the reader: one connection per request."""

    port: int
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> str:
        """Return what its address bar shows."""
        return f"http://127.0.0.1:{self.port}"

    def open(self, method: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """Send a request as a browser does; keep the cookies that come back.

        Returns:
            Status, and the text or where a redirect leads.
        """
        headers = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
        body = None
        if form is not None:
            headers |= {"Origin": self.origin, "Content-Type": "application/x-www-form-urlencoded"}
            body = urlencode(form)
        headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_DEADLINE_S)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        for line in answer.headers.get_all("Set-Cookie") or ():
            for name, morsel in http.cookies.SimpleCookie(line).items():
                self.cookies[name] = morsel.value
        return answer.status, answer.headers.get("Location") or text

    def form(self) -> dict[str, str]:
        """Open the login page and return the hidden fields of its form."""
        status, text = self.open("GET", "/cps/login?next=/")
        assert status == 200, text
        return dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text))

    def log_in(self, pin: str = "1234") -> tuple[int, str]:
        """Send the PIN."""
        return self.open("POST", "/cps/login", {**self.form(), "pin": pin})


Serve = Callable[..., Browser]


@pytest.fixture
def serve(igc_dir: Path, tmp_path: Path) -> Iterator[Serve]:
    """Start a server, wait until it answers, give a browser; its log is in `tmp_path/log`."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str, app: str = APP, **settings: str) -> Browser:
        port = free_port()
        environment = {
            **os.environ,
            "PRACTICE_PKI": str(igc_dir),
            "FLASK_SECRET_KEY": "a key for tests",
            "FLASK_CPS_ORIGIN": f"http://127.0.0.1:{port}",
            "FLASK_CPS_DATABASE": str(tmp_path / "practice.sqlite3"),
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        filled = [part.format(port=port, app=app) for part in command]
        program = [str(BIN / filled[0]), *filled[1:]]
        with (tmp_path / "log").open("wb") as log:
            running.append(
                subprocess.Popen(program, cwd=tmp_path, env=environment, stdout=log, stderr=log)
            )
        browser = Browser(port)
        _await(browser, running[-1], tmp_path / "log")
        return browser

    yield start
    for process in running:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _await(browser: Browser, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _DEADLINE_S
    while True:
        try:
            browser.open("GET", "/open")
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        else:
            return

"""A display nobody sees, the real card program on it, hands that type, and a practice's site."""

from __future__ import annotations

import json
import os
import re
import select
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from cps_auth.native_host.callers import OURS_CHROMIUM
from tests.x_server import x_server

PROGRAM = Path(sys.prefix) / "bin" / "cps-auth-native-host"
DEADLINE_S = 30.0
DEAF_S = 0.5  # a little more than in pin_window_program


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """An X server on a free number."""
    with x_server("1000x700x24", "-noreset") as name:
        yield name


class Hands:
    """Types into the PIN window and looks at it, by xdotool."""

    def __init__(self, display: str) -> None:
        self._env = {**os.environ, "DISPLAY": display}
        self.display = display

    def xdotool(self, *arguments: str) -> str:
        """Run one command of xdotool; nothing when it fails."""
        done = subprocess.run(
            ["xdotool", *arguments], env=self._env, capture_output=True, text=True, check=False
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def wait_for_window(self) -> None:
        """Wait until the window is there, has the keyboard, and takes what is typed."""
        self.until(lambda: "carte" in self.xdotool("getwindowfocus", "getwindowname").lower())
        time.sleep(DEAF_S)  # it drops what a hand types that was meant for another window

    def wait_for_no_window(self) -> None:
        """Wait until it is gone."""
        self.until(lambda: not self.xdotool("search", "--onlyvisible", "--class", "Cps-auth"))

    def type(self, keys: str) -> None:
        """Type digits."""
        self.wait_for_window()
        self.xdotool("type", "--delay", "20", keys)

    def press(self, *keys: str) -> None:
        """Press named keys."""
        self.xdotool("key", "--delay", "20", *keys)

    def until(self, condition: Callable[[], bool]) -> None:
        """Wait for what another process does, with a deadline."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)


@pytest.fixture
def hands(display: str) -> Hands:
    """Hands at the display."""
    return Hands(display)


class HostProcess:
    """The card program as a browser runs it."""

    def __init__(self, env: dict[str, str], *arguments: str) -> None:
        self.process = subprocess.Popen(
            [str(PROGRAM), *(arguments or (f"chrome-extension://{OURS_CHROMIUM[0]}/",))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            bufsize=0,
        )

    def send(self, message: Any) -> None:
        """Send a message, or raw bytes."""
        text = message if isinstance(message, bytes) else json.dumps(message).encode()
        self.send_raw(struct.pack("=I", len(text)) + text)

    def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def read(self, timeout_s: float = DEADLINE_S) -> dict[str, Any] | None:
        """Return the next message; None at the end."""
        head = self._read(4, timeout_s)
        if len(head) < 4:
            return None
        message: dict[str, Any] = json.loads(self._read(struct.unpack("=I", head)[0], timeout_s))
        return message

    def _read(self, length: int, timeout_s: float) -> bytes:
        assert self.process.stdout is not None
        data = b""
        while len(data) < length:
            ready, _, _ = select.select([self.process.stdout], [], [], timeout_s)
            assert ready, "the card program did not answer in time"
            part = self.process.stdout.read(length - len(data))
            if not part:
                break
            data += part
        return data

    def close(self) -> int:
        """Close the pipes as a browser does, and wait for the end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            for pipe in (self.process.stdout, self.process.stderr):
                assert pipe is not None
                pipe.close()


@pytest.fixture
def start_host(display: str) -> Iterator[Callable[..., HostProcess]]:
    """Starts the card program; ends what a test left running."""
    started: list[HostProcess] = []

    def start(*arguments: str) -> HostProcess:
        started.append(HostProcess({**os.environ, "DISPLAY": display}, *arguments))
        return started[-1]

    yield start
    for host in started:
        if host.process.poll() is None:
            host.process.kill()
            host.process.wait(DEADLINE_S)
        for pipe in (host.process.stdin, host.process.stdout, host.process.stderr):
            if pipe is not None:
                pipe.close()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for localhost that nobody has to believe."""
    crt, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", str(key), "-out",
         str(crt), "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost"],
        check=True, capture_output=True,
    )  # fmt: skip
    return crt, key


def _application(folder: Path, igc_dir: Path, settings: dict[str, str]) -> Flask:
    """Run the first block of docs/flask.md: the application of fifteen lines."""
    text = (Path(__file__).parents[3] / "docs" / "flask.md").read_text()
    block = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    assert len(block.splitlines()) <= 15
    settings = {
        "SECRET_KEY": "a key for tests",
        "CPS_DATABASE": str(folder / "sessions.sqlite3"),
        "CPS_TRUST": str(igc_dir),
        **settings,
    }
    names: dict[str, Any] = {"__name__": "practice"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(f"FLASK_{name}", value)
        exec(compile(block, "docs/flask.md", "exec"), names)  # noqa: S102  (our own document)
    app = names["app"]
    assert isinstance(app, Flask)
    return app


@contextmanager
def _serving(make: Callable[[int], Flask], context: ssl.SSLContext | None) -> Iterator[Flask]:
    server = make_server("127.0.0.1", 0, Flask("none"), threaded=True, ssl_context=context)
    server.app = make(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.app
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        server.app.extensions["cps_login"].methods["local-reader"].stop()


@pytest.fixture
def served_here(igc_dir: Path, tmp_path: Path) -> Iterator[tuple[str, Flask]]:
    """The application of the documentation on loopback, for the card beside it."""

    def make(port: int) -> Flask:
        return _application(tmp_path, igc_dir, {"CPS_ORIGIN": f"http://127.0.0.1:{port}"})

    with _serving(make, None) as app:
        yield app.config["CPS_ORIGIN"], app


@pytest.fixture
def served(
    igc_dir: Path, certificate: tuple[Path, Path], tmp_path: Path
) -> Iterator[tuple[str, Flask]]:
    """The same behind TLS, for cards elsewhere."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def make(port: int) -> Flask:
        settings = {"CPS_ORIGIN": f"https://localhost:{port}", "CPS_WEB_EID": "true"}
        return _application(tmp_path, igc_dir, settings)

    with _serving(make, context) as app:
        # The browser is on this machine too: what a remote one sees is one click away.
        yield app.config["CPS_ORIGIN"], app

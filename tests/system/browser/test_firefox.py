"""Firefox too: our extension, the card program, a card. Driven by its own Marionette protocol."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

pytestmark = [
    pytest.mark.system,
    pytest.mark.timeout(300),
    pytest.mark.skipif(shutil.which("firefox-esr") is None, reason="firefox-esr is not installed"),
]

EXTENSION = Path(__file__).parents[3] / "webextension"
DEADLINE_S = 150.0
"""Firefox alone starts in five seconds; beside the rest of the suite it took sixty once."""
NOTICED_WITHIN_S = 1.0
IDLE_S = 0.5
"""Firefox ends an extension's page after so long without work; thirty seconds by itself."""

PREFERENCES = {
    "marionette.port": 0,  # a free one, which it writes into the profile
    "extensions.background.idle.timeout": round(IDLE_S * 1000),
    "intl.accept_languages": "fr",
    "datareporting.policy.dataSubmissionEnabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
}


class Firefox:
    """One headless Firefox with a profile of its own."""

    def __init__(self, home: Path, env: dict[str, str]) -> None:
        profile = home / "profile"
        profile.mkdir()
        (profile / "user.js").write_text(
            "".join(
                f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
                for name, value in PREFERENCES.items()
            )
        )
        command = ["firefox-esr", "--headless", "--no-remote", "--marionette"]
        self._log = home / "firefox.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*command, "--profile", str(profile)],
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._unread = b""
        self._socket: socket.socket | None = None
        try:
            self._socket = self._connect(profile / "MarionetteActivePort")
            self._receive()  # its greeting
            self.do("WebDriver:NewSession", acceptInsecureCerts=True)
            self.do("Addon:Install", path=str(EXTENSION), temporary=True)
        except BaseException:
            self.close()
            raise

    def do(self, command: str, **parameters: object) -> Any:
        """Send a command of Marionette and return its result."""
        assert self._socket is not None
        message = json.dumps([0, 1, command, parameters]).encode()
        self._socket.sendall(b"%d:%b" % (len(message), message))
        _, _, error, result = self._receive()
        assert error is None, error
        return result

    def _receive(self) -> Any:
        assert self._socket is not None
        while b":" not in self._unread:
            self._unread += self._socket.recv(65536)
        length, _, rest = self._unread.partition(b":")
        while len(rest) < int(length):
            rest += self._socket.recv(65536)
        self._unread = rest[int(length) :]
        return json.loads(rest[: int(length)])

    def run(self, script: str) -> Any:
        """Return what a script in the page returns."""
        return self.do("WebDriver:ExecuteScript", script=script, args=[])["value"]

    @property
    def heading(self) -> str:
        """Return the page's first heading."""
        return str(self.run("return document.querySelector('h1')?.textContent.trim() ?? '';"))

    def _connect(self, port_file: Path) -> socket.socket:
        deadline = time.monotonic() + DEADLINE_S
        while not (port_file.exists() and port_file.read_text()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = self._log.read_text(errors="replace")[-3000:]
                pytest.fail(f"Firefox did not start, {self._process.returncode}:\n{said}")
            time.sleep(0.05)
        return socket.create_connection(("127.0.0.1", int(port_file.read_text())), DEADLINE_S)

    def close(self) -> None:
        """End it."""
        if self._socket is not None:
            self._socket.close()
        self._process.terminate()
        self._process.wait(DEADLINE_S)


@pytest.fixture
def firefox(display: str, private_pcscd: Any) -> Iterator[Firefox]:
    """Firefox with our extension, in a home where `cps-auth browser install` was run."""
    with tempfile.TemporaryDirectory(prefix="home-", ignore_cleanup_errors=True) as home:
        env = {**private_pcscd.env, "DISPLAY": display, "HOME": home}
        env.pop("XDG_CONFIG_HOME", None)
        install = [sys.executable, "-m", "cps_auth", "browser", "install", "--browser", "firefox"]
        subprocess.run(install, env=env, check=True, capture_output=True)
        running = Firefox(Path(home), env)
        try:
            yield running
        finally:
            running.close()


def test_a_login_in_firefox_ends_when_the_card_is_pulled(
    firefox: Firefox, served: tuple[str, Flask], private_pcscd: Any, hands: Any
) -> None:
    """The extension's page outlives Firefox's patience with idle ones as long as it watches."""
    origin, app = served
    inserted = private_pcscd.insert()
    firefox.do("WebDriver:Navigate", url=f"{origin}/cps/login?remote=1")
    time.sleep(2 * IDLE_S)  # its page sleeps now, and is not just falling asleep
    firefox.run("document.getElementById('cps-web-eid').click();")
    hands.type("1234")
    hands.press("Return")
    hands.until(lambda: firefox.heading == "Camille LAVERGNE")
    time.sleep(3 * IDLE_S)  # that the session outlives this is what is tested
    assert firefox.heading == "Camille LAVERGNE"
    inserted.remove()
    private_pcscd.await_empty(inserted.reader)
    pulled_at = time.monotonic()
    state = app.extensions["cps_login"]
    hands.until(lambda: not state.stores.sessions.live(at=state.clock()))
    assert time.monotonic() - pulled_at < NOTICED_WITHIN_S
    hands.until(lambda: firefox.heading == "Carte retirée, session fermée")

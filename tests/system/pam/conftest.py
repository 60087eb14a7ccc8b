"""A PC with everything installed in a folder: daemon, PAM stack, accounts; on a private pcscd."""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import (
    DBusAddress,
    MatchRule,
    Message,
    MessageType,
    Properties,
    new_method_call,
)
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

import pam_helper
from hardware_mocks.personas import PERSONAS
from tests.x_server import x_server

PrivatePcscd = Any  # the fixture's class lives in conftest.py, which is no module to import

ACCOUNT = "games"
"""An ordinary account that every Debian has."""
OWN_SERVICES = ("cps-auth", "whole", "then-yes", "then-no", "typo", "other-way")
"""What the tests call as services; the administrator has named them."""
RUN_FOLDER, SETTINGS, STACKS = Path("/run/cps-auth"), Path("/etc/cps-auth"), "/etc/pam.d"
SHARE = Path(pam_helper.__file__).parent / "share"
DEADLINE_S = 20.0
_LOGIND, _MANAGER = "org.freedesktop.login1", "/org/freedesktop/login1"
_SESSION = "org.freedesktop.login1.Session"

SECURITY = str(next(Path("/usr/lib").glob("*/security/pam_unix.so")).parent)

_IN_PRIVATE_MOUNTS = (
    f"SECURITY={SECURITY}"
    + """
mount --bind "$1/etc/pam.d" /etc/pam.d &&
mount --bind "$1/run" /run/cps-auth &&
mount --bind "$1/etc/cps-auth" /etc/cps-auth &&
mount --bind "$1$SECURITY" "$SECURITY" &&
shift && exec "$@"
"""
)
_PRIVATE_MOUNTS = ("unshare", "-m", "sh", "-c", _IN_PRIVATE_MOUNTS, "sh")


class InstalledPc:
    """What `install` puts on a PC, in a folder, with the daemon running on it."""

    def __init__(self, root: Path, trust: Path, env: dict[str, str]) -> None:
        self.root = root
        self.env = env | {"PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
        self.trust = trust
        self._daemon: subprocess.Popen[bytes] | None = None
        self.output = b""  # of everything that ran
        self.state = root / "run"
        shutil.copytree(STACKS, root / "etc/pam.d")
        for folder in ("run", "etc/cps-auth", "var/lib/cps-auth"):
            (root / folder).mkdir(parents=True)
        root.chmod(0o755)
        shutil.copytree(SECURITY, root / SECURITY[1:])
        make = ["make", "-s", "-C", str(SHARE / "pam_cps"), f"OUT={root}{SECURITY}/pam_cps.so"]
        subprocess.run(make, check=True, timeout=60)
        for stack in (SHARE / "pam.d").iterdir():
            shutil.copy(stack, root / "etc/pam.d")
        self.speak("en")

    def speak(self, language: str, settings: str = "") -> None:
        """Write the settings in a language, which is that of daemon and module."""
        named = ", ".join(f'"{name}"' for name in OWN_SERVICES)
        text = f'language = "{language}"\n{settings}\n[pam]\nlockers = [{named}]\n'
        (self.root / "etc/cps-auth/config.toml").write_text(text)

    @property
    def daemon_pid(self) -> int:
        """Process id of the running daemon."""
        assert self._daemon is not None
        return self._daemon.pid

    def _paths(self) -> list[str]:
        folder = self.root / "etc/cps-auth"
        return [
            *("--config", str(folder / "config.toml")),
            *("--accounts", str(folder / "accounts.toml")),
            *("--trust", str(self.trust)),
        ]

    def run(
        self, *arguments: str, stdin: bytes = b"", module: str = "cps_auth"
    ) -> subprocess.CompletedProcess[bytes]:
        """Run `cps-auth`, or another module of the product."""
        done = subprocess.run(
            [sys.executable, "-m", module, "--debug", *arguments],
            input=stdin,
            env=self.env,
            capture_output=True,
            timeout=60,
            check=False,
        )
        self.output += done.stdout + done.stderr
        return done

    def enrol(self, account: str = ACCOUNT, pin: bytes = b"1234\n") -> int:
        """Enrol the card in the reader."""
        return self.run("pc", "enrol", account, *self._paths(), "--pin-stdin", stdin=pin).returncode

    def allow(self, persona: str, account: str = ACCOUNT) -> None:
        """Map a persona whose card cannot be enrolled."""
        with (self.root / "etc/cps-auth/accounts.toml").open("a") as file:
            file.write(f'[[holder]]\nps_idnat = "{PERSONAS[persona].ps_idnat}"\n')
            file.write(f'accounts = ["{account}"]\n')

    def check(self, *options: str) -> dict[str, bool]:
        """Return what `check` found, by link."""
        socket_path = str(self.root / "run/auth.sock")
        words = ("pc", "check", *self._paths(), "--socket", socket_path, "--json", *options)
        (line,) = self.run(*words).stdout.splitlines()
        return {found["link"]: found["ok"] for found in json.loads(line)["findings"]}

    def daemon_arguments(self) -> list[str]:
        """Return what makes the daemon this PC's own."""
        run = self.root / "run"
        codes = self.root / "var/lib/cps-auth/codes.json"
        return [
            *self._paths(),
            *(
                "--state",
                str(self.state),
                "--socket",
                str(run / "auth.sock"),
                "--codes",
                str(codes),
            ),
        ]

    def start_daemon(self, **environment: str) -> None:
        """Start the daemon where this PC's files are, and wait for its READY=1."""
        program = [sys.executable, "-m", "pam_helper", "--debug", "daemon"]
        command = self.in_private_mounts(*program, *self.daemon_arguments())
        with (
            tempfile.TemporaryDirectory() as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified,
        ):
            notified.bind(f"{folder}/notify")
            notified.settimeout(0.1)
            with (self.root / "log").open("ab") as log:
                self._daemon = subprocess.Popen(
                    command,
                    env=self.env | {"NOTIFY_SOCKET": f"{folder}/notify"} | environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            deadline_s = time.monotonic() + DEADLINE_S
            while True:
                with contextlib.suppress(TimeoutError):
                    assert notified.recv(100) == b"READY=1", self.log()
                    return
                assert self._daemon.poll() is None, self.log()
                assert time.monotonic() < deadline_s, self.log()

    def end_daemon(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the daemon and return its exit code."""
        if self._daemon is None:
            return 0
        self._daemon.send_signal(number)
        code = self._daemon.wait(DEADLINE_S)
        self._daemon = None
        return code

    def lock_up(self) -> None:
        """Do what systemd does behind a daemon that has died."""
        program = [sys.executable, "-I", "-m", "pam_helper.lock_up"]
        config = str(self.root / "etc/cps-auth/config.toml")
        with (self.root / "log").open("ab") as log:
            subprocess.run(
                self.in_private_mounts(*program, config, str(self.state)),
                env=self.env | {"SERVICE_RESULT": "signal"},
                stdout=log,
                stderr=log,
                timeout=60,
                check=True,
            )

    def log(self) -> str:
        """Return what the daemons of this PC have written."""
        path = self.root / "log"
        return path.read_text() if path.exists() else ""

    def in_private_mounts(self, *command: str) -> list[str]:
        """Return a command that sees this PC's PAM files and socket in the system's places."""
        return [*_PRIVATE_MOUNTS, str(self.root), *command]

    def pam(
        self,
        *answers: str,
        account: str = ACCOUNT,
        service: str = "cps-auth",
        as_user: str | None = None,
        host: str = "",
        calls: str = "authenticate",
    ) -> dict[str, Any]:
        """Play a login program; return PAM's codes by call, and what was said and asked."""
        asker = ["setpriv", f"--reuid={as_user}", "--clear-groups"] if as_user else []
        script = str(self.root / "pam_program.py")
        shutil.copy(Path(__file__).parent / "pam_program.py", script)
        done = subprocess.run(
            self.in_private_mounts(
                *asker, "/usr/bin/python3", script, service, account, host, calls, *answers
            ),
            stdin=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        self.output += done.stderr
        return dict(json.loads(done.stdout))

    def pamtester(
        self,
        typed: bytes,
        account: str = ACCOUNT,
        as_user: str | None = None,
        service: str = "cps-auth",
    ) -> tuple[bool, str]:
        """Authenticate with the shipped stack; return whether it succeeded, and what it said."""
        asker = ["setpriv", f"--reuid={as_user}", "--clear-groups"] if as_user else []
        command = ["pamtester", service, account, "authenticate"]
        done = subprocess.run(
            self.in_private_mounts(*asker, *command),
            input=typed,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
            capture_output=True,
            timeout=60,
            check=False,
        )
        self.output += done.stdout + done.stderr
        said = (done.stdout + done.stderr).decode()
        assert (done.returncode == 0) == ("successfully authenticated" in said)
        return done.returncode == 0, said


@pytest.fixture
def pc(private_pcscd: PrivatePcscd, igc_dir: Path) -> Iterator[InstalledPc]:
    """An installed PC; its daemon does not run yet."""
    for folder in (RUN_FOLDER, SETTINGS):
        folder.mkdir(exist_ok=True)  # something to mount upon
    bus = {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nonexistent"}
    with tempfile.TemporaryDirectory(prefix="pc-") as name:
        pc = InstalledPc(Path(name), igc_dir, private_pcscd.env | bus)
        try:
            yield pc
        finally:
            pc.end_daemon(signal.SIGKILL)


@pytest.fixture
def enrolled(pc: InstalledPc, private_pcscd: PrivatePcscd) -> InstalledPc:
    """The doctor's card is in, enrolled for the account, and the daemon runs."""
    private_pcscd.insert()
    assert pc.enrol() == 0
    pc.start_daemon()
    return pc


class MockLogind:
    """python-dbusmock's logind on a bus of its own, and a desktop that sets LockedHint."""

    def __init__(self, address: str, account: str, bus_pid: int) -> None:
        self.address = address
        self.bus_pid = bus_pid
        self._account = account
        self._bus = open_dbus_connection(address)

    def session(self, session_id: str, *, kind: str = "x11") -> str:
        """Open a session of the account; return its object path."""
        user = pwd.getpwnam(self._account)
        arguments = (session_id, "seat0", user.pw_uid, self._account, True)
        (path,) = self._mock("AddSession", "ssusb", *arguments)
        self.set(path, Type=kind)
        return str(path)

    def set(self, path: str, **properties: str) -> None:
        """Set string properties of a session."""
        values = {name: ("s", value) for name, value in properties.items()}
        self._mock("UpdateProperties", "sa{sv}", _SESSION, values, path=path)

    def emit(self, member: str, signature: str, *arguments: Any) -> None:
        """Send a signal of the manager's."""
        interface = "org.freedesktop.login1.Manager"
        call = (interface, member, signature, [(signature[i], a) for i, a in enumerate(arguments)])
        self._mock("EmitSignal", "sssav", *call)

    def inhibitors(self) -> int:
        """Return how often a delay inhibitor was asked for."""
        (calls,) = self._mock("GetMethodCalls", "s", "Inhibit")
        return len(calls)

    def set_idle(self, path: str) -> None:
        """Do as a session that nobody has used for a while."""
        values = {"IdleHint": ("b", True)}
        self._mock("UpdateProperties", "sa{sv}", _SESSION, values, path=path)

    def end(self, path: str) -> None:
        """Take a session away, as logind does when it is over."""
        self._mock("RemoveObject", "s", path)

    def locked_hint(self, path: str) -> bool:
        """Return the session's LockedHint."""
        address = DBusAddress(path, bus_name=_LOGIND, interface=_SESSION)
        ((_, value),) = self._call(Properties(address).get("LockedHint"))
        return bool(value)

    def set_locked_hint(self, path: str, locked: bool) -> None:
        """Do as a desktop that has covered, or uncovered, its screen."""
        address = DBusAddress(path, bus_name=_LOGIND, interface=_SESSION)
        self._call(new_method_call(address, "SetLockedHint", "b", (locked,)))

    def calls(self, path: str) -> list[str]:
        """Return the methods of a session that were called."""
        (calls,) = self._mock("GetCalls", "", path=path)
        return [str(name) for _, name, _ in calls]

    def obey(self, path: str) -> threading.Thread:
        """Set LockedHint once, as soon as the session's Lock signal comes."""
        listening = open_dbus_connection(self.address)
        rule = MatchRule(type="signal", interface=_SESSION, member="Lock", path=path)
        listening.send_and_get_reply(message_bus.AddMatch(rule), timeout=DEADLINE_S)

        def run() -> None:
            with listening, listening.filter(rule) as signals:
                listening.recv_until_filtered(signals, timeout=DEADLINE_S)
            with open_dbus_connection(self.address) as bus:
                address = DBusAddress(path, bus_name=_LOGIND, interface=_SESSION)
                call = new_method_call(address, "SetLockedHint", "b", (True,))
                bus.send_and_get_reply(call, timeout=DEADLINE_S)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def close(self) -> None:
        """Leave the bus."""
        self._bus.close()

    def _mock(self, method: str, signature: str, *arguments: Any, path: str = _MANAGER) -> Any:
        address = DBusAddress(path, bus_name=_LOGIND, interface="org.freedesktop.DBus.Mock")
        return self._call(new_method_call(address, method, signature, arguments))

    def _call(self, message: Message) -> Any:
        reply = self._bus.send_and_get_reply(message, timeout=DEADLINE_S)
        assert reply.header.message_type is not MessageType.error, reply.body
        return reply.body


@pytest.fixture
def display() -> Iterator[str]:
    """An X server of one's own, without a screen."""
    with x_server("640x480x24", "-nolisten", "tcp", "-wr") as name:
        yield name


@pytest.fixture
def logind(pc: InstalledPc) -> Iterator[MockLogind]:
    """A logind that only this PC sees; it has no sessions yet."""
    address = f"unix:path={pc.root}/bus"
    bus = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", f"--address={address}", "--print-address"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert bus.stdout is not None
        bus.stdout.readline()
        env = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": address}
        mock = subprocess.Popen(
            ["/usr/bin/python3", "-m", "dbusmock", "--system", "--template", "logind"],
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await_name(address)
            pc.env["DBUS_SYSTEM_BUS_ADDRESS"] = address
            yield (logind := MockLogind(address, ACCOUNT, bus.pid))
            logind.close()
        finally:
            pc.end_daemon(signal.SIGKILL)
            mock.terminate()
            mock.wait(DEADLINE_S)
    finally:
        bus.terminate()
        bus.communicate(timeout=DEADLINE_S)


def _await_name(address: str) -> None:
    """Wait until logind's name is on the bus."""
    deadline_s = time.monotonic() + DEADLINE_S
    with open_dbus_connection(address) as bus:
        while True:
            reply = bus.send_and_get_reply(message_bus.NameHasOwner(_LOGIND), timeout=DEADLINE_S)
            if reply.body[0]:
                return
            assert time.monotonic() < deadline_s, "the mock logind did not start"
            time.sleep(0.02)

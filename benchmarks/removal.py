"""From the card's removal to the lock, beside pkcs11_eventmgr watching the same reader.

A private pcscd with an emulated reader, a virtual CPS3, a mock logind on a private bus. Both sides
run the same command, which writes down the time; a bare SCardGetStatusChange tells when PC/SC
reported the removal. pkcs11_eventmgr comes from Debian, unpacked into a folder. Needs root.
"""

from __future__ import annotations

import atexit
import os
import pwd
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.io.blocking import open_dbus_connection

from benchmarks.unlock import UNLIMITED_DAEMON
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.vpcd.slot import VpcdSlot
from tests.free_ports import free_pair_of_ports
from tests.pcscd_command import pcscd_command
from tests.x_server import x_server

ACCOUNT = "games"
ROUNDS = 20
MODULE = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"
PEER = "libpam-pkcs11"
_WITHIN_S = 30.0
_PEER_KNOWS_S = 1.5
_LOGIND = "org.freedesktop.login1"

_EVENTS = """
pkcs11_eventmgr {{
  daemon = false; debug = false; polling_time = 1; expire_time = 0;
  pkcs11_module = {module};
  event card_insert {{ on_error = ignore; action = "/bin/true"; }}
  event card_remove {{ on_error = ignore; action = "{lock}"; }}
  event expire_time {{ on_error = ignore; action = "/bin/true"; }}
}}
"""


@dataclass(frozen=True)
class Delays:
    """Seconds after PC/SC's report, one per removal, of both sides."""

    title: str
    ours_s: tuple[float, ...]
    peer_s: tuple[float, ...]

    def __str__(self) -> str:
        return (
            f"{self.title}\n  cps-auth's daemon: {_spread(self.ours_s)}\n"
            f"  pkcs11_eventmgr, polling_time 1: {_spread(self.peer_s)}\n"
        )


def _spread(seconds: tuple[float, ...]) -> str:
    last_of_twenty = statistics.quantiles(seconds, n=20)[-1]
    return f"median {statistics.median(seconds) * 1e3:.1f} ms, 95 % {last_of_twenty * 1e3:.1f} ms"


class Pc:
    """The reader, the bus, the daemon and its peer; each removal is seen by both."""

    def __init__(self, igc: FakeIgcSante, pki: Path, stack: ExitStack, *, screen: bool) -> None:
        self._stack = stack
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="removal-")))
        self._folder.chmod(0o755)
        self._marks = self._folder / "marks"
        self._marks.mkdir()
        self._marks.chmod(0o777)
        self._displays = (
            [
                stack.enter_context(x_server("640x480x24", "-nolisten", "tcp", "-wr"))
                for _ in range(2)
            ]
            if screen
            else []
        )
        self._start_pcscd()
        self._start_bus()
        self._start_daemon(pki)
        self._card = VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"), "cps3")
        self._peer = self._unpack_peer()

    def _run(self, *command: object, **environment: str) -> subprocess.Popen[bytes]:
        with (self._folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **environment},
            )
        self._stack.callback(_end, process)
        return process

    def _start_pcscd(self) -> None:
        port = free_pair_of_ports()
        pcscd = _pcscd_folder()
        os.environ["PCSCLITE_CSOCK_NAME"] = str(pcscd / "pcscd.comm")
        self._run(*pcscd_command(pcscd, port))
        self._slot = VpcdSlot(("127.0.0.1", port))
        _await(lambda: len(_states()) > 0, "a reader")
        self._reader = min(_states())

    def _start_bus(self) -> None:
        address = f"unix:path={self._folder}/bus"
        os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = address
        self._run("dbus-daemon", "--session", "--nofork", f"--address={address}")
        _await((self._folder / "bus").exists, "a bus")
        self._run("/usr/bin/python3", "-m", "dbusmock", "--system", "--template", "logind")
        bus = self._stack.enter_context(open_dbus_connection(address))
        manager = "/org/freedesktop/login1"

        def mock(method: str, signature: str, *arguments: object, path: str = manager) -> bool:
            place = DBusAddress(path, bus_name=_LOGIND, interface="org.freedesktop.DBus.Mock")
            call = new_method_call(place, method, signature, arguments)
            self._answer = bus.send_and_get_reply(call, timeout=_WITHIN_S)
            return self._answer.header.message_type is not MessageType.error

        uid = pwd.getpwnam(ACCOUNT).pw_uid
        session = ("AddSession", "ssusb", "c1", "seat0", uid, ACCOUNT, True)
        _await(lambda: mock(*session), "a session")
        (path,) = self._answer.body
        display = self._displays[0] if self._displays else ":77"
        values = {"Type": ("s", "x11"), "Display": ("s", display)}
        if not mock("UpdateProperties", "sa{sv}", f"{_LOGIND}.Session", values, path=path):
            raise RuntimeError(self._answer.body)

    def _lock_command(self, mark: str) -> str:
        cover = "i3lock && " if self._displays else ""
        place = self._marks / mark
        return f"{cover}date +%s%N > {place}.new && mv {place}.new {place}"

    def _start_daemon(self, pki: Path) -> None:
        (self._folder / "config.toml").write_text(
            'language = "en"\n[lock]\nlockers = ["command"]\n'
            f'command = ["/bin/sh", "-c", "{self._lock_command("ours")}"]\n'
        )
        (self._folder / "accounts.toml").write_text(
            f'[[holder]]\nps_idnat = "{PERSONAS["doctor"].ps_idnat}"\naccounts = ["{ACCOUNT}"]\n'
        )
        self._socket = self._folder / "auth.sock"
        places = ("config", "config.toml"), ("accounts", "accounts.toml"), ("codes", "codes.json")
        options = [f"--{name}={self._folder / file}" for name, file in places]
        options += [f"--state={self._folder}/state", f"--socket={self._socket}", f"--trust={pki}"]
        self._run(sys.executable, "-c", UNLIMITED_DAEMON, "daemon", *options)
        _await(lambda: self._asks(b"cps1 ping x x\n"), "the daemon")

    def _asks(self, request: bytes, secret: bytes = b"") -> bytes:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            if asking.connect_ex(str(self._socket)) != 0:
                return b""
            asking.sendall(request + secret)
            return b"".join(iter(lambda: asking.recv(4096), b""))

    def _unpack_peer(self) -> tuple[object, ...]:
        subprocess.run(["apt-get", "-qq", "download", PEER], cwd=self._packages(), check=True)
        for package in self._packages().glob("*.deb"):
            subprocess.run(["dpkg", "-x", package, self._folder / "peer"], check=True)
        lock = self._folder / "peer-locks"
        display = self._displays[1] if self._displays else ":77"
        lock.write_text(f"#!/bin/sh\nexport DISPLAY={display}\n{self._lock_command('peer')}\n")
        lock.chmod(0o755)
        (self._folder / "events.conf").write_text(_EVENTS.format(module=MODULE, lock=lock))
        program = next((self._folder / "peer").glob("**/pkcs11_eventmgr"))
        return program, "nodaemon", f"config_file={self._folder}/events.conf"

    def _packages(self) -> Path:
        folder = self._folder / "packages"
        folder.mkdir(exist_ok=True)
        folder.chmod(0o777)  # apt fetches as a user of its own
        return folder

    def pull_once(self) -> tuple[float, float]:
        """Insert, log in, pull at any moment; return both delays after PC/SC's report."""
        for mark in self._marks.iterdir():
            mark.unlink()
        self._slot.insert(self._card)
        _await(lambda: (_states().get(self._reader) or [0])[0] & _PRESENT, "the card")
        answer = self._asks(f"cps1 verify {ACCOUNT} login\n".encode(), b"\x041234")
        if not answer.startswith(b"PAM_SUCCESS"):
            raise RuntimeError(answer.decode() + (self._folder / "log").read_text()[-2000:])
        _end_lockers(self._displays)  # of the last round: one that goes before is put back
        peer = self._run(*self._peer)  # it sees a change of what it found at its start
        time.sleep(_PEER_KNOWS_S + secrets.randbelow(1000) / 1000)  # at any moment of its second
        reported: list[float] = []
        watching = threading.Thread(target=lambda: reported.append(_wait_for_removal(self._reader)))
        watching.start()
        self._slot.pull()
        watching.join(_WITHIN_S)
        delays = tuple(self._marked_s(mark) - reported[0] for mark in ("ours", "peer"))
        _end(peer)
        return delays[0], delays[1]

    def _marked_s(self, mark: str) -> float:
        _await((self._marks / mark).exists, mark)
        return int((self._marks / mark).read_text()) / 1e9


@cache
def _pcscd_folder() -> Path:
    """Return one folder for the whole process: libpcsclite looks its socket up once."""
    folder = tempfile.mkdtemp(prefix="pcscd-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


_PRESENT = 0x20  # SCARD_STATE_PRESENT


def _states() -> dict[str, tuple[int, list[int]]]:
    from smartcard import scard

    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    if result != 0:
        return {}
    try:
        _, readers = scard.SCardListReaders(context, [])
        asked = [(reader, scard.SCARD_STATE_UNAWARE) for reader in readers]
        result, states = scard.SCardGetStatusChange(context, 0, asked) if asked else (0, [])
        return {name: (state, atr) for name, state, atr in states}
    finally:
        scard.SCardReleaseContext(context)


def _wait_for_removal(reader: str) -> float:
    """Return when PC/SC told it, in seconds since the epoch."""
    from smartcard import scard

    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    seen, _ = _states()[reader]
    while seen & _PRESENT:
        _, [(_, seen, _)] = scard.SCardGetStatusChange(context, 20_000, [(reader, seen & ~2)])
    told_s = time.time()
    scard.SCardReleaseContext(context)
    return told_s


def _await(condition: Callable[[], object], what: str) -> None:
    until_s = time.monotonic() + _WITHIN_S
    while not condition():
        if time.monotonic() > until_s:
            raise RuntimeError(f"never came: {what}")
        time.sleep(0.01)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()
    process.wait(_WITHIN_S)


def _end_lockers(displays: list[str]) -> None:
    """End what covers our own displays: the lockers went into the background."""
    ours = {f"DISPLAY={display}".encode() for display in displays}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            is_locker = (folder / "comm").read_text() == "i3lock\n"
            if is_locker and ours & set((folder / "environ").read_bytes().split(b"\0")):
                os.kill(int(folder.name), 15)
        except (OSError, ProcessLookupError):
            continue


def _delays(title: str, igc: FakeIgcSante, pki: Path, *, screen: bool) -> Delays:
    with ExitStack() as stack:
        pc = Pc(igc, pki, stack, screen=screen)
        pulls = [pc.pull_once() for _ in range(ROUNDS + 1)][1:]
    ours, peer = zip(*pulls, strict=True)
    return Delays(title, ours, peer)


def removal_lock(igc: FakeIgcSante, pki: Path) -> Delays:
    """From PC/SC's report to the lock command having run."""
    return _delays("card pulled: from PC/SC's report to the lock command", igc, pki, screen=False)


def removal_screen(igc: FakeIgcSante, pki: Path) -> Delays:
    """From PC/SC's report to i3lock's window being up, under Xvfb."""
    return _delays("card pulled: from PC/SC's report to i3lock shown", igc, pki, screen=True)


FIGURES = (removal_lock, *([removal_screen] if shutil.which("i3lock") else []))

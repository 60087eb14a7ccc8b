"""The desktop's own locker by D-Bus: believed only when GetActive says yes."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jeepney import DBusAddress, MessageType, new_method_call
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import open_dbus_connection

pytestmark = pytest.mark.system

NAME, PLACE = "org.mate.ScreenSaver", "/org/mate/ScreenSaver"
DEADLINE_S = 20.0


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[str]:
    """A session bus of one's own."""
    address = f"unix:path={tmp_path}/bus"
    daemon = subprocess.Popen(
        ["dbus-daemon", "--session", "--nofork", f"--address={address}", "--print-address"],
        stdout=subprocess.PIPE,
    )
    try:
        assert daemon.stdout is not None
        daemon.stdout.readline()
        yield address
    finally:
        daemon.terminate()
        daemon.communicate(timeout=DEADLINE_S)


PYTHON = Path("/usr/bin/python3").resolve()
CINNAMONS = "cinnamon-screensaver"
"""The title that Cinnamon's locker, a Python program, gives itself."""


def _start(bus: str, title: str, program: Path) -> subprocess.Popen[bytes]:
    """Start a screen saver."""
    return subprocess.Popen(
        [title, "-m", "dbusmock", NAME, PLACE, NAME],
        executable=program,
        env={"PATH": "/usr/bin", "PYTHONHOME": "/usr", "DBUS_SESSION_BUS_ADDRESS": bus},
        stdout=subprocess.DEVNULL,
    )


@pytest.fixture
def saver(bus: str) -> Iterator[Any]:
    """Start a screen saver; its caller says what Lock does, and may bring another program."""
    started: list[subprocess.Popen[bytes]] = []

    def start(on_lock: str, title: str = CINNAMONS, program: Path = PYTHON) -> Any:
        started.append(mock := _start(bus, title, program))
        deadline_s = time.monotonic() + DEADLINE_S
        methods = (("Lock", "", "", on_lock), ("GetActive", "", "b", "ret = self.active"))
        address = DBusAddress(PLACE, NAME, "org.freedesktop.DBus.Mock")
        with open_dbus_connection(bus) as connection:
            while connection.send_and_get_reply(message_bus.NameHasOwner(NAME)).body != (True,):
                assert time.monotonic() < deadline_s, "the screen saver did not start"
                time.sleep(0.02)
            for method in (*methods, ("Prepare", "", "", "self.active = False")):
                call = new_method_call(address, "AddMethod", "sssss", (NAME, *method))
                assert connection.send_and_get_reply(call).header.message_type is (
                    MessageType.method_return
                )
            prepare = new_method_call(DBusAddress(PLACE, NAME, NAME), "Prepare")
            connection.send_and_get_reply(prepare)
        return mock

    try:
        yield start
    finally:
        for mock in started:
            mock.kill()
            mock.wait(DEADLINE_S)


class Locking:
    """The program as `CommandLocker` runs it."""

    def __init__(self, bus: str, within_s: float = 0.5, *, waits: bool = True) -> None:
        self._covered, writing = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pam_helper.locking.screensaver", str(within_s)],
            env={"DBUS_SESSION_BUS_ADDRESS": bus, "XSS_SLEEP_LOCK_FD": str(writing)},
            cwd=Path(__file__).parents[3],
            pass_fds=(writing,),
            stderr=subprocess.DEVNULL,
        )
        os.close(writing)
        self.covers = waits and self.is_covered()

    def is_covered(self) -> bool:
        """Wait for its proof; return whether it came, and the program goes on."""
        with os.fdopen(self._covered) as reading:
            reading.read()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(0.2)
        return self.process.returncode is None

    def end(self) -> int:
        """Return how it ends."""
        try:
            return self.process.wait(DEADLINE_S)
        finally:
            self.process.kill()


def _open_again(bus: str) -> None:
    """Do as a person who has typed a password."""
    with open_dbus_connection(bus) as connection:
        mock = DBusAddress(PLACE, NAME, "org.freedesktop.DBus.Mock")
        connection.send_and_get_reply(new_method_call(DBusAddress(PLACE, NAME, NAME), "Prepare"))
        said = (NAME, "ActiveChanged", "b", [("b", False)])
        connection.send_and_get_reply(new_method_call(mock, "EmitSignal", "sssav", said))


def _say_active(bus: str) -> None:
    """Have whoever owns the name say that it covers the screen."""
    mock = DBusAddress(PLACE, NAME, "org.freedesktop.DBus.Mock")
    method = (NAME, "GetActive", "", "b", "ret = True")
    with open_dbus_connection(bus) as connection:
        connection.send_and_get_reply(new_method_call(mock, "AddMethod", "sssss", method))


def test_it_ends_well_when_the_screen_is_open_again(bus: str, saver: Any) -> None:
    """ActiveChanged, and GetActive says no: the locker is gone, and did not die."""
    saver("self.active = True")
    locking = Locking(bus)
    assert locking.covers
    _open_again(bus)
    assert locking.end() == 0


def test_it_ends_badly_when_the_screen_saver_dies(bus: str, saver: Any) -> None:
    """Nobody says any more that the screen is covered."""
    mock = saver("self.active = True")
    locking = Locking(bus)
    assert locking.covers
    mock.kill()
    assert locking.end() == 1


def _locks(bus: str) -> bool:
    locking = Locking(bus)
    if locking.covers:
        locking.process.kill()
        locking.process.wait(DEADLINE_S)
        return True
    assert locking.end() == 1
    return False


def test_a_screen_saver_that_covers_the_screen_is_believed(bus: str, saver: Any) -> None:
    """Lock, then GetActive: yes."""
    saver("self.active = True")
    assert _locks(bus)


@pytest.mark.parametrize("on_lock", ["", "raise ValueError"], ids=["ignores", "fails"])
def test_one_that_does_not_is_not(bus: str, saver: Any, on_lock: str) -> None:
    """A desktop that takes the call and does nothing, or fails, has locked nothing."""
    saver(on_lock)
    assert not _locks(bus)


def test_a_program_that_is_no_locker_is_no_screen_saver(bus: str, saver: Any) -> None:
    """It may own the name and say that the screen is covered."""
    saver("self.active = True", "python3")
    assert not _locks(bus)


@pytest.mark.parametrize("name", [PYTHON.name, "mate-screensaver"])
def test_a_program_of_the_users_own_is_no_screen_saver(
    bus: str, saver: Any, tmp_path: Path, name: str
) -> None:
    """Whatever it is called: root has not installed it."""
    own = tmp_path / name
    shutil.copy(PYTHON, own)
    if os.geteuid() == 0:
        os.chown(own, 1000, 1000)
    saver("self.active = True", CINNAMONS, own)
    assert not _locks(bus)


@pytest.mark.skipif(os.geteuid() != 0, reason="what is installed is root's")
def test_a_locker_that_root_has_installed_is_believed_by_its_name(
    bus: str, saver: Any, tmp_path: Path
) -> None:
    """MATE's, Xfce's, GNOME's and KDE's are programs of their own."""
    installed = tmp_path / "mate-screensaver"
    shutil.copy(PYTHON, installed)
    saver("self.active = True", str(installed), installed)
    assert _locks(bus)


def test_the_word_of_who_was_not_asked_does_not_count(bus: str, saver: Any) -> None:
    """The locker that was asked dies, and another program takes its name and says yes."""
    asked = saver("")
    with open_dbus_connection(bus) as connection:
        before = connection.send_and_get_reply(message_bus.GetNameOwner(NAME)).body
        locking = Locking(bus, within_s=5.0, waits=False)
        asked.kill()
        asked.wait(DEADLINE_S)
        saver("", "python3")
        _say_active(bus)
        assert connection.send_and_get_reply(message_bus.GetNameOwner(NAME)).body != before
    assert not locking.is_covered()
    assert locking.end() == 1


def test_no_screen_saver_and_no_bus_are_no_lock(bus: str, tmp_path: Path) -> None:
    """Nobody to ask is a refusal, not a crash that counts as anything."""
    assert not _locks(bus)
    assert not _locks(f"unix:path={tmp_path}/nothing")

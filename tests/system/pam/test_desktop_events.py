"""What logind tells by itself reaches the lock: sleep, idle, a screen that opens, a lost bus."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.system

PrivatePcscd = Any  # the fixtures' classes live in conftest.py, which is no module to import
InstalledPc = Any
MockLogind = Any
DEADLINE_S = 20.0


def _await(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.02)


def _set_lock(pc: InstalledPc, lines: str) -> None:
    pc.speak("en", f"[lock]\n{lines}\n")


def _open(pc: InstalledPc, pcscd: PrivatePcscd, logind: MockLogind, lock: str = "") -> str:
    """Log the doctor in; return the session's object path."""
    _set_lock(pc, lock)
    pcscd.insert()
    assert pc.enrol() == 0
    pc.start_daemon()
    path = str(logind.session("c1"))
    yes, said = pc.pamtester(b"1234\n")
    assert yes, said + pc.log()
    return path


def test_the_pc_sleeps_only_once_it_is_locked(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """Going to sleep locks with the card in; waking up reads the readers anew and opens nothing."""
    path = _open(pc, private_pcscd, logind)
    desktop = logind.obey(path)
    logind.emit("PrepareForSleep", "b", True)
    desktop.join(DEADLINE_S)
    assert logind.locked_hint(path)
    logind.emit("PrepareForSleep", "b", False)
    _await(lambda: "watcher-stopped" in pc.log())
    _await(lambda: pc.log().count("card-inserted") >= 2)
    assert logind.locked_hint(path)
    assert pc.pamtester(b"1234\n")[0]


def test_an_idle_session_is_locked(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """logind's idle hint locks, although the card is in."""
    path = _open(pc, private_pcscd, logind)
    desktop = logind.obey(path)
    logind.set_idle(path)
    desktop.join(DEADLINE_S)
    assert logind.locked_hint(path)


@pytest.mark.parametrize("policy", ["lock-again", "accept"])
def test_a_screen_that_opens_without_a_card(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind, policy: str
) -> None:
    """The hint goes, and no card did it: locked again, or accepted where the settings say so."""
    path = _open(pc, private_pcscd, logind, f'opened_without_card = "{policy}"')
    desktop = logind.obey(path)
    logind.set_idle(path)
    desktop.join(DEADLINE_S)
    _await(lambda: "logind locked c1" in pc.log())
    again = logind.obey(path)
    if policy == "accept":
        logind.set_locked_hint(path, False)
        _await(lambda: "opened by a password" in pc.log())
        assert not logind.locked_hint(path)
        logind.calls(path)
        _release(logind, path)
        again.join(DEADLINE_S)
        return
    logind.set_locked_hint(path, False)
    again.join(DEADLINE_S)
    assert logind.locked_hint(path)
    assert "was opened without its card" in pc.log()


def test_a_session_that_a_password_opens_beside_it_follows_no_card(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """It is nobody's but the password's: not locked with the card's session, nor afterwards."""
    path = _open(pc, private_pcscd, logind, 'opened_without_card = "lock-again"')
    desktop = logind.obey(path)
    logind.set_idle(path)
    desktop.join(DEADLINE_S)
    _await(lambda: "logind locked c1" in pc.log())
    second = str(logind.session("c2"))
    logind.emit("SessionNew", "so", "c2", second)
    logind.set_locked_hint(path, locked=False)  # a password: locked again, which shows that
    _await(lambda: pc.log().count("ask-first-locker") == 2)  # the new session was looked at
    assert "Lock" not in logind.calls(second)


def _release(logind: MockLogind, path: str) -> None:
    """Give the desktop that waits for a Lock its signal."""
    from jeepney import DBusAddress, new_method_call
    from jeepney.io.blocking import open_dbus_connection

    address = DBusAddress(path, "org.freedesktop.login1", "org.freedesktop.login1.Session")
    with open_dbus_connection(logind.address) as bus:
        bus.send_and_get_reply(new_method_call(address, "Lock"), timeout=DEADLINE_S)


def test_a_session_that_ends_is_forgotten(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """SessionRemoved ends what was bound; pulling the card afterwards asks nobody to lock."""
    path = _open(pc, private_pcscd, logind)
    logind.end(path)
    logind.emit("SessionRemoved", "so", "c1", path)
    pc.end_daemon(signal.SIGTERM)
    assert "ask-first-locker" in pc.log() or "end-session" not in pc.log()

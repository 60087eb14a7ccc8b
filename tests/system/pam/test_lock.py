"""The card leaves a real pcscd, and the session is locked: logind on a private bus, lockers."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pam_helper.locking.command import CommandLocker
from pam_helper.locking.lockers import DesktopSession, LockProof

pytestmark = pytest.mark.system

PrivatePcscd = Any  # the fixtures' classes live in conftest.py, which is no module to import
InstalledPc = Any
MockLogind = Any
ACCOUNT = "games"
DEADLINE_S = 20.0


def _lock(locker: CommandLocker, session: DesktopSession) -> LockProof:
    return locker.lock(session, lambda _ended_well: None, opening=False)


def _await(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, "it never came true"
        time.sleep(0.02)


def _configure(pc: InstalledPc, lock: str) -> None:
    pc.speak("en", f"[lock]\n{lock}\n")


def _log_in(pc: InstalledPc) -> None:
    yes, said = pc.pamtester(b"1234\n")
    assert yes, said + pc.log()


def test_pulling_the_card_locks_and_waits_for_the_hint(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """The session's Lock signal comes, LockedHint confirms it, and card and PIN unlock it."""
    card = private_pcscd.insert()
    assert pc.enrol() == 0
    pc.start_daemon()
    path = logind.session("c1")
    _log_in(pc)
    desktop = logind.obey(path)
    card.remove()
    desktop.join(DEADLINE_S)
    assert logind.locked_hint(path)
    _await(lambda: "logind locked c1" in pc.log())
    private_pcscd.insert(persona=card.card)
    assert not pc.pamtester(b"9999\n")[0]
    _log_in(pc)
    _await(lambda: "cps-auth, opening" in pc.log())
    logind.set_locked_hint(path, locked=False)  # as the desktop does when PAM has said yes
    _await(lambda: "screen-opened, open" in pc.log())
    assert set(logind.calls(path)) & {"Terminate", "Unlock"} == set()


def test_a_desktop_that_opens_late_is_covered_again(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """Pulled while the old lock still covers: its hint is no receipt, and `Lock` waits for it."""
    card = private_pcscd.insert()
    assert pc.enrol() == 0
    pc.start_daemon()
    path = logind.session("c1")
    _log_in(pc)
    desktop = logind.obey(path)
    card.remove()
    desktop.join(DEADLINE_S)
    _await(lambda: "logind locked c1" in pc.log())
    asked = logind.calls(path).count("Lock")
    again = private_pcscd.insert(persona=card.card)
    _log_in(pc)
    again.remove()
    _await(lambda: "card-out, locking" in pc.log() or pc.log().count("ask-first-locker") == 2)
    assert logind.calls(path).count("Lock") == asked, "KDE would have swallowed it"
    desktop = logind.obey(path)
    logind.set_locked_hint(path, locked=False)
    desktop.join(DEADLINE_S)
    _await(lambda: pc.log().count("lock-confirmed, locked") == 2)
    assert logind.calls(path).count("Lock") == asked + 1
    assert "opened by a password" not in pc.log()


def test_check_sees_whether_a_lock_is_confirmed(pc: InstalledPc, logind: MockLogind) -> None:
    """Asked for it, the walk locks the account's screen; a desktop that does not obey is named."""
    _configure(pc, 'lockers = ["logind"]\nconfirm_within_s = 0.3')
    assert pc.check("--lock", ACCOUNT)["confirm"] is False
    path = logind.session("c1")
    assert pc.check("--lock", ACCOUNT)["confirm"] is False
    assert b"no locker confirmed c1" in pc.output
    assert "Terminate" not in logind.calls(path)
    desktop = logind.obey(path)
    assert pc.check("--lock", ACCOUNT)["confirm"] is True
    desktop.join(DEADLINE_S)
    assert b"c1 by logind in " in pc.output


def test_without_a_hint_the_command_locks(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """A desktop that ignores Lock is covered by the command, as the user and on its display."""
    ran = pc.root / "ran"
    ran.mkdir()
    ran.chmod(0o777)
    script = f"echo $(id -un) $DISPLAY $XDG_SESSION_ID > {ran}/by"
    _configure(
        pc,
        'lockers = ["logind", "command"]\nconfirm_within_s = 0.5\n'
        f'command = ["/bin/sh", "-c", "{script}"]',
    )
    card = private_pcscd.insert()
    pc.enrol()
    pc.start_daemon()
    path = logind.session("c1")
    logind.set(path, Display=":77")
    _log_in(pc)
    card.remove()
    _await(lambda: "command locked c1" in pc.log())
    assert (ran / "by").read_text() == f"{ACCOUNT} :77 c1\n"
    assert "logind locked" not in pc.log()
    assert "Terminate" not in logind.calls(path)


def test_where_it_is_chosen_what_nothing_locks_is_ended(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """No hint, a command that fails, and the administrator has chosen it."""
    _configure(
        pc,
        'lockers = ["logind", "command"]\nconfirm_within_s = 0.3\ncommand = ["/bin/false"]\n'
        'last_resort = "end"\nend_after_s = 5',
    )
    card = private_pcscd.insert()
    pc.enrol()
    pc.start_daemon()
    path = logind.session("c1")
    _log_in(pc)
    card.remove()
    _await(lambda: "Terminate" in logind.calls(path))
    assert not pc.pamtester(b"1234\n")[0]
    logind.end(path)
    _await(lambda: "end-session" in pc.log())


def test_pcscd_killed_locks(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """When nobody can tell whether the card is in, the session is locked."""
    private_pcscd.insert()
    pc.enrol()
    pc.start_daemon()
    path = logind.session("c1")
    _log_in(pc)
    desktop = logind.obey(path)
    private_pcscd.kill()
    desktop.join(DEADLINE_S)
    assert logind.locked_hint(path)
    assert "service-lost" in pc.log()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_daemon_leaves_no_session_open(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind, number: signal.Signals
) -> None:
    """Stopped in order it locks before it goes; killed, what runs behind it locks."""
    card = private_pcscd.insert()
    pc.enrol()
    pc.start_daemon()
    path = logind.session("c1")
    _log_in(pc)
    desktop = logind.obey(path)
    pc.end_daemon(number)
    card.remove()
    if number is signal.SIGKILL:
        pc.lock_up()
    desktop.join(DEADLINE_S)
    assert logind.locked_hint(path)


def test_the_next_daemon_locks_what_nobody_has_locked(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """Killed, and nothing run behind it: the screen is as it was until the next one starts."""
    card = private_pcscd.insert()
    pc.enrol()
    pc.start_daemon()
    path = logind.session("c1")
    _log_in(pc)
    desktop = logind.obey(path)
    pc.end_daemon(signal.SIGKILL)
    card.remove()
    assert not logind.locked_hint(path)
    pc.start_daemon()
    desktop.join(DEADLINE_S)
    assert logind.locked_hint(path)


def test_another_card_in_the_second_reader_keeps_nothing_open(
    pc: InstalledPc, private_pcscd: PrivatePcscd, logind: MockLogind
) -> None:
    """The session follows the card that opened it, not any card that is there."""
    card = private_pcscd.insert()
    pc.enrol()
    pc.start_daemon()
    path = logind.session("c1")
    _log_in(pc)
    private_pcscd.insert(persona="pharmacist", slot=1)
    desktop = logind.obey(path)
    card.remove()
    desktop.join(DEADLINE_S)
    assert logind.locked_hint(path)


@pytest.fixture
def session(display: str) -> DesktopSession:
    """A graphical session of the account on a display of its own."""
    uid = pwd.getpwnam(ACCOUNT).pw_uid
    return DesktopSession("c1", "/session/c1", ACCOUNT, uid, display, "x11")


@pytest.mark.parametrize(
    "argv",
    [("i3lock",), ("i3lock", "--nofork"), ("xsecurelock",)],
    ids=["i3lock", "i3lock-nofork", "xsecurelock"],
)
def test_a_real_locker_is_confirmed(session: DesktopSession, argv: tuple[str, ...]) -> None:
    """i3lock and xsecurelock prove that the screen is covered, each in its own way."""
    try:
        assert _lock(CommandLocker(argv, 10.0), session) is not LockProof.NONE
        assert _processes_on(session.display, argv[0])
    finally:
        for pid in _processes_on(session.display, argv[0]):
            with contextlib.suppress(ProcessLookupError):  # it ended with the one before
                os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize(
    "script",
    [
        "import sys; sys.exit(3)",
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        "import os, sys; os.close(int(os.environ['XSS_SLEEP_LOCK_FD'])); sys.exit(1)",
        "import time; time.sleep(3)",
    ],
    ids=["fails", "crashes", "says-yes-and-fails", "merely-runs"],
)
def test_a_command_that_proves_nothing_is_not_believed(
    session: DesktopSession, script: str
) -> None:
    """Failing, crashing, or only being there is not a lock."""
    python = ("/usr/bin/python3", "-S", "-c")
    assert _lock(CommandLocker((*python, ""), 10.0), session) is not LockProof.NONE
    locker = CommandLocker((*python, script), 1.0)
    assert _lock(locker, session) is LockProof.NONE


def test_a_command_that_is_missing_is_not_a_lock(session: DesktopSession) -> None:
    """A locker that was uninstalled is a refusal, not a crash."""
    assert _lock(CommandLocker(("/nonexistent",), 1.0), session) is LockProof.NONE


def test_a_text_console_is_not_for_a_screen_locker(session: DesktopSession, tmp_path: Path) -> None:
    """The command is not even run for a session that has no screen of its own."""
    console = DesktopSession("c2", "/session/c2", ACCOUNT, session.uid, "", "tty")
    ran = tmp_path / "ran"
    assert _lock(CommandLocker(("touch", str(ran)), 5.0), console) is LockProof.NONE
    assert not ran.exists()


def _processes_on(display: str, name: str) -> set[int]:
    """Return the processes of this name on this test's own display."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "comm").read_text().strip()
                environment = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if command == name and f"DISPLAY={display}".encode() in environment:
                found.add(int(entry.name))
    return found

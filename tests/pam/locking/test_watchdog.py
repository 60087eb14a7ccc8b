"""What survives the daemon locks up behind one that dies, and only then."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pam_helper.daemon import run as daemon
from pam_helper.locking import watchdog as survivor
from pam_helper.locking.lockers import Locking
from pam_helper.locking.session_owners import OWNERS_FILE, Owners
from pam_helper.locking.watchdog import Survivor, survive
from tests.pam.locking.obedient_desktop import ObedientDesktop

WITHIN_S = 20.0
DAEMON = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from pam_helper.locking.watchdog import Survivor\n"
    "left = Survivor(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    "print(left._process.pid, flush=True)\n"
    "sys.stdin.read()\n"
    "left.dismiss()\n"
)


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch) -> ObedientDesktop:
    """The desktop that is locked."""
    there = ObedientDesktop()
    monkeypatch.setattr(survivor, "locking_of", lambda *_: Locking(there, (there,)))
    return there


@pytest.mark.parametrize("said", [b"", b"in", b"in order "])
def test_it_locks_what_the_dead_daemon_followed(
    tmp_path: Path, desktop: ObedientDesktop, said: bytes
) -> None:
    """Whatever it had said but the whole word; the owners are as they were, for the next one."""
    session, other = desktop.log_in("camille"), desktop.log_in("julien")
    at_once = desktop.lock
    desktop.lock = lambda *asked: (time.sleep(0.2), at_once(*asked))[1]  # type: ignore[method-assign]
    Owners(tmp_path / OWNERS_FILE).put("camille", "899900000011")
    (tmp_path / "config.toml").write_text("rubbish")
    survive(io.BytesIO(said), tmp_path / "config.toml", tmp_path)
    assert desktop.locked == {session}
    assert other not in desktop.locked, "no card has opened it"
    assert Owners(tmp_path / OWNERS_FILE).all() == {"camille": "899900000011"}


def test_it_does_nothing_behind_one_that_ends_in_order(
    tmp_path: Path, desktop: ObedientDesktop
) -> None:
    """That one has locked up itself."""
    desktop.log_in("camille")
    Owners(tmp_path / OWNERS_FILE).put("camille", "899900000011")
    survive(io.BytesIO(b"in order"), tmp_path / "config.toml", tmp_path)
    assert desktop.locked == set()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, None])
def test_it_hears_of_every_end(tmp_path: Path, number: signal.Signals | None) -> None:
    """By force, by a crash, and in order; and it is gone soon after, whatever it did."""
    (tmp_path / "config.toml").write_text("[lock]\nlockers = []\n")
    words = [sys.executable, "-c", DAEMON, str(tmp_path / "config.toml"), str(tmp_path)]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        pid = int(process.stdout.readline())
        if number is None:
            assert b"has died" not in process.communicate()[1]
        else:
            process.send_signal(number)
            process.wait(WITHIN_S)
            assert b"the daemon has died" in process.stderr.read()  # until it has ended, too
    deadline_s = time.monotonic() + WITHIN_S
    while _is_running(pid):
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_one_that_was_killed_is_missed(tmp_path: Path) -> None:
    """The daemon is not well without it; its own end goes on, and may come to it twice."""
    left = Survivor(tmp_path / "config.toml", tmp_path)
    assert left.is_alive
    assert left._process is not None
    left._process.kill()
    left._process.wait()
    assert not left.is_alive
    left.dismiss()
    left.dismiss()


def test_a_daemon_is_well_when_all_its_parts_are(caplog: pytest.LogCaptureFixture) -> None:
    """It says which one is not, and then nothing to its watchdog."""
    assert daemon._is_well({"requests": lambda: True, "survivor": lambda: True})
    assert caplog.text == ""
    assert not daemon._is_well({"requests": lambda: True, "survivor": lambda: False})
    assert "not well: survivor" in caplog.text


def test_a_system_that_gives_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said, and the daemon goes on: the next one locks."""
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    left = Survivor(tmp_path / "config.toml", tmp_path)
    assert "nobody locks up" in caplog.text
    assert left.is_alive, "a watchdog that killed the daemon for it would not help"
    left.dismiss()


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]

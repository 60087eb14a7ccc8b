"""What runs behind a dead daemon locks what it followed, and only that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pam_helper import lock_up
from pam_helper.locking.lockers import Locking
from pam_helper.locking.session_owners import OWNERS_FILE, SessionOwner, SessionOwners
from tests.pam.locking.obedient_desktop import ObedientDesktop


@pytest.fixture
def desktop(monkeypatch: pytest.MonkeyPatch) -> ObedientDesktop:
    """The desktop that is locked."""
    there = ObedientDesktop()
    monkeypatch.setattr(lock_up, "locking_of", lambda *_: Locking(there, (there,)))
    return there


def test_it_locks_what_the_dead_daemon_followed(tmp_path: Path, desktop: ObedientDesktop) -> None:
    """Not a session that a password opened; the owners are as they were, for the next daemon."""
    session, other = desktop.log_in("camille"), desktop.log_in("julien")
    by_password = desktop.log_in("camille", name="c7")
    owner = SessionOwner("899900000011", (session.session_id,))
    SessionOwners(tmp_path / OWNERS_FILE).put("camille", owner)
    (tmp_path / "config.toml").write_text("rubbish")
    lock_up.lock_up(tmp_path / "config.toml", tmp_path)
    assert desktop.locked == {session}
    assert not {other, by_password} & desktop.locked, "no card has opened it"
    assert SessionOwners(tmp_path / OWNERS_FILE).all() == {"camille": owner}


def test_what_a_daemon_before_0_2_has_written_locks_all_of_the_account(
    tmp_path: Path, desktop: ObedientDesktop
) -> None:
    """It did not say which sessions: an upgrade leaves none of them open."""
    sessions = {desktop.log_in("camille", name=name) for name in ("c1", "c2")}
    (tmp_path / OWNERS_FILE).write_text('{"camille": "899900000011"}')
    (tmp_path / OWNERS_FILE).chmod(0o600)
    lock_up.lock_up(tmp_path / "config.toml", tmp_path)
    assert desktop.locked == sessions


@pytest.mark.parametrize(
    ("result", "locks"), [("signal", True), ("watchdog", True), ("success", False)]
)
def test_it_does_nothing_behind_one_that_ends_in_order(
    tmp_path: Path, result: str, locks: bool
) -> None:
    """As systemd tells it in SERVICE_RESULT."""
    program = [sys.executable, "-I", "-m", "pam_helper.lock_up"]
    done = subprocess.run(
        [*program, str(tmp_path / "config.toml"), str(tmp_path)],
        env={**os.environ, "SERVICE_RESULT": result},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert (b"the daemon has died" in done.stderr) is locks

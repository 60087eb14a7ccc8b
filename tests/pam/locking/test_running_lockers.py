"""A locker outlives who started it: the next daemon believes the process, and no other one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from pam_helper.locking import running_lockers
from pam_helper.locking.command import CommandLocker
from pam_helper.locking.lockers import DesktopSession, LockProof
from pam_helper.locking.running_lockers import FOLDER, RunningLocker, RunningLockers
from pam_helper.locking.session_owners import SessionOwner, SessionOwners

WITHIN_S = 20.0
SESSION = DesktopSession("c1", "/session/c1", "root", os.getuid(), ":77", "x11")
EXCLUSIVE = (
    "import fcntl, os, sys, time\n"
    "place = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)\n"
    "fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
    "time.sleep(float(sys.argv[2]))\n"
    "os.close(int(os.environ['XSS_SLEEP_LOCK_FD']))\n"
    "time.sleep(600)\n"
)
"""A locker that covers until it is killed, and fails where another one covers."""
OTHER_DAEMON = (
    "import os, sys\n"
    "from pathlib import Path\n"
    "from pam_helper.locking.running_lockers import RunningLockers\n"
    "from pam_helper.locking.command import CommandLocker\n"
    "from pam_helper.locking.lockers import DesktopSession\n"
    "session = DesktopSession('c1', '/session/c1', 'root', os.getuid(), ':77', 'x11')\n"
    "locker = CommandLocker(sys.argv[2:], 10.0, running=RunningLockers(Path(sys.argv[1])))\n"
    "print(locker.lock(session, print, opening=False).value, flush=True)\n"
    "os.kill(os.getpid(), 9)\n"
)


def _lock(locker: CommandLocker) -> LockProof:
    return locker.lock(SESSION, lambda _ended_well: None, opening=False)


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs until the test is over."""
    running = subprocess.Popen(["sleep", "600"])
    yield running
    running.kill()
    running.wait()


def _argv(folder: Path, after_s: float = 0.0) -> tuple[str, ...]:
    return (sys.executable, "-IS", "-c", EXCLUSIVE, str(folder / "screen"), str(after_s))


def _noted(folder: Path) -> RunningLocker:
    return msgspec.json.decode(
        (folder / FOLDER / "c1-command.json").read_bytes(), type=RunningLocker
    )


def _of_another(state: Path, cover: RunningLocker) -> None:
    """Write a cover down as another process would."""
    other = msgspec.structs.replace(cover, started_by_pid=cover.started_by_pid + 1)
    (state / FOLDER / "c1-command.json").write_bytes(msgspec.json.encode(other))


def test_what_a_killed_daemon_left_is_believed_and_watched(tmp_path: Path) -> None:
    """No second locker is started; when the first one goes, that is heard."""
    words = [sys.executable, "-c", OTHER_DAEMON, str(tmp_path), *_argv(tmp_path)]
    done = subprocess.run(words, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (-9, b"watched\n"), done.stderr
    refused = CommandLocker(_argv(tmp_path), WITHIN_S)
    assert _lock(refused) is LockProof.NONE, "the screen can be taken twice"
    told: list[bool] = []
    heard = threading.Event()

    def exited(ended_well: bool) -> None:
        told.append(ended_well)
        heard.set()

    locker = CommandLocker(_argv(tmp_path), WITHIN_S, running=RunningLockers(tmp_path))
    assert locker.lock(SESSION, exited, opening=False) is LockProof.WATCHED
    assert not heard.is_set()
    os.kill(_noted(tmp_path).pid, 9)
    assert heard.wait(WITHIN_S)
    assert told == [False]
    assert _lock(locker) is not LockProof.NONE, "it is gone: a new one is started"
    os.kill(_noted(tmp_path).pid, 9)


def test_one_that_has_not_proven_it_yet_is_waited_for(tmp_path: Path) -> None:
    """What survives a daemon may be at it when the next one asks."""
    words = [sys.executable, "-c", OTHER_DAEMON, str(tmp_path), *_argv(tmp_path, 0.5)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as other:
        while not (tmp_path / FOLDER / "c1-command.json").exists():
            assert other.poll() is None
        assert not _noted(tmp_path).is_confirmed
        impatient = CommandLocker(_argv(tmp_path), 0.01, running=RunningLockers(tmp_path))
        assert _lock(impatient) is LockProof.NONE
        locker = CommandLocker(_argv(tmp_path), WITHIN_S, running=RunningLockers(tmp_path))
        assert _lock(locker) is not LockProof.NONE
    os.kill(_noted(tmp_path).pid, 9)


def test_one_that_ends_before_it_has_proven_anything_is_no_cover(tmp_path: Path) -> None:
    """A process that was about to cover and died has covered nothing."""
    with subprocess.Popen(["sleep", "0.3"]) as dying:
        RunningLockers(tmp_path).put("c1", "command", dying.pid, is_confirmed=False)
        _of_another(tmp_path, _noted(tmp_path))
        locker = CommandLocker(("true",), WITHIN_S, running=RunningLockers(tmp_path))
        assert _lock(locker) is LockProof.NONE


def test_only_the_very_process_counts(tmp_path: Path, process: subprocess.Popen[bytes]) -> None:
    """Not one of this daemon's own, of another locker or session, or with the same id later."""
    ours = RunningLockers(tmp_path)
    ours.put("c1", "command", process.pid, is_confirmed=True)
    assert ours.of_another("c1", "command") is None, "it is watched as a child"
    cover = _noted(tmp_path)
    assert cover == RunningLocker(process.pid, cover.started_ticks, os.getpid(), is_confirmed=True)
    _of_another(tmp_path, cover)
    found = ours.of_another("c1", "command")
    assert found is not None
    assert found.is_confirmed
    assert found.is_running()
    assert ours.of_another("c2", "command") is None
    assert ours.of_another("c1", "screensaver") is None
    assert RunningLockers().of_another("c1", "command") is None
    before = msgspec.structs.replace(cover, started_ticks=cover.started_ticks - 1)
    _of_another(tmp_path, before)
    assert ours.of_another("c1", "command") is None, "another process has its id now"
    before.wait_until_over()
    _of_another(tmp_path, cover)
    process.kill()
    found.wait_until_over()
    assert ours.of_another("c1", "command") is None, "it has ended, though nobody has waited for it"
    found.wait_until_over()


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"{}", b'{"pid": "1"}', b"\xff\xfe", b"[" * 4000, b"x" * 5000]
)
def test_a_note_that_is_none_is_not_believed(tmp_path: Path, content: bytes) -> None:
    """Whatever stands in it."""
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / "c1-command.json").write_bytes(content)
    assert RunningLockers(tmp_path).of_another("c1", "command") is None


def test_a_note_that_others_could_have_written_is_not_believed(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    """As every file of the daemon's."""
    ours = RunningLockers(tmp_path)
    ours.put("c1", "command", process.pid, is_confirmed=True)
    _of_another(tmp_path, _noted(tmp_path))
    (tmp_path / FOLDER / "c1-command.json").chmod(0o666)
    assert ours.of_another("c1", "command") is None


@pytest.mark.parametrize("session_id", ["", "../c1", "c1/..", "a" * 65, "c 1", "c1\0"])
def test_a_session_of_no_ordinary_name_leaves_no_note(
    tmp_path: Path, process: subprocess.Popen[bytes], session_id: str
) -> None:
    """Its name would become a path."""
    RunningLockers(tmp_path).put(session_id, "command", process.pid, is_confirmed=True)
    RunningLockers(tmp_path).forget(session_id)
    assert list(tmp_path.rglob("*")) == []
    assert RunningLockers(tmp_path).of_another(session_id, "command") is None


def test_it_locks_where_nothing_can_be_written(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    """A full disk, a folder that is not there: the screen is covered all the same."""
    for state in (tmp_path / "missing", Path("/proc")):
        RunningLockers(state).put("c1", "command", process.pid, is_confirmed=True)
        assert RunningLockers(state).of_another("c1", "command") is None
        locker = CommandLocker(("true",), WITHIN_S, running=RunningLockers(state))
        assert _lock(locker) is not LockProof.NONE


def test_a_session_that_was_opened_is_covered_by_nobody(
    tmp_path: Path, process: subprocess.Popen[bytes]
) -> None:
    """A command may go on running after it has let somebody in: it is not believed again."""
    ours = RunningLockers(tmp_path)
    for session_id in ("c1", "c11"):
        ours.put(session_id, "command", process.pid, is_confirmed=True)
    ours.put("c1", "screensaver", process.pid, is_confirmed=True)
    ours.forget("c1")
    assert [path.name for path in (tmp_path / FOLDER).iterdir()] == ["c11-command.json"]
    RunningLockers().forget("c1")
    RunningLockers(tmp_path / "missing").forget("c1")


def test_no_cover_waits_for_a_disk(
    tmp_path: Path, process: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy one takes longer than a locker has to prove itself."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)
    RunningLockers(tmp_path).put("c1", "command", process.pid, is_confirmed=True)
    assert (_noted(tmp_path).pid, synced) == (process.pid, [])
    SessionOwners(tmp_path / "owners").put("camille", SessionOwner("899900000011"))
    assert len(synced) == 2, "that one waits: the file and its folder"


def test_a_process_that_cannot_be_found_leaves_no_note(tmp_path: Path) -> None:
    """It has ended before it was written down."""
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
        RunningLockers(tmp_path).put("c1", "command", ended.pid, is_confirmed=True)
    assert not (tmp_path / FOLDER).exists()
    assert running_lockers.started_ticks(ended.pid) is None

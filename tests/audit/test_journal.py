"""The journal on disk: many writers, kills, torn lines, full disks, clocks, months."""

from __future__ import annotations

import logging
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cps_auth.audit import journal as journal_module
from cps_auth.audit.chain import key_from_text
from cps_auth.audit.entry import AuditEvent
from cps_auth.audit.head import journal_files, read_head
from cps_auth.audit.journal import AuditJournal
from cps_auth.audit.verify import Finding, read_lines, verify_journal
from cps_auth.errors import ConfigurationError
from cps_auth.files import locked
from tests.audit.conftest import Clock, refusal


def _peers(folder: Path) -> list[str]:
    return [line.entry.peer for line in read_lines(folder) if line.entry.peer]


def test_what_was_recorded_is_there_in_its_order(written: Callable[[int], Path]) -> None:
    """And the journal is intact; a second run goes on where the first ended."""
    folder = written(3)
    written(2)
    assert _peers(folder) == [f"192.0.2.{n}" for n in (0, 1, 2, 0, 1)]
    verified = verify_journal(folder)
    assert verified.is_intact
    assert not verified.faults
    assert verified.lines == 5
    assert [line.n for line in read_lines(folder)] == [1, 2, 3, 4, 5]
    assert {path.stat().st_mode & 0o077 for path in folder.iterdir()} == {0}


def test_threads_and_processes_write_to_one_chain(tmp_path: Path) -> None:
    """Four processes that were forked from one with an open journal, four threads in each."""
    folder = tmp_path / "audit"
    journal = AuditJournal(folder)
    journal.record(refusal(0))

    def work(first: int) -> None:
        threads = [
            threading.Thread(target=lambda n=n: [journal.record(refusal(n)) for _ in range(10)])
            for n in range(first, first + 4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert journal.flush(30)

    processes = [
        multiprocessing.get_context("fork").Process(target=work, args=(10 * n,)) for n in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert journal.flush(10)
    each = [f"192.0.2.{10 * n + m}" for n in range(4) for m in range(4)] * 10
    assert sorted(_peers(folder)) == sorted(["192.0.2.0", *each])
    assert not verify_journal(folder).faults


_KILLED = """
import os, signal, sys
from pathlib import Path
from cps_auth.audit.journal import AuditJournal
from tests.audit.conftest import refusal

def write_on(pipe):
    journal = AuditJournal(Path(sys.argv[1]))
    while True:
        if journal.record(refusal(0)):
            os.write(pipe, b".")

acknowledged = 0
for turn in range(100):
    heard, said = os.pipe()
    child = os.fork()
    if not child:
        os.close(heard)
        write_on(said)
    os.close(said)
    told = 0
    while told <= turn % 23:
        told += len(os.read(heard, 1))
    os.kill(child, signal.SIGKILL)
    while more := os.read(heard, 65536):
        told += len(more)
    os.waitpid(child, 0)
    os.close(heard)
    acknowledged += told
print(acknowledged)
"""


def test_a_process_killed_a_hundred_times_loses_no_acknowledged_entry(tmp_path: Path) -> None:
    """kill -9 in the middle of writing: what was said to be written is there, the chain whole."""
    folder = tmp_path / "audit"
    command = [sys.executable, "-c", _KILLED, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    verified = verify_journal(folder)
    assert verified.is_intact, verified.faults
    assert len(_peers(folder)) >= int(done.stdout) > 1000


def test_a_torn_last_line_is_told_and_costs_nothing_else(written: Callable[[int], Path]) -> None:
    """As after a power failure: cut off, said by the next entry, and no alarm."""
    folder = written(3)
    (file,) = journal_files(folder)
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"n":4,"at":"2026-11-')
    torn = verify_journal(folder)
    assert [fault.finding for fault in torn.faults] == [Finding.TORN]
    assert torn.is_intact
    written(1)
    assert file.read_bytes().startswith(whole)
    lines = list(read_lines(folder))
    assert [line.entry.event for line in lines[3:]] == [
        AuditEvent.JOURNAL_TORN,
        AuditEvent.LOGIN_REFUSED,
    ]
    assert not verify_journal(folder).faults


def test_lines_that_were_cut_off_stay_missing(written: Callable[[int], Path]) -> None:
    """Somebody who shortens the journal while it rests: the next entries do not hide it."""
    folder = written(5)
    (file,) = journal_files(folder)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:3]))
    (cut,) = verify_journal(folder).faults
    assert (cut.finding, cut.line, cut.detail) == (Finding.CUT, 3, "entries 4 to 5")
    written(2)
    (missing,) = verify_journal(folder).faults
    assert (missing.finding, missing.line) == (Finding.MISSING, 4)
    assert missing.detail == "entries 4 to 5"


def test_a_disk_that_takes_nothing_locks_nobody_out_and_is_shouted_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`record` returns at once; the entry comes when there is room again."""
    folder = tmp_path / "audit"
    journal = AuditJournal(folder)
    assert journal.record(refusal(1))
    room = threading.Event()
    write = os.write

    def full(descriptor: int, data: bytes) -> int:
        if not room.is_set():
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(journal_module.os, "write", full)
    monkeypatch.setattr(journal_module, "_AGAIN_S", 0.01)
    with caplog.at_level(logging.CRITICAL):
        assert not journal.record(refusal(2))
    assert "No space left on device" in caplog.text
    assert not journal.flush(0)
    room.set()
    assert journal.flush(10)
    assert _peers(folder) == ["192.0.2.1", "192.0.2.2"]
    assert not verify_journal(folder).faults


def test_a_slow_disk_makes_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that answers never: each record comes back, and what is too much is counted."""
    journal = AuditJournal(tmp_path / "audit")
    never = threading.Event()
    monkeypatch.setattr(journal_module.os, "write", lambda *_: never.wait() and 0)
    monkeypatch.setattr(journal_module, "_WAITING_MAX", 2)
    monkeypatch.setattr(journal_module, "WAIT_S", 0.0)
    assert [journal.record(refusal(n)) for n in range(4)] == [False] * 4
    assert not journal.flush(0)
    never.set()


def test_nobody_waits_while_the_file_cannot_be_reached(tmp_path: Path) -> None:
    """The writer stands still as on a disk that hangs; a login goes on after 50 ms at most."""
    assert journal_module.WAIT_S <= 0.05
    folder = tmp_path / "audit"
    journal = AuditJournal(folder)
    with locked(folder / "lock"):
        assert not journal.record(refusal(1))
        assert not journal.flush(0)
    assert journal.flush(10)
    assert _peers(folder) == ["192.0.2.1"]


def test_entries_that_were_too_many_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The journal says how many are missing."""
    journal = AuditJournal(tmp_path / "audit")
    room = threading.Event()
    write = os.write

    def waiting(descriptor: int, data: bytes) -> int:
        room.wait()
        return write(descriptor, data)

    monkeypatch.setattr(journal_module.os, "write", waiting)
    monkeypatch.setattr(journal_module, "_WAITING_MAX", 2)
    monkeypatch.setattr(journal_module, "WAIT_S", 0.0)
    for number in range(5):
        journal.record(refusal(number))
    room.set()
    assert journal.flush(10)
    lines = [line.entry for line in read_lines(tmp_path / "audit")]
    assert [entry.detail for entry in lines if entry.event is AuditEvent.JOURNAL_GAP] == [
        "3 entries"
    ]


def test_each_month_has_its_file_and_old_ones_go(tmp_path: Path, clock: Clock) -> None:
    """Twelve months are kept; the chain goes on, and says what was deleted."""
    folder = tmp_path / "audit"
    journal = AuditJournal(folder, clock=clock, host="pc-1")
    for month in range(15):
        clock.at = datetime(2026 + month // 12, month % 12 + 1, 5, tzinfo=UTC)
        journal.record(refusal(month))
    assert journal.flush(10)
    names = [file.name for file in journal_files(folder)]
    assert names[0] == "audit-2026-03.jsonl"
    assert names[-1] == "audit-2027-03.jsonl"
    assert not verify_journal(folder).faults
    journal_files(folder)[0].unlink()
    (gone,) = verify_journal(folder).faults
    assert gone.finding is Finding.NO_BEGINNING


@pytest.mark.parametrize("year", [1969, 1970, 2038, 2106])
def test_a_clock_that_is_decades_off(tmp_path: Path, clock: Clock, year: int) -> None:
    """A line bears the time that the computer had, and the journal is intact."""
    folder = tmp_path / "audit"
    clock.at = datetime(year, 2, 7, 6, 28, 15, tzinfo=UTC)
    journal = AuditJournal(folder, clock=clock, host="pc-1")
    journal.record(refusal(0))
    assert journal.flush(10)
    verified = verify_journal(folder)
    assert (verified.is_intact, verified.lines, verified.faults) == (True, 1, [])
    assert verified.first is not None
    assert verified.first.year == year


def test_a_clock_that_goes_back_is_told_and_is_no_alarm(tmp_path: Path, clock: Clock) -> None:
    """Also over the end of a month: lines stay in the order of writing."""
    folder = tmp_path / "audit"
    journal = AuditJournal(folder, clock=clock, host="pc-1")
    journal.record(refusal(1))
    clock.at = datetime(2026, 10, 1, tzinfo=UTC)
    journal.record(refusal(2))
    assert journal.flush(10)
    verified = verify_journal(folder)
    assert [fault.finding for fault in verified.faults] == [Finding.CLOCK_BACK]
    assert verified.is_intact
    assert _peers(folder) == ["192.0.2.1", "192.0.2.2"]


def test_a_sealed_journal_cannot_be_written_anew(written: Callable[[int], Path]) -> None:
    """Somebody with all rights who computes every digest again has no keys of earlier lines."""
    folder = written(2)
    journal = AuditJournal(folder, host="pc-1")
    key = key_from_text(journal.seal())
    for number in range(3):
        journal.record(refusal(number))
    assert journal.flush(10)
    intact = verify_journal(folder, [key])
    assert not intact.faults
    assert intact.sealed == 4
    head = read_head(folder)
    assert head is not None
    assert key.hex() not in head.key_hex
    again = AuditJournal(folder.parent / "forged", host="pc-1")
    for line in read_lines(folder):
        entry = line.entry
        again.record(refusal(99) if entry.peer == "192.0.2.1" else entry)
    assert again.flush(10)
    assert verify_journal(folder.parent / "forged").is_intact  # nobody who has no key can tell
    forged = verify_journal(folder.parent / "forged", [key])
    assert {fault.finding for fault in forged.faults} == {Finding.BAD_SEAL}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_a_folder_that_others_could_write_is_refused(tmp_path: Path) -> None:
    """Neither somebody else's, nor one that a group may write to."""
    folder = tmp_path / "audit"
    folder.mkdir(mode=0o770)
    folder.chmod(0o770)
    with pytest.raises(ConfigurationError, match="only this user"):
        AuditJournal(folder)
    folder.chmod(0o700)
    os.chown(folder, 65534, -1)
    with pytest.raises(ConfigurationError, match="only this user"):
        AuditJournal(folder)


def test_an_idle_journal_has_no_thread(tmp_path: Path) -> None:
    """Opening one starts nothing, so that a server may fork afterwards."""
    before = threading.active_count()
    AuditJournal(tmp_path / "audit")
    assert threading.active_count() == before

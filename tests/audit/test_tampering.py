"""Any byte of a journal that is changed, cut, added, moved or dropped is found, at its line."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from cps_auth.audit.head import journal_files
from cps_auth.audit.journal import AuditJournal
from cps_auth.audit.verify import Fault, Finding, verify_journal
from tests.audit.conftest import refusal

LINES = 12


def _found(folder: Path, lines: list[bytes]) -> list[Fault]:
    (file,) = journal_files(folder)
    file.write_bytes(b"".join(lines))
    verified = verify_journal(folder)
    assert not verified.is_intact
    return verified.faults


@pytest.fixture
def journal(written: Callable[[int], Path]) -> tuple[Path, list[bytes]]:
    """A folder, and the lines of its only file with their ends."""
    folder = written(LINES)
    (file,) = journal_files(folder)
    return folder, file.read_bytes().splitlines(keepends=True)


def test_every_byte_counts(journal: tuple[Path, list[bytes]]) -> None:
    """Each byte of three lines, first, middle and last, changed in one bit."""
    folder, lines = journal
    for index in (0, LINES // 2, LINES - 1):
        for at in range(len(lines[index])):
            changed = bytearray(lines[index])
            changed[at] ^= 1 << (at % 8)
            faults = _found(folder, [*lines[:index], bytes(changed), *lines[index + 1 :]])
            # an end of a line that is none makes one line of two; a byte that becomes one, two
            assert any(fault.line - index in (1, 2) for fault in faults), (index, at)


def test_changes_at_random(journal: tuple[Path, list[bytes]]) -> None:
    """Bytes changed, inserted and removed anywhere, a thousand times, the same on every day."""
    folder, lines = journal
    content = b"".join(lines)
    draw = random.Random(20261130)  # noqa: S311, no secret
    for _ in range(1000):
        at = draw.randrange(len(content))
        kind = draw.choice(("change", "insert", "remove"))
        byte = bytes([draw.randrange(256)])
        after = content[at:] if kind == "insert" else content[at + 1 :]
        changed = content[:at] + (b"" if kind == "remove" else byte) + after
        if changed == content:
            continue
        (file,) = journal_files(folder)
        file.write_bytes(changed)
        faults = verify_journal(folder).faults
        line = content[:at].count(b"\n") + 1
        assert any(line <= fault.line <= line + 1 for fault in faults), (kind, at, faults)
        if at < len(content) - 1 - len(lines[-1]):
            assert not verify_journal(folder).is_intact, (kind, at)


@pytest.mark.parametrize("index", [1, 5, LINES - 2])
def test_lines_removed_moved_repeated_and_added(
    index: int, journal: tuple[Path, list[bytes]]
) -> None:
    """Each with its own word, at its place."""
    folder, lines = journal
    removed = _found(folder, [*lines[:index], *lines[index + 1 :]])
    assert [(f.finding, f.line, f.detail) for f in removed] == [
        (Finding.MISSING, index + 1, f"entries {index + 1} to {index + 1}")
    ]
    swapped = [*lines[:index], lines[index + 1], lines[index], *lines[index + 2 :]]
    moved = _found(folder, swapped)
    assert [(f.finding, f.line) for f in moved] == [
        (Finding.MISSING, index + 1),
        (Finding.MOVED, index + 2),
    ]
    repeated = _found(folder, [*lines[: index + 1], *lines[index:]])
    assert [(f.finding, f.line) for f in repeated] == [(Finding.MOVED, index + 2)]
    foreign = _found(folder, [*lines[:index], b"Nov 30 08:00:01 pc sshd\n", *lines[index:]])
    assert [(f.finding, f.line) for f in foreign] == [(Finding.FOREIGN, index + 1)]


def test_a_line_of_another_journal(journal: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    """Whole and well formed, of another host: it does not follow, and is not ours."""
    folder, lines = journal
    other = AuditJournal(tmp_path / "other", host="pc-2")
    for number in range(LINES):
        other.record(refusal(100 + number))
    assert other.flush(10)
    (file,) = journal_files(tmp_path / "other")
    theirs = file.read_bytes().splitlines(keepends=True)
    findings = {
        (fault.finding, fault.line) for fault in _found(folder, [*lines[:4], theirs[4], *lines[5:]])
    }
    assert (Finding.OTHER_HOST, 5) in findings
    assert (Finding.REPLACED, 4) in findings


def test_a_head_of_another_host_or_none(journal: tuple[Path, list[bytes]], tmp_path: Path) -> None:
    """The note of the end is another journal's, or gone: the end cannot be vouched for."""
    folder, _ = journal
    head = folder / "head.json"
    own = head.read_bytes()
    head.unlink()
    assert [fault.finding for fault in verify_journal(folder).faults] == [Finding.NO_HEAD]
    other = AuditJournal(tmp_path / "other", host="pc-2")
    for number in range(LINES):
        other.record(refusal(number))
    assert other.flush(10)
    head.write_bytes((tmp_path / "other" / "head.json").read_bytes())
    assert [fault.finding for fault in verify_journal(folder).faults] == [Finding.REPLACED]
    head.write_bytes(own)
    assert not verify_journal(folder).faults


def test_a_file_that_others_could_write_is_told(journal: tuple[Path, list[bytes]]) -> None:
    """Its lines are verified all the same."""
    folder, _ = journal
    (file,) = journal_files(folder)
    file.chmod(0o620)
    verified = verify_journal(folder)
    assert [(fault.finding, fault.line) for fault in verified.faults] == [(Finding.NOT_OURS, 0)]
    assert verified.lines == LINES

"""Extracts: merged, bounded, safe for a spreadsheet, with the 72 hours counted."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cps_auth.audit.entry import AuditEntry, AuditEvent
from cps_auth.audit.export import COLUMNS, breach_extract, merged, to_csv
from cps_auth.audit.head import journal_files
from cps_auth.audit.journal import AuditJournal
from cps_auth.audit.verify import Finding
from tests.audit.conftest import Clock, refusal

MORNING = datetime(2026, 11, 30, 8, 0, tzinfo=UTC)


def _two_hosts(tmp_path: Path) -> list[Path]:
    """Two journals whose entries alternate: odd seconds on one host, even ones on the other."""
    folders = []
    for number, host in enumerate(("pc-1", "pc-2")):
        clock = Clock()
        folder = tmp_path / host
        journal = AuditJournal(folder, clock=clock, host=host)
        for minute in range(4):
            clock.at = MORNING + timedelta(minutes=2 * minute + number, seconds=-1)
            journal.record(refusal(10 * number + minute))
        assert journal.flush(10)
        folders.append(folder)
    return folders


def test_several_hosts_are_merged_by_time(tmp_path: Path) -> None:
    """And bounded: the end is not in it."""
    lines = merged(_two_hosts(tmp_path), since=MORNING, until=MORNING + timedelta(minutes=4))
    assert [(line.host, line.n) for line in lines] == [
        ("pc-1", 1),
        ("pc-2", 1),
        ("pc-1", 2),
        ("pc-2", 2),
    ]


def test_what_comes_from_outside_is_no_formula(tmp_path: Path) -> None:
    """In a spreadsheet, and a comma or a line end in a name stays in its cell."""
    folder = tmp_path / "audit"
    journal = AuditJournal(folder, clock=Clock())
    hostile = '=HYPERLINK("x"),\n"'
    journal.record(AuditEntry(event=AuditEvent.LOGIN, surface="web", peer=hostile))
    assert journal.flush(10)
    heading, row = csv.reader(io.StringIO(to_csv(merged([folder]))))
    assert tuple(heading) == COLUMNS
    assert dict(zip(heading, row, strict=True))["peer"] == "'" + hostile


def test_the_extract_for_the_register(tmp_path: Path) -> None:
    """Who and whence, how many of what, whether the journals are intact, and how long is left."""
    folders = _two_hosts(tmp_path)
    (file,) = journal_files(folders[1])
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join([*lines[:2], *lines[3:]]))
    extract = breach_extract(
        folders,
        since=MORNING,
        until=MORNING + timedelta(hours=1),
        discovered_at=MORNING + timedelta(hours=10),
        at=MORNING + timedelta(hours=30, minutes=30),
    )
    assert extract.notify_by == MORNING + timedelta(hours=82)
    assert extract.hours_left == 51.5
    assert extract.holders == ("899700000000",)
    assert extract.peers == tuple(f"192.0.2.{n}" for n in (0, 1, 10, 11, 13, 2, 3))
    assert extract.counts == {AuditEvent.LOGIN_REFUSED: 7}
    assert extract.altered == {str(folders[1]): (Finding.MISSING,)}

"""The audit journal: what a line costs whoever logs in, and how long a year takes to verify.

The peer of a line is a plain `logging.FileHandler` that writes the same bytes.
"""

from __future__ import annotations

import logging
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from benchmarks.timing import Figure, compare
from cps_auth.audit.chain import digest_of, write_line
from cps_auth.audit.entry import AuditEntry, AuditEvent, Evidence, Line
from cps_auth.audit.head import HEAD, Head
from cps_auth.audit.journal import AuditJournal
from cps_auth.audit.verify import verify_journal
from hardware_mocks.igc.fake_igc import FakeIgcSante

ENTRIES = 100_000
ENTRY = AuditEntry(
    event=AuditEvent.LOGIN,
    surface="pc",
    holder="899900000011",
    account="camille",
    card="8025000001100000011",
    certificate="ab" * 32,
    evidence=(
        Evidence("crl", "FICTIVE AC IGC-SANTE FORT PERSONNES", 12, 3600),
        Evidence("crl", "FICTIVE AC RACINE IGC-SANTE FORT", 3, 86400),
    ),
    method="gdm-password",
    peer="uid 0",
)


def audit_line(_igc: FakeIgcSante, _folder: Path) -> Figure:
    """Recording one entry until it is in the file, beside a line of `logging`."""
    with tempfile.TemporaryDirectory() as name:
        journal = AuditJournal(Path(name) / "audit")
        plain = logging.FileHandler(Path(name) / "plain.log")
        line = msgspec.json.encode(ENTRY).decode()
        record = logging.makeLogRecord({"msg": line})
        figure = compare(
            "one line of the audit journal, until it is written",
            ("AuditJournal.record", lambda: journal.record(ENTRY)),
            ("logging.FileHandler, the same words", lambda: plain.emit(record)),
            rounds=300,
        )
        journal.flush(30)
        plain.close()
    return figure


def audit_verify(_igc: FakeIgcSante, _folder: Path) -> str:
    """Verifying a journal of a hundred thousand lines, the years of a practice."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_journal(folder)
        started_s = time.perf_counter()
        verified = verify_journal(folder)
        took_s = time.perf_counter() - started_s
    if not verified.is_intact or verified.lines != ENTRIES:
        raise AssertionError(verified.faults[:3])
    return f"verifying {ENTRIES} lines of the audit journal: {took_s:.2f} s"


def _write_journal(folder: Path) -> None:
    at, previous = datetime(2026, 1, 1, tzinfo=UTC), Head().digest
    lines = []
    for n in range(1, ENTRIES + 1):
        line = Line(n=n, at=at + timedelta(seconds=n), host="pc", previous=previous, entry=ENTRY)
        lines.append(write_line(line, None))
        previous = digest_of(lines[-1])
    (folder / "audit-2026-01.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    (folder / HEAD).write_bytes(msgspec.json.encode(Head(ENTRIES, previous)))


FIGURES = (audit_line, audit_verify)

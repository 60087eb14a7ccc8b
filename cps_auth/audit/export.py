"""Extracts of audit journals: several hosts in one, as CSV or JSON, and for the breach register.

Source: GDPR article 33(1), 72 hours after having become aware of a breach; 33(5), the register.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from pathlib import Path

import msgspec

from cps_auth.audit.entry import AuditEvent, Line
from cps_auth.audit.verify import Finding, read_lines, verify_journal

NOTIFY_WITHIN = timedelta(hours=72)

COLUMNS = (
    "at",
    "host",
    "n",
    "event",
    "surface",
    "outcome",
    "holder",
    "account",
    "card",
    "certificate",
    "method",
    "peer",
    "reason",
    "detail",
    "evidence",
)


@dataclass(frozen=True)
class BreachExtract:
    """An extract of the journals for the register of breaches.

    Attributes:
        since, until: the time span.
        discovered_at: when the practice became aware of it.
        notify_by: until when the CNIL has to be notified.
        hours_left: at the moment of the extract; negative when it is late.
        holders: PS_IdNat of everybody who logged in or tried to, sorted.
        peers: addresses and seats, sorted.
        counts: how many entries there are of each event.
        altered: by folder, what verification found to be no longer as it was written.
        lines: all of them, in the order of time.
    """

    since: datetime
    until: datetime
    discovered_at: datetime
    notify_by: datetime
    hours_left: float
    holders: tuple[str, ...]
    peers: tuple[str, ...]
    counts: dict[AuditEvent, int]
    altered: dict[str, tuple[Finding, ...]]
    lines: tuple[Line, ...]


def merged(
    folders: Sequence[Path], *, since: datetime | None = None, until: datetime | None = None
) -> list[Line]:
    """Return the lines of several journals in the order of time.

    Args:
        folders: of the journals; each its own chain.
        since, until: aware; `until` itself is not in it. None: no bound.

    Raises:
        OSError: a file cannot be read.
    """
    lines = merge(*(sorted(read_lines(folder), key=_when) for folder in folders), key=_when)
    return [
        line
        for line in lines
        if (since is None or line.at >= since) and (until is None or line.at < until)
    ]


def breach_extract(
    folders: Sequence[Path],
    *,
    since: datetime,
    until: datetime,
    discovered_at: datetime,
    at: datetime,
) -> BreachExtract:
    """Make an extract for the register of breaches.

    Args:
        folders, since, until: as for `merged`.
        discovered_at: when the practice became aware, aware UTC.
        at: now, aware UTC.

    Raises:
        OSError: a file cannot be read.
    """
    lines = merged(folders, since=since, until=until)
    entries = [line.entry for line in lines]
    faults = {str(folder): verify_journal(folder).faults for folder in folders}
    notify_by = discovered_at + NOTIFY_WITHIN
    return BreachExtract(
        since=since,
        until=until,
        discovered_at=discovered_at,
        notify_by=notify_by,
        hours_left=round((notify_by - at).total_seconds() / 3600, 1),
        holders=tuple(sorted({entry.holder for entry in entries if entry.holder})),
        peers=tuple(sorted({entry.peer for entry in entries if entry.peer})),
        counts=dict(Counter(entry.event for entry in entries)),
        altered={
            folder: tuple(fault.finding for fault in found)
            for folder, found in faults.items()
            if found
        },
        lines=tuple(lines),
    )


def to_csv(lines: Iterable[Line]) -> str:
    """Return lines as a table for a spreadsheet, with a heading.

    A cell that a spreadsheet would take for a formula is quoted: names and addresses come from
    outside.
    """
    written = io.StringIO()
    table = csv.writer(written)
    table.writerow(COLUMNS)
    for line in lines:
        plain = msgspec.to_builtins(line)
        entry = plain.pop("entry")
        entry["evidence"] = " ".join(
            f"{one['source']}:{one['issuer']}:{one.get('number', '-')}:{one.get('age_s', 0)}s"
            for one in entry.get("evidence", ())
        )
        table.writerow([_cell((plain | entry).get(column)) for column in COLUMNS])
    return written.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return "" if value is None else value


def _when(line: Line) -> datetime:
    return line.at

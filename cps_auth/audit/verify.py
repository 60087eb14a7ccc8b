"""Verifies an audit journal: which line is missing, changed, moved or foreign, and where."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

from cps_auth.audit.chain import (
    BEGINNING,
    ReadLine,
    digest_of,
    key_name,
    next_key,
    read_line,
    seal_of,
)
from cps_auth.audit.entry import AuditEvent, Line
from cps_auth.audit.head import Head, journal_files, read_head
from cps_auth.files import is_protected


class Finding(StrEnum):
    """A deviation of a journal from what was written."""

    CHANGED = "changed"
    FOREIGN = "foreign"  # no line of a journal
    MISSING = "missing"  # lines before this one are gone
    MOVED = "moved"  # out of its order, or there twice
    REPLACED = "replaced"  # whole and in its place, but not what the next line was written after
    OTHER_HOST = "other-host"
    CUT = "cut"  # the journal once had more lines at its end
    NO_HEAD = "no-head"  # its own note of where it ends is gone
    NO_BEGINNING = "no-beginning"
    BAD_SEAL = "bad-seal"
    NOT_OURS = "not-ours"  # others could have written the file
    TORN = "torn"  # a last line cut short: a power failure
    CLOCK_BACK = "clock-back"


HARMLESS = frozenset({Finding.TORN, Finding.CLOCK_BACK})
"""Findings that power failures and clocks cause; nobody needs to have touched the journal."""

_CLOCK_TOLERANCE = timedelta(minutes=1)
"""Entries have the time of their event, and are written in the order of coming to the disk."""


@dataclass(frozen=True)
class Fault:
    """One finding at its place.

    Attributes:
        finding: what is wrong.
        file: name of the file.
        line: in it, 1 is the first.
        detail: technical words.
    """

    finding: Finding
    file: str
    line: int
    detail: str = ""


@dataclass
class Verified:
    """The result of verifying a journal.

    Attributes:
        lines: how many were read.
        faults: in the order of the journal.
        first, last: when its first and last lines were written.
        sealed: how many seals were verified.
    """

    lines: int = 0
    faults: list[Fault] = field(default_factory=list)
    first: datetime | None = None
    last: datetime | None = None
    sealed: int = 0

    @property
    def is_intact(self) -> bool:
        """Return whether nothing was removed, changed, added or moved."""
        return all(fault.finding in HARMLESS for fault in self.faults)


def read_lines(folder: Path) -> Iterator[Line]:
    """Yield the lines of a journal that are what they say; verify it for more than that."""
    for file in journal_files(folder):
        for unverified in file.read_bytes().split(b"\n"):
            try:
                yield read_line(unverified).line
            except ValueError:
                continue


def verify_journal(folder: Path, keys: Iterable[bytes] = ()) -> Verified:
    """Verify every line of a journal, and that none is missing.

    Args:
        folder: of the journal.
        keys: first keys, as they were shown when each was made; none: seals are not verified.

    Raises:
        OSError: a file cannot be read.
    """
    walk = _Walk(keys)
    for file in journal_files(folder):
        if not is_protected(file):
            walk.fault(Finding.NOT_OURS, file.name, 0)
        walk.file(file.name, file.read_bytes())
    walk.end(read_head(folder))
    return walk.found


class _Walk:
    """From line to line, with what the next one has to say."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.found = Verified()
        self._keys = {key_name(key): key for key in keys}
        self._key: bytes | None = None
        self._before: tuple[ReadLine, str, str, int] | None = None  # line, digest, file, number
        self._started = "", ""  # what the first line names as the one before, and its file
        self._sealed_at = 0
        self._pruned: set[str] = set()
        self._unread = 0  # lines since the one before

    def fault(self, finding: Finding, file: str, line: int, detail: str = "") -> None:
        self.found.faults.append(Fault(finding, file, line, detail))

    def file(self, name: str, content: bytes) -> None:
        lines = content.split(b"\n")
        torn = lines.pop()
        for number, unverified in enumerate(lines, 1):
            self._line(name, number, unverified)
        if torn:
            self.fault(Finding.TORN, name, len(lines) + 1)

    def _line(self, file: str, number: int, unverified: bytes) -> None:
        self.found.lines += 1
        try:
            read = read_line(unverified)
        except ValueError as error:
            finding = Finding.CHANGED if b'"digest"' in unverified else Finding.FOREIGN
            self.fault(finding, file, number, str(error))
            self._unread += 1
            return
        if not self._is_in_place(file, number, read):
            return
        self._seal(file, number, read)
        if read.line.entry.event is AuditEvent.JOURNAL_PRUNED and read.line.entry.detail:
            self._pruned.add(read.line.entry.detail)
        self.found.first = self.found.first or read.line.at
        self.found.last = read.line.at
        self._before = read, digest_of(unverified), file, number
        self._unread = 0

    def _is_in_place(self, file: str, number: int, read: ReadLine) -> bool:
        """Compare a line with the one before; one that is out of order counts no further."""
        line = read.line
        if self._before is None:
            self._started = line.previous, file
            return True
        before, digest_hex, before_file, before_number = self._before
        expected = before.line.n + 1
        if line.n < expected:
            self.fault(Finding.MOVED, file, number, f"entry {line.n} after {before.line.n}")
            return False
        if line.host != before.line.host:
            self.fault(Finding.OTHER_HOST, file, number, line.host)
        if line.at < before.line.at - _CLOCK_TOLERANCE:
            self.fault(Finding.CLOCK_BACK, file, number, f"{before.line.at} then {line.at}")
        if line.n > expected + self._unread:
            last = line.n - 1 - self._unread
            self.fault(Finding.MISSING, file, number, f"entries {expected} to {last}")
        elif line.previous != digest_hex and not self._unread:
            self.fault(Finding.REPLACED, before_file, before_number)
        return True

    def _seal(self, file: str, number: int, read: ReadLine) -> None:
        entry = read.line.entry
        if entry.event is AuditEvent.JOURNAL_SEALED:
            self._key, self._sealed_at = self._keys.get(entry.detail or ""), read.line.n
        if self._key is None:
            return
        while self._sealed_at < read.line.n:  # lines that are missing had keys, too
            self._key, self._sealed_at = next_key(self._key), self._sealed_at + 1
        if read.seal_hex == seal_of(read.digest_hex, self._key):
            self.found.sealed += 1
        else:
            self.fault(Finding.BAD_SEAL, file, number)

    def end(self, head: Head | None) -> None:
        """Compare with the journal's own note of where it ends, and with what was deleted."""
        if head is None:
            self.fault(Finding.NO_HEAD, "", 0)
            head = Head()
        if self._before is None:
            if head.n:
                self.fault(Finding.CUT, "", 0, f"entries 1 to {head.n}")
            return
        read, digest_hex, file, number = self._before
        previous, first_file = self._started
        if previous not in (BEGINNING, *self._pruned):
            self.found.faults.insert(0, Fault(Finding.NO_BEGINNING, first_file, 1))
        last = read.line.n + self._unread
        if head.n > last:
            self.fault(Finding.CUT, file, number, f"entries {last + 1} to {head.n}")
        elif head.n == read.line.n and head.digest != digest_hex:
            self.fault(Finding.REPLACED, file, number)

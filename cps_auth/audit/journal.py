"""The audit journal on disk: one file a month, each line held to the one before.

`record` never raises and waits for no slow disk: a thread of its own writes. What that thread has
written outlives a killed process; what it has synchronised (the note in `head.json` says how far)
outlives a power failure.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import msgspec

from cps_auth.audit.chain import digest_of, key_name, key_text, new_key, next_key, write_line
from cps_auth.audit.entry import AuditEntry, AuditEvent, Line
from cps_auth.audit.head import (
    HEAD,
    Head,
    cut_torn_line,
    follow,
    journal_files,
    last_line,
    read_head,
    synchronise,
)
from cps_auth.errors import ConfigurationError
from cps_auth.files import (
    as_configuration_error,
    is_protected,
    locked,
    make_folder,
    replace_file,
)

KEPT_MONTHS = 12
WAIT_S = 0.05
"""Timeout of a login for its line to be written; after it the line comes later."""

_QUIET_S = 0.02
_DURABLE_WITHIN_S = 0.5
_LOCK = "lock"
_WAITING_MAX = 10_000
_AGAIN_S = 5.0
_MODE = 0o600

_log = logging.getLogger(__name__)


def _watch_forks(this: weakref.ref[AuditJournal]) -> None:
    """Let no child be forked while a line is written: it would inherit the lock, and keep it."""

    def before() -> None:
        if (journal := this()) is not None:
            journal.writing.acquire()

    def in_parent() -> None:
        if (journal := this()) is not None:
            journal.writing.release()

    def in_child() -> None:
        if (journal := this()) is not None:
            journal.begin()

    os.register_at_fork(before=before, after_in_parent=in_parent, after_in_child=in_child)


class _Waiting(NamedTuple):
    at: datetime
    entry: AuditEntry
    written: Future[None]


class AuditJournal:
    """A journal that any number of processes of one user write to. Safe to share between threads.

    A process that was forked goes on with a thread of its own.
    """

    _thread: threading.Thread | None
    _news: threading.Event  # there is something to write
    _idle: threading.Event  # everything is on disk

    def __init__(
        self,
        folder: Path,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        host: str | None = None,
        kept_months: int = KEPT_MONTHS,
    ) -> None:
        """Open a journal; its folder is made if it is not there.

        Args:
            folder: this user's own.
            clock: tells the time, aware UTC.
            host: whose journal it is; this computer's name by default.
            kept_months: files of earlier months are deleted.

        Raises:
            ConfigurationError: the folder cannot be made or is not ours alone to write.
        """
        with as_configuration_error(folder):
            make_folder(folder.parent)
            folder.mkdir(mode=0o700, exist_ok=True)
        if not is_protected(folder, writable=True):
            raise ConfigurationError(f"{folder}: not a folder that only this user can write to")
        self.folder = folder
        self._clock = clock
        self._host = host or os.uname().nodename
        self._kept_months = kept_months
        self.begin()
        _watch_forks(weakref.ref(self))

    def record(self, entry: AuditEntry) -> bool:
        """Write an entry.

        Args:
            entry: what happened.

        Returns:
            Whether it is in the file now. If not, the disk is slow or full: it is written as soon
            as that is over, and said in the log.
        """
        with self._mutex:
            if len(self._waiting) >= _WAITING_MAX:
                self._lost += 1
                _log.critical("audit journal: %s cannot be written, entries are lost", self.folder)
                return False
            written: Future[None] = Future()
            self._waiting.append(_Waiting(self._clock(), entry, written))
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_all, name="audit", daemon=True)
                self._thread.start()
            self._idle.clear()
            self._news.set()
        try:
            written.result(WAIT_S)
        except FutureTimeout:
            _log.critical("audit journal: %s is slow or full, entries wait", self.folder)
            return False
        return True

    def flush(self, within_s: float) -> bool:
        """Wait until everything is written and on disk; return whether that was in time."""
        return self._idle.wait(within_s)

    def seal(self) -> str:
        """Begin to seal lines with a new key.

        Returns:
            The first key as text. It is kept nowhere: whoever is to verify seals writes it down.

        Raises:
            ConfigurationError: the journal cannot be written.
        """
        key = new_key()
        with self.writing, as_configuration_error(self.folder), self._locked():
            head = self._end()
            sealed = _own_entry(AuditEvent.JOURNAL_SEALED, key_name(key))
            head = Head(head.n, head.digest, key.hex())
            self._note(self._append(head, self._clock(), sealed))
        return key_text(key)

    def begin(self) -> None:
        """Begin with nothing to write, also in a process that was forked: its parent writes."""
        self.writing = threading.Lock()
        self._mutex = threading.Lock()
        self._waiting = deque[_Waiting]()
        self._lost = 0
        self._thread = None
        self._news = threading.Event()
        self._idle = threading.Event()
        self._idle.set()

    def _write_all(self) -> None:
        """Write what comes at once; synchronise when no more comes, then end."""
        written_s: float | None = None
        while True:
            is_quiet = not self._news.wait(_QUIET_S)
            self._news.clear()
            try:
                if self._waiting or self._lost:
                    self._write_waiting()
                    written_s = written_s or time.monotonic()
                if written_s and (is_quiet or time.monotonic() > written_s + _DURABLE_WITHIN_S):
                    self._synchronise()
                    written_s = None
            except Exception as error:  # whatever it is, entries wait and are not forgotten
                _log.critical("audit journal: %s: %s", self.folder, error)
                self._news.wait(_AGAIN_S)
                self._news.set()
                continue
            with self._mutex:
                if not self._waiting and written_s is None:
                    self._thread = None
                    self._idle.set()
                    return

    def _write_waiting(self) -> None:
        with self.writing, self._locked():
            head = self._end()
            while self._waiting:
                waiting = self._waiting[0]
                head = self._append(head, waiting.at, waiting.entry)
                self._waiting.popleft()
                waiting.written.set_result(None)
            if self._lost:
                lost, self._lost = self._lost, 0
                self._append(
                    head, self._clock(), _own_entry(AuditEvent.JOURNAL_GAP, f"{lost} entries")
                )

    def _synchronise(self) -> None:
        """Bring the last files to the disk, then the note of where they end."""
        with self.writing, self._locked():
            head = self._end()
            for file in journal_files(self.folder)[-2:]:
                synchronise(file)
            self._note(head)

    def _locked(self) -> contextlib.AbstractContextManager[None]:
        return locked(self.folder / _LOCK, stays=True)

    def _end(self) -> Head:
        """Return where the journal ends, now that nobody else writes; mend a torn last line."""
        noted = read_head(self.folder)
        if noted is None:
            noted = Head()
            if not journal_files(self.folder):
                self._note(noted)
        files = journal_files(self.folder)
        if not files:
            return noted
        torn_bytes, last = cut_torn_line(files[-1])
        found = follow(noted, last)
        if not torn_bytes and found.n >= noted.n:
            return found
        # what is missing stays missing: its numbers are not given again
        after = Head(max(found.n, noted.n), found.digest, found.key_hex)
        words = f"{torn_bytes} bytes, after entry {found.n} of {noted.n}"
        return self._append(after, self._clock(), _own_entry(AuditEvent.JOURNAL_TORN, words))

    def _append(self, head: Head, at: datetime, entry: AuditEntry) -> Head:
        file = self.folder / f"audit-{at:%Y-%m}.jsonl"
        files = journal_files(self.folder)
        if files and file < files[-1]:
            file = files[-1]  # the clock went back: lines stay in the order of writing
        if not file.exists():
            head = self._prune(head, at, file)
        return self._append_line(file, head, at, entry)

    def _append_line(self, file: Path, head: Head, at: datetime, entry: AuditEntry) -> Head:
        key = bytes.fromhex(head.key_hex)
        line = Line(n=head.n + 1, at=at, host=self._host, previous=head.digest, entry=entry)
        whole = write_line(line, key or None)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(file, flags, _MODE)
        try:
            written = os.write(descriptor, whole + b"\n")
        finally:
            os.close(descriptor)
        if written != len(whole) + 1:
            raise OSError(28, "No space left on device", str(file))
        return Head(line.n, digest_of(whole), next_key(key).hex() if key else "")

    def _prune(self, head: Head, at: datetime, file: Path) -> Head:
        """Delete files of months that are kept no longer; the new file says which."""
        oldest = at.year * 12 + at.month - self._kept_months
        for old in journal_files(self.folder):
            year, month = map(int, old.stem.removeprefix("audit-").split("-"))
            if year * 12 + month >= oldest:
                break
            pruned = _own_entry(AuditEvent.JOURNAL_PRUNED, digest_of(last_line(old)))
            head = self._append_line(file, head, at, pruned)
            old.unlink()
        return head

    def _note(self, head: Head) -> None:
        replace_file(self.folder / HEAD, msgspec.json.encode(head), mode=_MODE)


def _own_entry(event: AuditEvent, detail: str) -> AuditEntry:
    return AuditEntry(event=event, surface="journal", detail=detail)

"""The SQLite file of the web backend: private, in WAL mode, one connection per operation."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from cps_auth.errors import ConfigurationError, StoreUnavailable
from cps_auth.files import make_folder, ownership_fault
from cps_auth.flask.stores.ports import store_time

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Linux's name for the time since the machine was started."""

_BUSY_TIMEOUT_S = 5.0
_AGAIN_S = 0.02
_PRIVATE = 0o600


class Database:
    """Gives connections, one per operation: safe across threads and forks."""

    def __init__(self, path: Path, *schemas: str) -> None:
        """Create the file, readable by this user only, with its tables.

        Args:
            path: absolute; missing folders are created.
            schemas: SQL that creates what is missing.

        Raises:
            ConfigurationError: it cannot be created, is another's or readable by others.
        """
        self._path = path
        self._idle = _IdleConnection()
        weakref.finalize(self, self._idle.close)
        try:
            make_folder(path.parent, 0o700)
            _create_private(path)
            self._prepare(schemas)
        except (OSError, sqlite3.Error) as error:
            raise ConfigurationError(f"CPS_DATABASE {path}: {error}") from None

    def _prepare(self, schemas: Sequence[str]) -> None:
        """Make tables. Workers begin together: SQLite waits for no other that goes to WAL mode."""
        give_up_s = time.monotonic() + _BUSY_TIMEOUT_S
        while True:
            try:
                with closing(self._open(_BUSY_TIMEOUT_S)) as connection:
                    connection.execute("PRAGMA journal_mode = WAL")
                    _forget_before_restart(connection)
                    for schema in schemas:
                        connection.executescript(schema)
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > give_up_s:
                    raise
                time.sleep(_AGAIN_S)
            else:
                return

    @contextmanager
    def connect(self) -> Iterator[sqlite3.Connection]:
        """Give a connection in autocommit mode: every statement is a transaction.

        Raises:
            StoreUnavailable: the file cannot be used; also when that shows inside the block.
        """
        try:
            with store_time() as left_s:
                status = self._path.stat()  # a file that is gone is not made again, empty
                self._idle.keep((os.getpid(), status.st_dev, status.st_ino), self._open)
                with closing(self._open(left_s)) as connection:
                    yield connection
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(f"{type(error).__name__}: {error}") from None

    def _open(self, wait_s: float) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=wait_s, isolation_level=None, check_same_thread=False
        )
        connection.row_factory = sqlite3.Row
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
        except sqlite3.Error:
            connection.close()
            raise
        return connection


class _IdleConnection:
    """A connection that does nothing, for as long as this process has the file.

    Whoever closes the last connection to a file in WAL mode writes everything to the disk and
    removes the log: 14 ms, of which 2 ms of CPU, where an operation takes 0.2 ms.
    """

    def __init__(self) -> None:
        self._making = threading.Lock()
        self._owner: tuple[int, int, int] | None = None
        self._connection: sqlite3.Connection | None = None

    def keep(
        self, owner: tuple[int, int, int], open_one: Callable[[float], sqlite3.Connection]
    ) -> None:
        """Be there for a process and its file; where another thread sees to it, go on without.

        Args:
            owner: process, device and inode.
            open_one: opens a connection, given how long to wait for others.
        """
        if self._owner == owner or not self._making.acquire(blocking=False):
            return
        try:
            self.close()
            connection = open_one(0.0)
            self._owner, self._connection = owner, connection
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.Error:  # the operation itself tells
            self.close()
        finally:
            self._making.release()

    def close(self) -> None:
        """Close it, if this process opened it."""
        if self._owner is not None and self._owner[0] != os.getpid():
            _OF_PARENTS.append(self._connection)
        elif self._connection is not None:
            self._connection.close()
        self._owner = self._connection = None


_OF_PARENTS: list[object] = []
"""Connections that a fork brought along: SQLite forbids a child even to close them."""


def _is_busy(error: sqlite3.Error) -> bool:
    """Recognise SQLITE_BUSY and its variants: the low byte of an extended result code."""
    code = getattr(error, "sqlite_errorcode", None)  # some are made by us, without one
    return code is not None and code & 0xFF == sqlite3.SQLITE_BUSY


def _forget_before_restart(connection: sqlite3.Connection) -> None:
    """Make the file anew after the machine was started again.

    Commits are not waited for on the disk (synchronous = NORMAL): a process that dies loses none,
    but a power cut may bring back a challenge that was taken, or a session that was ended.
    """
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE IF NOT EXISTS made (boot TEXT NOT NULL)")
    made = connection.execute("SELECT boot FROM made").fetchone()
    if made is None or made["boot"] != _boot():
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (name,) in tables.fetchall():
            connection.execute(f'DROP TABLE "{name}"')
        connection.execute("CREATE TABLE made (boot TEXT NOT NULL)")
        connection.execute("INSERT INTO made VALUES (?)", (_boot(),))
    connection.execute("COMMIT")


def _boot() -> str:
    return _BOOT_ID.read_text().strip()


def _create_private(path: Path) -> None:
    """SQLite gives its -wal and -shm files the mode of the main file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _PRIVATE)
    try:
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    is_private = status.st_uid == os.geteuid() and not stat.S_IMODE(status.st_mode) & 0o077
    if ownership_fault(status) is not None or not is_private:
        raise ConfigurationError(f"CPS_DATABASE {path}: must belong to this user, mode 0600")

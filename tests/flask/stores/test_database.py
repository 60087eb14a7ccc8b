"""The SQLite file when several workers begin at once."""

from __future__ import annotations

import multiprocessing
import sqlite3
from contextlib import closing
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest

from cps_auth.errors import ConfigurationError
from cps_auth.flask.stores import database
from cps_auth.flask.stores.database import Database

TABLE = "CREATE TABLE IF NOT EXISTS a (b)"
WORKERS, ROUNDS = 4, 40


def _begin(folder: Path, together: Barrier, said: SimpleQueue[str]) -> None:
    for number in range(ROUNDS):
        together.wait(60)
        try:
            Database(folder / f"{number}.sqlite3", TABLE)
        except ConfigurationError as error:
            said.put(str(error))
    said.put("")


def test_workers_that_begin_together(tmp_path: Path) -> None:
    """Each makes the file, or finds it made: none is refused because of another."""
    context = multiprocessing.get_context("fork")
    together, said = context.Barrier(WORKERS), context.SimpleQueue()
    workers = [
        context.Process(target=_begin, args=(tmp_path, together, said)) for _ in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    heard, ended = [], 0
    while ended < WORKERS:
        words = said.get()
        ended += not words
        heard += [words] if words else []
    for worker in workers:
        worker.join(60)
    assert heard == []


def test_a_file_that_stays_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is waited for, and not for ever."""
    monkeypatch.setattr(database, "_BUSY_TIMEOUT_S", 0.1)
    path = tmp_path / "a.sqlite3"
    Database(path, TABLE)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConfigurationError, match="database is locked"):
            Database(path, TABLE)
    Database(path, TABLE)


def test_what_is_no_database(tmp_path: Path) -> None:
    """It is refused at once, not waited for."""
    path = tmp_path / "a.sqlite3"
    path.write_bytes(b"no database" * 100)
    path.chmod(0o600)
    with pytest.raises(ConfigurationError, match="not a database"):
        Database(path, TABLE)

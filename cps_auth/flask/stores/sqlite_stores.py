"""The stores in one SQLite file. Several processes may share it, on one host.

One `DELETE … RETURNING` both finds and removes, so only one process gets what it takes.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from pathlib import Path

from cps_auth.errors import ChallengeUnknown
from cps_auth.flask.stores import sqlite_sessions
from cps_auth.flask.stores.database import Database
from cps_auth.flask.stores.ports import (
    CAPACITY,
    STORE_VERSION,
    TOKEN_BYTES,
    Stores,
    check_taken,
    sha256,
    window_of,
)
from cps_auth.flask.stores.sqlite_sessions import SqliteSessions
from cps_auth.login.challenge import restore_challenge, store_text
from cps_auth.model import Challenge

SCHEMA = """
CREATE TABLE IF NOT EXISTS form_token (
    token_sha256 BLOB PRIMARY KEY,
    browser_sha256 BLOB NOT NULL,
    content TEXT NOT NULL,
    issued_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS form_token_age ON form_token (issued_at);
CREATE TABLE IF NOT EXISTS challenge (
    browser_sha256 BLOB PRIMARY KEY,
    challenge TEXT NOT NULL,
    issued_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS challenge_age ON challenge (issued_at);
CREATE TABLE IF NOT EXISTS rate (
    what TEXT NOT NULL,
    who_sha256 BLOB NOT NULL,
    number INTEGER NOT NULL,
    ends_at REAL NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (what, who_sha256, number)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS rate_end ON rate (ends_at);
"""


def open_sqlite_stores(path: Path, *, form_lifetime: timedelta) -> Stores:
    """Open, or create, every store in one file.

    Args:
        path: absolute; `versioned` says how the file is called.
        form_lifetime: how long a form may wait.

    Raises:
        ConfigurationError: as `Database`.
    """
    database = Database(versioned(path), sqlite_sessions.SCHEMA, SCHEMA)
    return Stores(
        forms=SqliteFormTokens(database, lifetime=form_lifetime),
        challenges=SqliteChallenges(database),
        sessions=SqliteSessions(database),
        rates=SqliteRates(database),
    )


def versioned(path: Path) -> Path:
    """Return the file of this version's tables: `cps-auth-5.sqlite3` for `cps-auth.sqlite3`."""
    return path.with_stem(f"{path.stem}-{STORE_VERSION}")


class SqliteFormTokens:
    """A `FormTokenStore` in the web backend's SQLite file."""

    def __init__(self, database: Database, *, lifetime: timedelta) -> None:
        self._database = database
        self._lifetime = lifetime

    def issue(self, browser_id: str, content: str, *, at: datetime) -> str:
        """Return a fresh token for this browser."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        now = at.timestamp()
        with self._database.connect() as connection:
            connection.execute(
                "DELETE FROM form_token WHERE issued_at < ? OR token_sha256 IN ("
                "SELECT token_sha256 FROM form_token ORDER BY issued_at DESC LIMIT -1 OFFSET ?)",
                (now - self._lifetime.total_seconds(), CAPACITY - 1),
            )
            connection.execute(
                "INSERT INTO form_token VALUES (?, ?, ?, ?)",
                (sha256(token), sha256(browser_id), content, now),
            )
        return token

    def take(self, unverified_token: str, browser_id: str, *, at: datetime) -> str:
        """Remove the token, atomically, whatever comes of it; return its content."""
        with self._database.connect() as connection:
            rows = connection.execute(
                "DELETE FROM form_token WHERE token_sha256 = ? RETURNING *",
                (sha256(unverified_token),),
            ).fetchall()
        found = (rows[0]["browser_sha256"], rows[0]["issued_at"]) if rows else None
        check_taken(found, browser_id, self._lifetime, at)
        return str(rows[0]["content"])


class SqliteChallenges:
    """A `ChallengeStore` in the web backend's SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, session_id: str, challenge: Challenge) -> None:
        """Keep the challenge for this browser, replacing an earlier one."""
        now = challenge.issued_at.timestamp()
        with self._database.connect() as connection:
            connection.execute(
                "DELETE FROM challenge WHERE issued_at < ? OR browser_sha256 IN ("
                "SELECT browser_sha256 FROM challenge ORDER BY issued_at DESC LIMIT -1 OFFSET ?)",
                (now - challenge.lifetime.total_seconds(), CAPACITY - 1),
            )
            connection.execute(
                "INSERT OR REPLACE INTO challenge VALUES (?, ?, ?)",
                (sha256(session_id), store_text(challenge), now),
            )

    def take(self, session_id: str) -> Challenge:
        """Remove and return the browser's challenge."""
        with self._database.connect() as connection:
            rows = connection.execute(
                "DELETE FROM challenge WHERE browser_sha256 = ? RETURNING challenge",
                (sha256(session_id),),
            ).fetchall()
        if not rows:
            raise ChallengeUnknown("none-waiting")
        return restore_challenge(rows[0]["challenge"])


class SqliteRates:
    """A `RateStore` in the web backend's SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, what: str, who: str, *, window: timedelta, at: datetime) -> int:
        """Count one more; return how many there were in this window, this one included."""
        number, ends_at = window_of(window, at)
        with self._database.connect() as connection:
            connection.execute("DELETE FROM rate WHERE ends_at < ?", (at.timestamp(),))
            rows = connection.execute(
                "INSERT INTO rate VALUES (?, ?, ?, ?, 1)"
                " ON CONFLICT DO UPDATE SET count = count + 1 RETURNING count",
                (what, sha256(who), number, ends_at),
            ).fetchall()
        return int(rows[0]["count"])

    def count(self, what: str, who: str, *, window: timedelta, at: datetime) -> int:
        """Return how many there were in this window."""
        number, _ = window_of(window, at)
        with self._database.connect() as connection:
            row = connection.execute(
                "SELECT count FROM rate WHERE what = ? AND who_sha256 = ? AND number = ?",
                (what, sha256(who), number),
            ).fetchone()
        return 0 if row is None else int(row["count"])

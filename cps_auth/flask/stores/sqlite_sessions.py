"""Sessions in the web backend's SQLite file."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from cps_auth.flask.sessions.model import (
    KEEP_ENDED,
    EndReason,
    NewSession,
    SessionRow,
    handle_of,
    new_session_id,
    session_key,
)
from cps_auth.flask.stores.database import Database
from cps_auth.flask.stores.rows import new_record, read_row, readable

SCHEMA = """
CREATE TABLE IF NOT EXISTS cps_session (
    id_sha256 BLOB PRIMARY KEY,
    record TEXT NOT NULL,
    certificate_der BLOB NOT NULL,
    handle TEXT NOT NULL,
    reader TEXT,
    watch_id TEXT,
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    last_seen_at REAL NOT NULL,
    heartbeat_at REAL,
    ended_at REAL,
    end_reason TEXT
);
CREATE INDEX IF NOT EXISTS cps_session_end ON cps_session (coalesce(ended_at, expires_at));
"""

_INSERT = "INSERT INTO cps_session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)"
_END = "UPDATE cps_session SET ended_at = ?, end_reason = ? WHERE ended_at IS NULL AND "
_END_ONE = _END + "id_sha256 = ? RETURNING *"
_END_HANDLE = _END + "handle = ? RETURNING *"
_END_READER = _END + "watch_id = ? AND reader = ? RETURNING *"
_END_WATCH = _END + "watch_id = ? RETURNING *"


class SqliteSessions:
    """A `SessionStore` in the web backend's SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewSession, *, at: datetime, lifetime: timedelta) -> str:
        """Open a session and return its identifier, never seen before."""
        session_id, now = new_session_id(), at.timestamp()
        key = session_key(session_id)
        record, expires_at = new_record(new, key, at=at, lifetime=lifetime)
        with self._database.connect() as connection:
            connection.execute(
                "DELETE FROM cps_session WHERE coalesce(ended_at, expires_at) < ?",
                (now - KEEP_ENDED.total_seconds(),),
            )
            connection.execute(
                _INSERT,
                (
                    key,
                    record.decode(),
                    new.certificate_der,
                    handle_of(key),
                    new.reader,
                    new.watch_id,
                    now,
                    expires_at,
                    now,
                    now if new.is_guarded_by_browser else None,
                ),
            )
        return session_id

    def find(self, session_id: str) -> SessionRow | None:
        """Return the session, ended or not; None if there never was one, or long ago."""
        with self._database.connect() as connection:
            found = connection.execute(
                "SELECT * FROM cps_session WHERE id_sha256 = ?", (session_key(session_id),)
            ).fetchall()
        rows = self._read(found)
        return rows[0] if rows else None

    def record_activity(self, session_id: str, *, at: datetime) -> None:
        """Record that its person did something."""
        self._note("UPDATE cps_session SET last_seen_at = ? WHERE id_sha256 = ?", session_id, at)

    def record_heartbeat(self, session_id: str, *, at: datetime) -> None:
        """Record that the browser which guards it says that the card is there."""
        self._note("UPDATE cps_session SET heartbeat_at = ? WHERE id_sha256 = ?", session_id, at)

    def end(self, session_id: str, reason: EndReason, *, at: datetime) -> tuple[SessionRow, ...]:
        """End one session; return it, or nothing if it was over already."""
        return self._end(_END_ONE, reason, at, session_key(session_id))

    def end_reader(
        self, watch_id: str, reader: str, reason: EndReason, *, at: datetime
    ) -> tuple[SessionRow, ...]:
        """End what the card in one reader had opened under one watcher; return those."""
        return self._end(_END_READER, reason, at, watch_id, reader)

    def end_watch(
        self, watch_id: str, reason: EndReason, *, at: datetime
    ) -> tuple[SessionRow, ...]:
        """End everything that one watcher guarded; return those."""
        return self._end(_END_WATCH, reason, at, watch_id)

    def end_handle(self, handle: str, reason: EndReason, *, at: datetime) -> tuple[SessionRow, ...]:
        """End the session of that handle; return it, or nothing."""
        return self._end(_END_HANDLE, reason, at, handle)

    def live(self, *, at: datetime) -> tuple[SessionRow, ...]:
        """Return every session that was not ended, the oldest first."""
        with self._database.connect() as connection:
            rows = connection.execute(
                "SELECT * FROM cps_session WHERE ended_at IS NULL AND expires_at > ?"
                " ORDER BY created_at",
                (at.timestamp(),),
            ).fetchall()
        return self._read(rows)

    def _note(self, statement: str, session_id: str, at: datetime) -> None:
        with self._database.connect() as connection:
            connection.execute(statement, (at.timestamp(), session_key(session_id)))

    def _end(
        self, statement: str, reason: EndReason, at: datetime, *which: str | bytes
    ) -> tuple[SessionRow, ...]:
        with self._database.connect() as connection:
            rows = connection.execute(statement, (at.timestamp(), reason.value, *which)).fetchall()
        return self._read(rows)

    def _read(self, found: list[sqlite3.Row]) -> tuple[SessionRow, ...]:
        return readable(map(dict, found), read_row, self._remove)

    def _remove(self, fields: dict[str, object]) -> None:
        with self._database.connect() as connection:
            connection.execute(
                "DELETE FROM cps_session WHERE id_sha256 = ?", (fields["id_sha256"],)
            )

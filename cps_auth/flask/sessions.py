"""Server-side sessions: one row each, found by the hash of an identifier that is never stored."""

from __future__ import annotations

import enum
import hashlib
import secrets
import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from cps_auth.flask.database import Database
from cps_auth.model import CardIdentity, Practitioner, RevocationEvidence, VerifiedHolder

SESSION_ID_BYTES = 32
KEEP_ENDED = timedelta(days=1)
"""An ended row stays this long, so that the browser can be told why."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS cps_session (
    id_sha256 BLOB PRIMARY KEY,
    holder TEXT NOT NULL,
    way_in TEXT NOT NULL,
    card_serial TEXT NOT NULL,
    certificate_sha256 TEXT NOT NULL,
    reader TEXT,
    watch_id TEXT,
    created_at REAL NOT NULL,
    last_seen_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    ended_at REAL,
    end_reason TEXT
);
"""

_END = "UPDATE cps_session SET ended_at = ?, end_reason = ? WHERE ended_at IS NULL AND "
_END_ONE = _END + "id_sha256 = ? RETURNING *"
_END_READER = _END + "watch_id = ? AND reader = ? RETURNING *"
_END_WATCH = _END + "watch_id = ? RETURNING *"


class WayIn(enum.Enum):
    """How a holder proved to be one."""

    LOCAL_READER = "local-reader"


class EndReason(enum.Enum):
    """Why a session is over."""

    LOGOUT = "logout"
    REPLACED = "replaced"  # by the next login of the same browser
    CARD_REMOVED = "card-removed"
    SERVICE_LOST = "service-lost"
    WATCHER_STOPPED = "watcher-stopped"
    IDLE = "idle"
    EXPIRED = "expired"
    ACCOUNT_GONE = "account-gone"


@dataclass(frozen=True, slots=True)
class SessionHolder:
    """What a session remembers of the verified login that opened it."""

    practitioner: Practitioner
    card: CardIdentity
    certificate_serial_hex: str
    certificate_not_after: datetime
    trust: str
    revocation: tuple[RevocationEvidence, ...]
    verified_at: datetime


@dataclass(frozen=True, slots=True)
class SessionRow:
    """One session."""

    holder: SessionHolder
    way_in: WayIn
    reader: str | None  # None: the card is not in a reader of this machine
    watch_id: str | None  # the watcher that guards it, None as for the reader
    created_at: datetime
    last_seen_at: datetime
    expires_at: datetime
    ended_at: datetime | None = None
    end_reason: EndReason | None = None


class SessionStore:
    """The rows, in the web backend's SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        holder: VerifiedHolder,
        *,
        way_in: WayIn,
        reader: str | None,
        watch_id: str | None,
        at: datetime,
        lifetime: timedelta,
    ) -> str:
        """Open a session for a verified login and return its identifier, never seen before."""
        session_id = secrets.token_urlsafe(SESSION_ID_BYTES)
        now = at.timestamp()
        expires_at = min((at + lifetime).timestamp(), holder.certificate_not_after.timestamp())
        with self._database.connect() as connection:
            connection.execute(
                "DELETE FROM cps_session WHERE coalesce(ended_at, expires_at) < ?",
                (now - KEEP_ENDED.total_seconds(),),
            )
            connection.execute(
                "INSERT INTO cps_session VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
                (
                    _sha256(session_id),
                    msgspec.json.encode(holder).decode(),
                    way_in.value,
                    holder.card.serial,
                    holder.card.certificate_sha256_hex,
                    reader,
                    watch_id,
                    now,
                    now,
                    expires_at,
                ),
            )
        return session_id

    def find(self, session_id: str) -> SessionRow | None:
        """Return the session, ended or not; None if there never was one, or long ago."""
        with self._database.connect() as connection:
            row = connection.execute(
                "SELECT * FROM cps_session WHERE id_sha256 = ?", (_sha256(session_id),)
            ).fetchone()
        return None if row is None else _session_row(row)

    def touch(self, session_id: str, *, at: datetime) -> None:
        """Note that its person did something."""
        with self._database.connect() as connection:
            connection.execute(
                "UPDATE cps_session SET last_seen_at = ? WHERE id_sha256 = ?",
                (at.timestamp(), _sha256(session_id)),
            )

    def end(self, session_id: str, reason: EndReason, *, at: datetime) -> tuple[SessionRow, ...]:
        """End one session; return it, or nothing if it was over already."""
        return self._end(_END_ONE, reason, at, _sha256(session_id))

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

    def _end(
        self, statement: str, reason: EndReason, at: datetime, *which: str | bytes
    ) -> tuple[SessionRow, ...]:
        with self._database.connect() as connection:
            rows = connection.execute(statement, (at.timestamp(), reason.value, *which)).fetchall()
        return tuple(_session_row(row) for row in rows)


def why_over(row: SessionRow, *, idle: timedelta, guarded: bool, at: datetime) -> EndReason | None:
    """Return why a session must not go on; None if it may.

    Args:
        row: the session.
        idle: how long its person may do nothing.
        guarded: whether the watcher that guards its card is still running.
        at: now, aware UTC.
    """
    if row.ended_at is not None:
        return row.end_reason
    if row.watch_id is not None and not guarded:
        return EndReason.WATCHER_STOPPED
    if at >= row.expires_at:
        return EndReason.EXPIRED
    return EndReason.IDLE if at - row.last_seen_at > idle else None


def _sha256(session_id: str) -> bytes:
    return hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).digest()


def _session_row(row: sqlite3.Row) -> SessionRow:
    ended_at, reason = row["ended_at"], row["end_reason"]
    return SessionRow(
        holder=msgspec.json.decode(row["holder"], type=SessionHolder),
        way_in=WayIn(row["way_in"]),
        reader=row["reader"],
        watch_id=row["watch_id"],
        created_at=_utc(row["created_at"]),
        last_seen_at=_utc(row["last_seen_at"]),
        expires_at=_utc(row["expires_at"]),
        ended_at=None if ended_at is None else _utc(ended_at),
        end_reason=None if reason is None else EndReason(reason),
    )


def _utc(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)

"""Session rows as stores keep them: a record, beside what changes or is looked up."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec

from cps_auth.flask.sessions.model import (
    EndReason,
    NewSession,
    SessionHolder,
    SessionRow,
    ends_at,
    handle_of,
)

_log = logging.getLogger(__name__)

Stored = TypeVar("Stored")


class _Record(msgspec.Struct, frozen=True):
    """The part of a session that never changes. With it, `ports.STORE_VERSION` changes."""

    handle: str
    holder: SessionHolder
    method: str
    reader: str | None
    watch_id: str | None
    created_at_s: float
    expires_at_s: float


def new_record(
    new: NewSession, key: bytes, *, at: datetime, lifetime: timedelta
) -> tuple[bytes, float]:
    """Return the record of a session that is opened, as JSON, and its end, seconds of the epoch.

    Args:
        new: the session.
        key: of its row.
        at: now, aware UTC.
        lifetime: the application's own.
    """
    expires_at_s = ends_at(new, at, lifetime)
    record = {
        "handle": handle_of(key),
        "holder": new.holder,
        "method": new.method,
        "reader": new.reader,
        "watch_id": new.watch_id,
        "created_at_s": at.timestamp(),
        "expires_at_s": expires_at_s,
    }
    return msgspec.json.encode(record), expires_at_s


def read_row(fields: Mapping[str, Any]) -> SessionRow:
    """Return a session.

    Args:
        fields: `record`, `certificate_der`, `last_seen_at`, and, where there are any,
            `heartbeat_at`, `ended_at`, `end_reason`; seconds of the epoch as numbers or their text.

    Raises:
        ValueError: not whole.
    """
    record = msgspec.json.decode(fields["record"], type=_Record)
    reason = fields.get("end_reason")
    return SessionRow(
        handle=record.handle,
        holder=record.holder,
        certificate_der=fields["certificate_der"],
        method=record.method,
        reader=record.reader,
        watch_id=record.watch_id,
        created_at=_utc(record.created_at_s),
        expires_at=_utc(record.expires_at_s),
        last_seen_at=_utc(fields["last_seen_at"]),
        heartbeat_at=_utc_or_none(fields.get("heartbeat_at")),
        ended_at=_utc_or_none(fields.get("ended_at")),
        end_reason=None if reason is None else EndReason(reason),
    )


def readable(
    stored: Iterable[Stored],
    read: Callable[[Stored], SessionRow],
    remove: Callable[[Stored], None],
) -> tuple[SessionRow, ...]:
    """Return the rows that can be read; what cannot be judged is no session any more.

    Args:
        stored: as they came from a store.
        read: makes a row; its ValueError, KeyError or TypeError means that nobody here can.
        remove: takes such a row out of the store: that session is over, and only that one.
    """
    rows = []
    for each in stored:
        try:
            rows.append(read(each))
        except (ValueError, KeyError, TypeError) as error:
            _log.warning("a session row cannot be read, and is over: %s", error)
            remove(each)
    return tuple(rows)


def _utc_or_none(seconds: float | str | None) -> datetime | None:
    return None if seconds is None else _utc(seconds)


def _utc(seconds: float | str) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)

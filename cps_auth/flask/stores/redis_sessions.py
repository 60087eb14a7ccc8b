"""Sessions in Redis: one hash each, and the set of those that are open."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from cps_auth.flask.sessions.model import (
    KEEP_ENDED,
    EndReason,
    NewSession,
    SessionRow,
    handle_of,
    new_session_id,
    session_key,
)
from cps_auth.flask.stores.redis_server import RedisServer
from cps_auth.flask.stores.rows import new_record, read_row, readable

_CERTIFICATE = "certificate_der"

_CREATE = """
local id = ARGV[1]
local key = base .. 'session:' .. id
for i = 4, #ARGV, 2 do redis.call('HSET', key, ARGV[i], ARGV[i + 1]) end
redis.call('PEXPIRE', key, ARGV[2])
local open = base .. 'open'
redis.call('ZREMRANGEBYSCORE', open, '-inf', ARGV[3])
redis.call('ZADD', open, redis.call('HGET', key, 'expires_at'), id)
if redis.call('PTTL', open) < tonumber(ARGV[2]) then redis.call('PEXPIRE', open, ARGV[2]) end
return 1
"""
_FIND = """
local key = base .. 'session:' .. ARGV[1]
local is_over = redis.call('HEXISTS', key, 'ended_at') == 1
if is_over or redis.call('ZSCORE', base .. 'open', ARGV[1]) then
  return redis.call('HGETALL', key)
end
return {}
"""
"""What is not in the set of open ones could be ended by no card and no administrator: a server
that is short of memory may have dropped the set."""
_NOTE = """
local key = base .. 'session:' .. ARGV[1]
if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, ARGV[2], ARGV[3]) end
return 1
"""
_REMOVE = """
redis.call('ZREM', base .. 'open', ARGV[1])
return redis.call('DEL', base .. 'session:' .. ARGV[1])
"""
_END = """
local ended = {}
local only = ARGV[1]
local wanted = only ~= '' and {only} or redis.call('ZRANGE', base .. 'open', 0, -1)
for _, id in ipairs(wanted) do
  local key = base .. 'session:' .. id
  local fits = redis.call('EXISTS', key) == 1 and redis.call('HEXISTS', key, 'ended_at') == 0
  for i = 5, #ARGV, 2 do
    fits = fits and redis.call('HGET', key, ARGV[i]) == ARGV[i + 1]
  end
  if fits then
    redis.call('HSET', key, 'ended_at', ARGV[2], 'end_reason', ARGV[3])
    redis.call('PEXPIRE', key, ARGV[4])
    redis.call('ZREM', base .. 'open', id)
    table.insert(ended, redis.call('HGETALL', key))
  end
end
return ended
"""
_LIVE = """
local found = {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', base .. 'open', '(' .. ARGV[1], '+inf')) do
  local row = redis.call('HGETALL', base .. 'session:' .. id)
  if #row > 0 then table.insert(found, row) end
end
return found
"""


class RedisSessions:
    """A `SessionStore` in Redis."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def create(self, new: NewSession, *, at: datetime, lifetime: timedelta) -> str:
        """Open a session and return its identifier, never seen before."""
        session_id, now = new_session_id(), at.timestamp()
        key = session_key(session_id)
        record, expires_at = new_record(new, key, at=at, lifetime=lifetime)
        fields: dict[str, str | bytes | float] = {
            "id": key.hex(),
            "record": record,
            _CERTIFICATE: new.certificate_der,
            "handle": handle_of(key),
            "reader": json.dumps(new.reader),
            "watch_id": json.dumps(new.watch_id),
            "expires_at": repr(expires_at),
            "last_seen_at": repr(now),
        }
        if new.is_guarded_by_browser:
            fields["heartbeat_at"] = repr(now)
        keep_ms = _milliseconds(expires_at - now) + _milliseconds(KEEP_ENDED.total_seconds())
        flat = tuple(part for pair in fields.items() for part in pair)
        told_until = repr(now - KEEP_ENDED.total_seconds())
        self._server.run(_CREATE, args=(key.hex(), keep_ms, told_until, *flat))
        return session_id

    def find(self, session_id: str) -> SessionRow | None:
        """Return the session, ended or not; None if there never was one, or long ago."""
        found = self._server.run(_FIND, args=(session_key(session_id).hex(),))
        rows = self._read([found] if found else [])
        return rows[0] if rows else None

    def record_activity(self, session_id: str, *, at: datetime) -> None:
        """Record that its person did something."""
        self._note(session_id, "last_seen_at", at)

    def record_heartbeat(self, session_id: str, *, at: datetime) -> None:
        """Record that the browser which guards it says that the card is there."""
        self._note(session_id, "heartbeat_at", at)

    def end(self, session_id: str, reason: EndReason, *, at: datetime) -> tuple[SessionRow, ...]:
        """End one session; return it, or nothing if it was over already."""
        return self._end(session_key(session_id).hex(), reason, at)

    def end_reader(
        self, watch_id: str, reader: str, reason: EndReason, *, at: datetime
    ) -> tuple[SessionRow, ...]:
        """End what the card in one reader had opened under one watcher; return those."""
        which = ("watch_id", json.dumps(watch_id), "reader", json.dumps(reader))
        return self._end("", reason, at, *which)

    def end_watch(
        self, watch_id: str, reason: EndReason, *, at: datetime
    ) -> tuple[SessionRow, ...]:
        """End everything that one watcher guarded; return those."""
        return self._end("", reason, at, "watch_id", json.dumps(watch_id))

    def end_handle(self, handle: str, reason: EndReason, *, at: datetime) -> tuple[SessionRow, ...]:
        """End the session of that handle; return it, or nothing."""
        return self._end("", reason, at, "handle", handle)

    def live(self, *, at: datetime) -> tuple[SessionRow, ...]:
        """Return every session that was not ended, the oldest first."""
        found = self._server.run(_LIVE, args=(repr(at.timestamp()),))
        return tuple(sorted(self._read(found), key=lambda row: row.created_at))

    def _note(self, session_id: str, field: str, at: datetime) -> None:
        args = (session_key(session_id).hex(), field, repr(at.timestamp()))
        self._server.run(_NOTE, args=args)

    def _end(
        self, key_hex: str, reason: EndReason, at: datetime, *which: str
    ) -> tuple[SessionRow, ...]:
        keep_ms = _milliseconds(KEEP_ENDED.total_seconds())
        args = (key_hex, repr(at.timestamp()), reason.value, keep_ms, *which)
        return self._read(self._server.run(_END, args=args))

    def _read(self, found: list[list[bytes]]) -> tuple[SessionRow, ...]:
        return readable(map(_fields, found), read_row, self._remove)

    def _remove(self, fields: dict[str, Any]) -> None:
        self._server.run(_REMOVE, args=(fields["id"],))


def _fields(flat: list[bytes]) -> dict[str, Any]:
    pairs = zip(flat[::2], flat[1::2], strict=True)
    fields: dict[str, Any] = {name.decode(): value for name, value in pairs}
    return {
        name: value if name == _CERTIFICATE else value.decode("utf-8", "replace")
        for name, value in fields.items()
    }


def _milliseconds(seconds: float) -> int:
    return max(1, int(seconds * 1000))

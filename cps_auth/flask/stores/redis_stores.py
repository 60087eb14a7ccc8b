"""The stores in Redis, where there are several hosts. Redis 6.2 or newer, not a cluster.

Redis may forget its last moments when it is killed, and then remembers a challenge that was
taken, or a session that was ended. So every key carries the identity of the running server:
after a restart or a failover nothing from before is found, and everybody logs in again.
"""

from __future__ import annotations

import json
import secrets
from datetime import datetime, timedelta

from cps_auth.errors import ChallengeUnknown
from cps_auth.flask.stores.ports import (
    CAPACITY,
    TOKEN_BYTES,
    Stores,
    check_taken,
    sha256,
    window_of,
)
from cps_auth.flask.stores.redis_server import RedisServer
from cps_auth.flask.stores.redis_sessions import RedisSessions
from cps_auth.login.challenge import restore_challenge, store_text
from cps_auth.model import Challenge

_PUT = """
local all = base .. KEYS[1]
local now, life = tonumber(ARGV[3]), tonumber(ARGV[4])
redis.call('SET', all .. ':' .. ARGV[1], ARGV[2], 'PX', math.ceil(life * 1000))
redis.call('ZADD', all, now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', all, '-inf', now - life)
local over = redis.call('ZCARD', all) - tonumber(ARGV[5])
if over > 0 then
  local old = redis.call('ZPOPMIN', all, over)
  for i = 1, #old, 2 do redis.call('DEL', all .. ':' .. old[i]) end
end
redis.call('PEXPIRE', all, math.ceil(life * 1000))
return 1
"""
_TAKE = """
local all = base .. KEYS[1]
redis.call('ZREM', all, ARGV[1])
return redis.call('GETDEL', all .. ':' .. ARGV[1])
"""
_ADD = """
local key = base .. KEYS[1]
local count = redis.call('INCR', key)
if count == 1 then redis.call('PEXPIRE', key, ARGV[1]) end
return count
"""
_COUNT = "return redis.call('GET', base .. KEYS[1]) or 0"


def open_redis_stores(url: str, *, form_lifetime: timedelta) -> Stores:
    """Return every store on one Redis server, which need not answer yet.

    Args:
        url: redis://, rediss:// or unix://.
        form_lifetime: how long a form may wait.

    Raises:
        ConfigurationError: as `RedisServer`, and `check_kind`.
    """
    server = RedisServer(url)
    server.check_kind()
    return Stores(
        forms=RedisFormTokens(server, lifetime=form_lifetime),
        challenges=RedisChallenges(server),
        sessions=RedisSessions(server),
        rates=RedisRates(server),
    )


class RedisFormTokens:
    """A `FormTokenStore` in Redis."""

    def __init__(self, server: RedisServer, *, lifetime: timedelta) -> None:
        self._server = server
        self._lifetime = lifetime

    def issue(self, browser_id: str, content: str, *, at: datetime) -> str:
        """Return a fresh token for this browser."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        value = json.dumps([sha256(browser_id).hex(), at.timestamp(), content])
        _put(self._server, "form", token, value, at, self._lifetime)
        return token

    def take(self, unverified_token: str, browser_id: str, *, at: datetime) -> str:
        """Remove the token, atomically, whatever comes of it; return its content."""
        stored = self._server.run(_TAKE, "form", args=(sha256(unverified_token).hex(),))
        browser_hex, issued_at, content = json.loads(stored or "[null, 0, null]")
        found = None if browser_hex is None else (bytes.fromhex(browser_hex), float(issued_at))
        check_taken(found, browser_id, self._lifetime, at)
        return str(content)


class RedisChallenges:
    """A `ChallengeStore` in Redis."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def put(self, session_id: str, challenge: Challenge) -> None:
        """Keep the challenge for this browser, replacing an earlier one."""
        text, at = store_text(challenge), challenge.issued_at
        _put(self._server, "challenge", session_id, text, at, challenge.lifetime)

    def take(self, session_id: str) -> Challenge:
        """Remove and return the browser's challenge."""
        stored = self._server.run(_TAKE, "challenge", args=(sha256(session_id).hex(),))
        if stored is None:
            raise ChallengeUnknown("none-waiting")
        return restore_challenge(stored.decode())


class RedisRates:
    """A `RateStore` in Redis."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    def add(self, what: str, who: str, *, window: timedelta, at: datetime) -> int:
        """Count one more; return how many there were in this window, this one included."""
        number, _ = window_of(window, at)
        expires_ms = int(window.total_seconds() * 1000)
        return int(self._server.run(_ADD, _rate_key(what, who, number), args=(expires_ms,)))

    def count(self, what: str, who: str, *, window: timedelta, at: datetime) -> int:
        """Return how many there were in this window."""
        number, _ = window_of(window, at)
        return int(self._server.run(_COUNT, _rate_key(what, who, number)))


def _put(
    server: RedisServer, kind: str, name: str, value: str, at: datetime, lifetime: timedelta
) -> None:
    life_s = lifetime.total_seconds() + 1  # the exact end is judged when it is taken
    args = (sha256(name).hex(), value, at.timestamp(), life_s, CAPACITY)
    server.run(_PUT, kind, args=args)


def _rate_key(what: str, who: str, number: int) -> str:
    return f"rate:{what}:{number}:{sha256(who).hex()}"

"""The connection to Redis: runs scripts, each atomic, within a deadline and behind a breaker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cps_auth.errors import ConfigurationError, StoreUnavailable
from cps_auth.flask.stores.breaker import Breaker
from cps_auth.flask.stores.ports import STORE_VERSION, store_time

if TYPE_CHECKING:
    from redis import Redis

ANSWER_S = 0.4
"""A Redis that is well answers in a millisecond; two such waits fit into a request's store time."""

HEAD = f"""
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local base = 'cps-auth:{STORE_VERSION}:' .. run .. ':'
"""
"""Begins every script: keys of this version, which no other run of the server knows (run_id)."""


_REFUSED = {
    "cluster": "a Redis cluster, which keeps on several servers what has to change at once;"
    " give it one server, with a replica",
    "sentinel": "this is Sentinel, not the server that it watches;"
    " give it the primary's address, or a proxy's that follows it",
}


class RedisServer:
    """Runs scripts on one server; every failure is a StoreUnavailable."""

    def __init__(self, url: str) -> None:
        """Connect to nothing yet; the first script does.

        Args:
            url: redis://, rediss:// or unix://, as redis-py reads it.

        Raises:
            ConfigurationError: redis-py is not installed, or the address cannot be read.
        """
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError:
            raise ConfigurationError("CPS_STORE: install cps-auth[redis]") from None
        # One more try: a pooled connection to a server that was restarted is dead. None after a
        # timeout: that server had its time.
        retry = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        try:
            self._client: Redis = redis.Redis.from_url(
                url, socket_timeout=ANSWER_S, socket_connect_timeout=ANSWER_S, retry=retry
            )
        except (ValueError, redis.RedisError):
            raise ConfigurationError("CPS_STORE is not an address of a Redis server") from None
        self._error = redis.RedisError
        self._no_answer = (redis.TimeoutError, TimeoutError)
        self._scripts: dict[str, Callable[..., Any]] = {}
        self._breaker = Breaker(self._client.ping)

    def check_kind(self) -> None:
        """Refuse a server of a kind that cannot keep the rows; one that does not answer may.

        Raises:
            ConfigurationError: a cluster, or Sentinel.
        """
        try:
            mode = self._client.info("server").get("redis_mode")
        except (self._error, OSError):
            return
        finally:
            self._client.close()  # a worker that is forked later opens its own
        if mode in _REFUSED:
            raise ConfigurationError(f"CPS_STORE: {_REFUSED[mode]}")

    def run(self, script: str, *keys: str, args: tuple[str | bytes | float, ...] = ()) -> Any:
        """Run a script, atomically.

        Args:
            script: Lua, to which `HEAD` is put in front.
            keys: names below the running server's prefix.
            args: values.

        Raises:
            StoreUnavailable
        """
        registered = self._scripts.get(script)
        if registered is None:
            registered = self._scripts[script] = self._client.register_script(HEAD + script)
        self._breaker.check()
        with store_time():
            try:
                return registered(keys=keys, args=args)
            except (self._error, OSError) as error:
                reason = f"{type(error).__name__}: {error}"
                if isinstance(error, self._no_answer):
                    self._breaker.open(reason)
                raise StoreUnavailable(reason) from None

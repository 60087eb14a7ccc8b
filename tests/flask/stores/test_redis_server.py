"""A Redis with a password over TLS, and one that takes over from another."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from cps_auth.errors import ChallengeUnknown, ConfigurationError, StoreUnavailable
from cps_auth.flask.stores.ports import Stores
from cps_auth.flask.stores.redis_stores import open_redis_stores
from cps_auth.login.challenge import issue_challenge
from tests.flask.conftest import RedisServer
from tests.free_ports import free_port
from tests.server_certificate import write_server_pem

pytestmark = pytest.mark.system

PASSWORD = "mot de passe/@:?#"
QUOTED = "mot%20de%20passe%2F%40%3A%3F%23"


def _stores(url: str) -> Stores:
    return open_redis_stores(url, form_lifetime=timedelta(minutes=5))


def _is_used(stores: Stores) -> bool:
    challenge = issue_challenge("https://app.example.fr", at=datetime.now(UTC))
    stores.challenges.put("browser", challenge)
    return stores.challenges.take("browser") == challenge


@pytest.fixture
def tls_port(tmp_path: Path) -> Iterator[int]:
    """A Redis that wants TLS and a password; its certificate is tmp_path / server.pem."""
    write_server_pem(tmp_path / "server.pem", addresses=("127.0.0.1",))
    port = free_port()
    server = RedisServer(
        tmp_path,
        *("--bind", "127.0.0.1", "--tls-port", str(port), "--tls-auth-clients", "no"),
        *("--tls-cert-file", "server.pem", "--tls-key-file", "server.pem"),
        *("--tls-ca-cert-file", "server.pem"),
        password=PASSWORD,
    )
    server.start()
    yield port
    server.stop()


def test_password_over_tls(tls_port: int, tmp_path: Path) -> None:
    """One line of configuration: a password with any characters, and the authority to trust."""
    trusted = f"?ssl_ca_certs={tmp_path / 'server.pem'}"
    assert _is_used(_stores(f"rediss://:{QUOTED}@127.0.0.1:{tls_port}/0{trusted}"))


@pytest.mark.parametrize(
    "url",
    [
        "rediss://:wrong@127.0.0.1:{port}/0?ssl_ca_certs={ca}",
        "rediss://127.0.0.1:{port}/0?ssl_ca_certs={ca}",
        "rediss://:{password}@127.0.0.1:{port}/0",
        "redis://:{password}@127.0.0.1:{port}/0",
        "rediss://:{password}@localhost:{port}/0?ssl_ca_certs={ca}",
    ],
    ids=["wrong password", "no password", "unknown authority", "no TLS", "another name"],
)
def test_refused(tls_port: int, tmp_path: Path, url: str) -> None:
    """Nobody is logged in by way of a server that is not the configured one, or says no."""
    ca = tmp_path / "server.pem"
    stores = _stores(url.format(port=tls_port, ca=ca, password=QUOTED))
    with pytest.raises(StoreUnavailable) as refused:
        _is_used(stores)
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_a_kind_that_cannot_keep_the_rows_is_refused_at_start(tmp_path: Path, kind: str) -> None:
    """With the reason, by name; Redis itself says what it is."""
    port = free_port()
    where = ("--bind", "127.0.0.1", "--port", str(port))
    if kind == "cluster":
        server = RedisServer(tmp_path, *where, "--cluster-enabled", "yes")
        server.start()
        stop, url = server.stop, server.url
    else:
        (tmp_path / "sentinel.conf").touch()
        command = ["redis-server", str(tmp_path / "sentinel.conf"), "--sentinel", *where]
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
        stop, url = lambda: _end(process), f"redis://127.0.0.1:{port}"
    try:
        _await(url)
        with pytest.raises(ConfigurationError, match=f"(?i){kind}"):
            _stores(url)
    finally:
        stop()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait(20)


def _await(url: str) -> None:
    deadline = time.monotonic() + 30
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
            except redis.ConnectionError:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            else:
                return


def test_another_server_takes_over(tmp_path: Path) -> None:
    """What was copied to a replica is not found there: it may lack what was just taken."""
    port = free_port()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = RedisServer(tmp_path / "first", "--bind", "127.0.0.1", "--port", str(port))
    second = RedisServer(tmp_path / "second", "--replicaof", "127.0.0.1", str(port))
    try:
        first.start()
        stores = _stores(first.url)
        stores.challenges.put("browser", issue_challenge("https://a.fr", at=datetime.now(UTC)))
        second.start()
        copy = redis.Redis.from_url(second.url)
        deadline = time.monotonic() + 30
        while not copy.keys("*challenge*"):
            assert time.monotonic() < deadline, "it was not copied"
            time.sleep(0.01)
        with pytest.raises(StoreUnavailable):  # a replica only reads
            _is_used(_stores(second.url))
        first.kill()
        copy.replicaof("NO", "ONE")
        copy.close()
        with pytest.raises(ChallengeUnknown):
            _stores(second.url).challenges.take("browser")
        assert _is_used(_stores(second.url))
    finally:
        first.stop()
        second.stop()

"""Stores that hang, fail, or hold what this version cannot read: nobody waits for them."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask

from cps_auth.errors import StoreUnavailable
from cps_auth.flask import EndReason, session_ended
from cps_auth.flask.stores import ports
from cps_auth.flask.stores.breaker import Breaker
from cps_auth.flask.stores.sqlite_stores import versioned
from tests.flask.conftest import RedisServer, RemoteVisitor

OTHERS = ["not json", '{"handle": "x"}', "[]", ""]


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.system)])
def kept(
    request: pytest.FixtureRequest, make_app: Any, remote_config: dict[str, Any], tmp_path: Path
) -> tuple[Flask, Callable[[str, str], None]]:
    """An application on either store, and what replaces the record of a session by its handle."""
    if request.param == "sqlite":
        path = tmp_path / "kept.sqlite3"

        def replace(handle: str, record: str) -> None:
            with contextlib.closing(sqlite3.connect(versioned(path))) as connection, connection:
                connection.execute(
                    "UPDATE cps_session SET record = ? WHERE handle = ?", (record, handle)
                )

        return make_app("kept", {**remote_config, "CPS_DATABASE": path}, cards=None), replace
    server: RedisServer = request.getfixturevalue("redis_server")
    client = redis.Redis.from_url(server.url)

    def replace_in_redis(handle: str, record: str) -> None:
        (key,) = client.keys(f"cps-auth:*:session:{handle}*")
        client.hset(key, "record", record)

    app = make_app("kept", {**remote_config, "CPS_STORE": server.url}, cards=None)
    return app, replace_in_redis


@pytest.mark.parametrize("record", OTHERS)
def test_a_row_that_cannot_be_read_ends_that_session_alone(
    kept: Any, remote_visit: Any, record: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its browser is led to the login, the neighbour stays, every command goes on, a line tells."""
    app, replace = kept
    broken, healthy = remote_visit(app), remote_visit(app)
    broken.log_in()
    (row,) = app.extensions["cps_login"].stores.sessions.live(at=_now(app))
    healthy.log_in("nurse")
    replace(row.handle, record)
    assert broken.open("GET", "/me").status_code == 302
    assert "cannot be read" in caplog.text
    assert broken.open("GET", "/cps/closed").status_code == 200
    assert healthy.is_in()
    listed = app.test_cli_runner().invoke(args=["cps", "sessions"])
    assert (listed.exit_code, len(listed.output.splitlines())) == (0, 1)


@pytest.mark.parametrize("record", OTHERS[:3])
def test_the_emergency_brake_holds(kept: Any, remote_visit: Any, record: str) -> None:
    """`flask cps end --all` ends everybody, whatever one row looks like."""
    app, replace = kept
    visitors = [remote_visit(app) for _ in range(2)]
    visitors[0].log_in()
    (row,) = app.extensions["cps_login"].stores.sessions.live(at=_now(app))
    visitors[1].log_in("nurse")
    replace(row.handle, record)
    ended = app.test_cli_runner().invoke(args=["cps", "end", "--all"])
    assert ended.exit_code == 0, ended.output
    assert [visitor.is_in() for visitor in visitors] == [False, False]


def _now(app: Flask) -> Any:
    return app.extensions["cps_login"].clock()


@pytest.fixture
def hanging(
    make_app: Any, remote_config: dict[str, Any], redis_server: RedisServer, remote_visit: Any
) -> Iterator[tuple[RedisServer, RemoteVisitor]]:
    """A Redis that can be stopped, and somebody who is logged in behind it."""
    app = make_app("hanging", {**remote_config, "CPS_STORE": redis_server.url}, cards=None)
    app.add_url_rule("/nothing", view_func=lambda: "needs no store")
    visitor = remote_visit(app)
    visitor.log_in()
    yield redis_server, visitor
    redis_server.resume()


@pytest.mark.system
def test_a_store_that_hangs_is_waited_for_once(
    hanging: tuple[RedisServer, RemoteVisitor], until: Callable[..., None]
) -> None:
    """One request has its time; the others say 503 at once; nobody is in; then all is well."""
    server, visitor = hanging
    server.pause()
    begun = time.monotonic()
    first = visitor.open("GET", "/me")
    assert (first.status_code, first.headers["Retry-After"]) == (503, "2")
    for _ in range(50):  # each would wait as long as the first
        assert visitor.open("GET", "/me").status_code == 503
        assert visitor.open("GET", "/cps/status").status_code == 503
        assert visitor.open("GET", "/nothing").status_code == 200
    assert time.monotonic() - begun < 100 * ports.STORE_TIME_S / 2
    script = visitor.open("GET", "/me", headers={"Sec-Fetch-Dest": "empty", "Accept": "*/*"})
    assert (script.status_code, script.json) == (503, {"error": "store-unavailable"})
    server.resume()
    until(visitor.is_in)


OPEN_PAGES = 100


@pytest.mark.system
def test_a_hundred_open_pages_hold_no_page_without_store(
    hanging: tuple[RedisServer, RemoteVisitor],
    remote_visit: Any,
    until: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They ask at once while Redis hangs: each is told so; other pages never come near it."""
    server, visitor = hanging
    app = visitor.client.application
    pages = [remote_visit(app) for _ in range(OPEN_PAGES)]
    for page in pages:
        page.client._cookies = dict(visitor.client._cookies)
    asked: list[str] = []
    ask = redis.commands.core.Script.__call__

    def count(*arguments: Any, **more: Any) -> Any:
        asked.append(threading.current_thread().name)
        return ask(*arguments, **more)

    monkeypatch.setattr(redis.commands.core.Script, "__call__", count)
    server.pause()
    with ThreadPoolExecutor(OPEN_PAGES) as pool:
        answers = list(pool.map(lambda page: page.open("GET", "/cps/status").status_code, pages))
    assert set(answers) == {503}
    waited = len(asked)
    assert visitor.open("GET", "/me").status_code == 503
    for page in pages:
        assert page.open("GET", "/nothing").status_code == 200
    assert len(asked) == waited  # the breaker is open: nobody waits for Redis any more
    server.resume()
    until(visitor.is_in)
    assert pages[0].is_in()


def test_a_breaker_asks_by_one_thread_only(until: Callable[..., None]) -> None:
    """Open until a probe is answered; a hundred openings start one thread."""
    is_back = threading.Event()
    probes: list[int] = []

    def probe() -> None:
        probes.append(threading.get_ident())
        if not is_back.is_set():
            raise TimeoutError

    breaker = Breaker(probe)
    breaker.check()
    for _ in range(100):
        breaker.open("no answer")
    with pytest.raises(StoreUnavailable, match="no answer"):
        breaker.check()
    until(lambda: len(probes) > 1)
    assert len(set(probes)) == 1
    is_back.set()
    until(lambda: _is_closed(breaker))


def _is_closed(breaker: Breaker) -> bool:
    try:
        breaker.check()
    except StoreUnavailable:
        return False
    return True


def test_a_request_has_so_much_store_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slow answers add up; what is left bounds the next wait, and then there is none."""
    now = [100.0]
    monkeypatch.setattr(ports.time, "monotonic", lambda: now[0])
    ports.begin_request()
    try:
        with ports.store_time() as left_s:
            assert left_s == ports.STORE_TIME_S
            now[0] += 0.5
        with ports.store_time() as left_s:
            assert left_s == pytest.approx(ports.STORE_TIME_S - 0.5)
            now[0] += 0.5
        with pytest.raises(StoreUnavailable), ports.store_time():
            raise AssertionError("there was none left")
    finally:
        ports.end_request()
    with ports.store_time() as left_s:  # a watcher's thread has no request
        assert left_s == ports.STORE_TIME_S


@pytest.mark.parametrize("fault", ["moved", "locked"])
def test_a_file_that_cannot_be_used_is_503_on_every_page(
    make_app: Any, remote_config: dict[str, Any], remote_visit: Any, tmp_path: Path, fault: str
) -> None:
    """The application's own pages, too: no traceback, nobody logged in, and back afterwards."""
    asked = tmp_path / "kept.sqlite3"
    path = versioned(asked)
    app = make_app("kept", {**remote_config, "CPS_DATABASE": asked}, cards=None)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    visitor, other = remote_visit(app), remote_visit(app)
    visitor.log_in()
    token = other.page_token()
    if fault == "moved":
        moved = path.rename(tmp_path / "elsewhere")
        assert visitor.open("GET", "/me").status_code == 503
        moved.rename(path)
    else:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            headers = {"X-CPS-Token": token}
            answer = other.open("POST", "/cps/web-eid/challenge", headers=headers)
            assert answer.status_code == 503
    assert visitor.is_in()


def test_what_a_session_tells_survives_its_store(kept: Any, remote_visit: Any) -> None:
    """Either store gives back what was verified, and the reason when it ends."""
    app, _ = kept
    reasons: list[EndReason] = []
    session_ended.connect(lambda _, **about: reasons.append(about["reason"]), app, weak=False)
    visitor = remote_visit(app)
    visitor.log_in()
    me = visitor.open("GET", "/me").json
    assert (me["ps_idnat"], me["method"]) == ("899900000011", "web-eid")
    app.test_cli_runner().invoke(args=["cps", "end", "--all"])
    assert reasons == [EndReason.ADMINISTRATOR]

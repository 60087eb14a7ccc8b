"""A rolling upgrade: workers of several versions beside each other on one store.

The older ones are real, taken from the repository's history where there is one. Where there is
none, their stores are: written by them and kept in tests/vectors/stores.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import redis
from flask import Flask

from cps_auth.flask.stores.ports import STORE_VERSION
from cps_auth.flask.stores.rows import read_row
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.flask.conftest import RedisServer, RemoteVisitor
from tests.flask.stores import older_worker
from tests.flask.stores.older_worker import answer, make_app

ROOT = Path(__file__).parents[3]
VECTORS = ROOT / "tests" / "vectors" / "stores"
OLDER = {"2": "daff02d", "4": "c29dd40"}
"""A commit by the version of its SQLite tables: 2 dropped what it did not know, and so did 4."""

Ask = Callable[[dict[str, Any]], dict[str, Any]]
"""A worker: takes a request, returns its answer, as `older_worker.answer` does."""


@pytest.fixture(scope="session", params=OLDER)
def older_package(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds an older `cps_auth`."""
    commit, folder = OLDER[request.param], tmp_path_factory.mktemp(f"version{request.param}")
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git, or no repository: the older worker cannot be had")
    found = subprocess.run(
        ["git", "-C", ROOT, "archive", "--format=zip", commit, "cps_auth"],
        capture_output=True,
        check=False,
    )
    if found.returncode != 0:
        pytest.skip(f"the repository's history does not reach back to {commit}")
    with zipfile.ZipFile(BytesIO(found.stdout)) as archive:
        archive.extractall(folder)
    return folder


@dataclass
class Answer:
    """What a browser sees of an answer."""

    status_code: int
    text: str
    json: Any = None


@dataclass
class Browser:
    """The cookies of one browser, and the worker that the next request goes to."""

    worker: Ask
    cookies: dict[str, str] = field(default_factory=dict)

    def open(self, path: str, **asked: Any) -> Answer:
        """Send a request, as Flask's test client does for `RemoteVisitor`."""
        given = self.worker(
            {
                "path": path,
                "method": asked["method"],
                "headers": dict(asked["headers"]),
                "body": (asked.get("data") or b"").decode(),
                "cookies": self.cookies,
            }
        )
        self.cookies = given["cookies"]
        text = given["text"]
        return Answer(given["status"], text, json.loads(text) if text.startswith("{") else None)


@pytest.fixture(params=["sqlite", pytest.param("redis", marks=pytest.mark.system)])
def store(
    request: pytest.FixtureRequest, remote_config: dict[str, Any], tmp_path: Path
) -> dict[str, Any]:
    """Settings of workers that share a store."""
    config = {**remote_config, "SECRET_KEY": "shared"}
    config["CPS_DATABASE"] = str(tmp_path / "shared.sqlite3")
    if request.param == "redis":
        config["CPS_STORE"] = request.getfixturevalue("redis_server").url
    return config


StartOlder = Callable[[], Ask]


@pytest.fixture
def start_older(older_package: Path, store: dict[str, Any], igc_dir: Path) -> Iterator[StartOlder]:
    """Starts an older worker on the store; what it gives answers requests."""
    running: list[subprocess.Popen[str]] = []

    def start() -> Ask:
        process = subprocess.Popen(
            [sys.executable, older_worker.__file__, str(igc_dir), json.dumps(store)],
            env={**os.environ, "PYTHONPATH": str(older_package)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdin is not None
        assert process.stdout is not None
        sent, heard = process.stdin, process.stdout
        assert json.loads(heard.readline())["package"].startswith(str(older_package))

        def ask(asked: dict[str, Any]) -> dict[str, Any]:
            print(json.dumps(asked), file=sent, flush=True)
            given: dict[str, Any] = json.loads(heard.readline())
            return given

        return ask

    yield start
    for process in running:
        process.communicate(timeout=60)


@pytest.fixture
def visit(igc: FakeIgcSante) -> Callable[..., RemoteVisitor]:
    """Gives a browser at a worker, with the cookies that it has already."""

    def begin(worker: Ask, cookies: dict[str, str] | None = None) -> RemoteVisitor:
        client: Any = Browser(worker, dict(cookies or {}))
        return RemoteVisitor(client, igc)

    return begin


@pytest.fixture
def start_newer(igc_dir: Path) -> Callable[[dict[str, Any]], tuple[Flask, Ask]]:
    """Makes a worker of this version."""

    def start(config: dict[str, Any]) -> tuple[Flask, Ask]:
        app = make_app(config, igc_dir)
        return app, lambda asked: answer(app, asked)

    return start


def test_workers_of_two_versions_share_a_store(
    start_older: StartOlder, start_newer: Any, store: dict[str, Any], visit: Any
) -> None:
    """Who logged in at one is in there, whatever the other does; elsewhere it is a new login."""
    older = start_older()
    at_older = visit(older)
    assert at_older.log_in().status_code == 200
    app, newer = start_newer(store)
    at_newer = visit(newer)
    assert at_newer.log_in("nurse").status_code == 200
    again = start_older()
    for _ in range(2):
        for worker, visitor, is_in in (
            (older, at_older, True),
            (again, at_older, True),
            (newer, at_older, False),
            (newer, at_newer, True),
            (older, at_newer, False),
            (again, at_newer, False),
        ):
            there = visit(worker, visitor.client.cookies)
            assert there.open("GET", "/me").status_code == (200 if is_in else 302)
            assert there.open("GET", "/cps/login").status_code in (200, 302)
    listed = app.test_cli_runner().invoke(args=["cps", "sessions"])
    assert (listed.exit_code, len(listed.output.splitlines())) == (0, 1)
    assert app.test_cli_runner().invoke(args=["cps", "end", "--all"]).exit_code == 0
    assert not at_newer.is_in()
    assert at_older.is_in()


def test_one_browser_between_them_logs_in_at_each(
    start_older: StartOlder, start_newer: Any, store: dict[str, Any], visit: Any
) -> None:
    """A balancer that sends it to the other kind costs a login there, and no page fails."""
    older, (_, newer) = start_older(), start_newer(store)
    visitor = visit(older)
    for worker in (older, newer, older, newer):
        visitor.client.worker = worker
        if not visitor.is_in():
            assert visitor.log_in().status_code == 200
        assert visitor.is_in()


@pytest.mark.parametrize("version", OLDER)
def test_an_older_file_stays_as_it_is(
    version: str, remote_config: dict[str, Any], tmp_path: Path, start_newer: Any, visit: Any
) -> None:
    """Tables and rows that an older worker made: a newer one makes its own beside them."""
    path = tmp_path / "shared.sqlite3"
    path.touch(0o600)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((VECTORS / f"version{version}.sql").read_text())
    before = path.read_bytes()
    _log_in_and_end_all(start_newer, visit, {**remote_config, "CPS_DATABASE": str(path)})
    assert path.read_bytes() == before


@pytest.mark.system
@pytest.mark.parametrize("version", OLDER)
def test_older_keys_stay_as_they_are(
    version: str,
    redis_server: RedisServer,
    remote_config: dict[str, Any],
    start_newer: Any,
    visit: Any,
) -> None:
    """Keys that an older worker wrote, as if into this very Redis."""
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as client:
        run = str(client.info("server")["run_id"])
        kept = json.loads((VECTORS / f"version{version}.json").read_text())
        for name, value in kept.items():
            _write(client, name.replace("RUN", run), value)
        _log_in_and_end_all(start_newer, visit, {**remote_config, "CPS_STORE": redis_server.url})
        assert all(_read(client, name.replace("RUN", run)) == kept[name] for name in kept)


def _write(client: Any, name: str, value: Any) -> None:
    if isinstance(value, str):
        client.set(name, value)
    elif isinstance(value, list):
        client.zadd(name, dict(value))
    else:
        client.hset(name, mapping=value)


def _read(client: Any, name: str) -> Any:
    kind = client.type(name)
    if kind == "zset":
        return [list(one) for one in client.zrange(name, 0, -1, withscores=True)]
    return client.get(name) if kind == "string" else client.hgetall(name)


def _log_in_and_end_all(start_newer: Any, visit: Any, config: dict[str, Any]) -> None:
    app, newer = start_newer({**config, "SECRET_KEY": "shared"})
    visitor = visit(newer)
    assert visitor.log_in().status_code == 200
    assert visitor.is_in()
    assert app.test_cli_runner().invoke(args=["cps", "end", "--all"]).exit_code == 0
    assert not visitor.is_in()


def test_rows_of_this_version_are_read() -> None:
    """A change of what a row says changes `STORE_VERSION`: this one was written before it."""
    kept = json.loads((VECTORS / f"version{STORE_VERSION}-row.json").read_text())
    row = read_row({**kept, "certificate_der": b""})
    assert row.holder.practitioner.ps_idnat == "899900000011"
    assert row.method == "web-eid"

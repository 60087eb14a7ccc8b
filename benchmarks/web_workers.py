"""The web login on Redis, and behind gunicorn: what a second worker costs."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import redis
from flask import Flask

from benchmarks.timing import Figure, compare
from benchmarks.web_visits import (
    ORIGIN,
    log_in,
    prepare,
    through_http,
    through_test_client,
)
from cps_auth.flask import CpsLogin
from cps_auth.pki.judge import folder_judge
from hardware_mocks.igc.fake_igc import FakeIgcSante

LOGINS, BROWSERS, ROUNDS = 150, 2, 3
READY_WITHIN_S = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")


def make_app(folder: Path, store: str | None) -> Flask:
    """Return an application that takes cards from elsewhere and limits nobody."""
    app = Flask("bench")
    app.config.update(
        SECRET_KEY="bench",
        CPS_ORIGIN=ORIGIN,
        CPS_WEB_EID=True,
        CPS_STORE=store,
        CPS_DATABASE=folder / "bench.sqlite3",
        CPS_REQUESTS_PER_MINUTE=10**9,
    )
    CpsLogin(app, judge=folder_judge(folder))
    app.add_url_rule("/nothing", view_func=lambda: "nothing")
    return app


def served() -> Flask:
    """Return the application that gunicorn serves, for a folder and a store that it is told."""
    return make_app(Path(os.environ["BENCH_FOLDER"]), os.environ["BENCH_STORE"] or None)


def web_eid_login_redis(igc: FakeIgcSante, folder: Path) -> Figure:
    """A whole login with its rows in Redis, beside the same in SQLite."""
    with redis_server(folder) as url:
        apps = make_app(folder, url), make_app(folder, None)
        return compare(
            "a whole login from elsewhere, through Flask's test client, with the card's signature",
            ("rows in Redis", lambda: log_in(igc, through_test_client(apps[0]))),
            ("rows in SQLite, on disk", lambda: log_in(igc, through_test_client(apps[1]))),
            rounds=100,
        )


def web_eid_answer(igc: FakeIgcSante, folder: Path) -> Figure:
    """Its last part, the token that is handed over, beside what comes before it."""
    app = make_app(folder, None)
    waiting = [prepare(igc, through_test_client(app)) for _ in range(102)]
    return compare(
        "the parts of a login from elsewhere",
        (
            "handing the token over: challenge taken, verified, session opened",
            lambda: waiting.pop()(),
        ),
        (
            "page, challenge and the card's signature",
            lambda: prepare(igc, through_test_client(app)),
        ),
        rounds=100,
    )


def web_eid_workers(igc: FakeIgcSante, folder: Path) -> Figure:
    """Processor time of gunicorn for each login, with two workers and with one, on Redis."""
    with redis_server(folder) as url:
        turns = [
            [_seconds_per_login(igc, folder, url, workers) for workers in (2, 1)]
            for _ in range(ROUNDS)
        ]
        two, one = (statistics.median(side) for side in zip(*turns, strict=True))
    return Figure(
        f"processor time for each login, gunicorn and Redis, {BROWSERS} browsers at once",
        "two workers",
        "one worker",
        two,
        one,
    )


def _seconds_per_login(igc: FakeIgcSante, folder: Path, store: str, workers: int) -> float:
    with serving(folder, store, workers) as (port, server), ThreadPoolExecutor(BROWSERS) as pool:
        browse = [lambda: log_in(igc, through_http(port))] * LOGINS
        list(pool.map(lambda visit: visit(), browse[:40]))  # imports, caches, connections
        before = processor_seconds(server)
        list(pool.map(lambda visit: visit(), browse))
        return (processor_seconds(server) - before) / LOGINS


def processor_seconds(server: int) -> float:
    """Return what the workers of a server have used, user and system."""
    children = Path(f"/proc/{server}/task/{server}/children").read_text().split()
    return sum(_seconds_of(int(child)) for child in children)


def _seconds_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime, stime: proc(5)


@contextmanager
def serving(folder: Path, store: str, workers: int) -> Iterator[tuple[int, int]]:
    """Serve on a free port; give port and process."""
    log = folder / "gunicorn.log"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "gunicorn", "--workers", str(workers), "--threads", "2"]
    command += ["--bind", "127.0.0.1:0", "benchmarks.web_workers:served()"]
    environ = {**os.environ, "BENCH_FOLDER": str(folder), "BENCH_STORE": store}
    with log.open("w") as file:
        server = subprocess.Popen(command, env=environ, stdout=file, stderr=file)
    try:
        yield _port_in(log, server), server.pid
    finally:
        server.terminate()
        server.wait()


def _port_in(log: Path, server: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline and server.poll() is None:
        for line in log.read_text().splitlines():
            if "Listening at: http://127.0.0.1:" in line:
                return int(line.rpartition("127.0.0.1:")[2].split()[0])
        time.sleep(0.02)
    raise RuntimeError(log.read_text())


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Serve on a socket in the folder; give its address."""
    socket = folder / "redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", str(socket), "--save", ""]
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        with redis.Redis.from_url(f"unix://{socket}") as client:
            deadline = time.monotonic() + READY_WITHIN_S
            while not _answers(client):
                if time.monotonic() > deadline:
                    raise RuntimeError("redis-server does not answer")
                time.sleep(0.02)
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


FIGURES = (web_eid_login_redis, web_eid_answer, web_eid_workers)

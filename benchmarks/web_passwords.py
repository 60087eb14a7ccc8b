"""The web login beside Flask-Login's own: a password with Werkzeug's default hash."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from flask import Flask, request
from flask_login import LoginManager, UserMixin, login_user
from werkzeug.security import check_password_hash, generate_password_hash

from benchmarks.timing import Figure
from benchmarks.web_visits import log_in, through_test_client
from benchmarks.web_workers import make_app, redis_server
from hardware_mocks.igc.fake_igc import FakeIgcSante

LOGINS, PASSWORDS, AT_ONCE = 100, 20, 8


def login_processor_sqlite(igc: FakeIgcSante, folder: Path) -> Figure:
    """Processor time of a login, rows in SQLite; the card's signature is made here, too."""
    return _beside_password(igc, make_app(folder, None), "SQLite")


def login_processor_redis(igc: FakeIgcSante, folder: Path) -> Figure:
    """The same with rows in Redis."""
    with redis_server(folder) as url:
        return _beside_password(igc, make_app(folder, url), "Redis")


def logins_at_once(igc: FakeIgcSante, folder: Path) -> Figure:
    """The slowest in a hundred logins, eight threads on SQLite, beside the median."""
    app = make_app(folder, None)

    def visit(_: int) -> float:
        begun = time.perf_counter()
        log_in(igc, through_test_client(app))
        return time.perf_counter() - begun

    with ThreadPoolExecutor(AT_ONCE) as pool:
        took = sorted(pool.map(visit, range(4 * LOGINS)))
    slowest, median = took[len(took) * 99 // 100], took[len(took) // 2]
    return Figure(f"{AT_ONCE} logins at once, SQLite", "p99", "median", slowest, median)


def _beside_password(igc: FakeIgcSante, app: Flask, store: str) -> Figure:
    passwords = _password_app()
    ours = _processor_s(LOGINS, lambda: log_in(igc, through_test_client(app)))
    theirs = _processor_s(
        PASSWORDS,
        lambda: passwords.test_client().post("/login", data={"password": "a long password"}),
    )
    return Figure(
        f"processor time of a login, {store}",
        "the card from elsewhere: page, challenge, token, session",
        "Flask-Login with Werkzeug's default password hash",
        ours,
        theirs,
    )


def _processor_s(rounds: int, act: Callable[[], object]) -> float:
    act()
    begun = time.process_time()
    for _ in range(rounds):
        act()
    return (time.process_time() - begun) / rounds


def _password_app() -> Flask:
    app = Flask("passwords")
    app.secret_key = "bench"
    LoginManager(app)
    user, kept = UserMixin(), generate_password_hash("a long password")
    user.id = "1"  # type: ignore[attr-defined]  # as UserMixin expects

    def log_in_by_password() -> str:
        if not check_password_hash(kept, request.form["password"]):
            raise RuntimeError("the password is right")
        login_user(user)
        return "in"

    app.add_url_rule("/login", view_func=log_in_by_password, methods=["POST"])
    return app


FIGURES = (login_processor_sqlite, login_processor_redis, logins_at_once)

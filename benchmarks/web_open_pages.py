"""Open pages that ask if their session goes on: what a thousand of them cost a server."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from benchmarks.timing import Figure
from benchmarks.web_visits import ORIGIN, Send, log_in, through_http
from benchmarks.web_workers import processor_seconds, redis_server, serving
from cps_auth.flask.settings import DEFAULTS
from hardware_mocks.igc.fake_igc import FakeIgcSante

PAGES, POLLS = 1000, 1500


def open_pages_sqlite(igc: FakeIgcSante, folder: Path) -> Figure:
    """The share of a core that a thousand open pages take, rows in SQLite."""
    return _shares(igc, folder, "", "SQLite")


def open_pages_redis(igc: FakeIgcSante, folder: Path) -> Figure:
    """The same with rows in Redis."""
    with redis_server(folder) as url:
        return _shares(igc, folder, url, "Redis")


def _shares(igc: FakeIgcSante, folder: Path, store: str, name: str) -> Figure:
    with serving(folder, store, workers=2) as (port, server):
        browser = through_http(port)
        log_in(igc, browser)
        used = lambda: processor_seconds(server)  # noqa: E731 (one word for two places)
        asking = _seconds_each(used, browser, "/cps/status")
        nothing = _seconds_each(used, browser, "/nothing")
    every = DEFAULTS["CPS_POLL"]
    if not isinstance(every, timedelta):
        raise TypeError("CPS_POLL")
    per_second = PAGES / every.total_seconds()
    return Figure(
        f"share of a core, {PAGES} open pages, {name}; two workers of gunicorn",
        f"asking every {every.total_seconds():g} s",
        "the same requests to a route that does nothing",
        asking * per_second,
        nothing * per_second,
    )


def _seconds_each(used: Callable[[], float], browser: Send, path: str) -> float:
    headers = {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
    for _ in range(50):
        browser("GET", path, headers, b"")
    before = used()
    for _ in range(POLLS):
        browser("GET", path, headers, b"")
    return (used() - before) / POLLS


FIGURES = (open_pages_sqlite, open_pages_redis)

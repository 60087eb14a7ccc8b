"""Who may be locked out, and by whom."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from cps_auth.flask.guards import rate_limit as limits
from cps_auth.flask.stores.sqlite_stores import versioned
from webdemo.desk import VirtualDesk

CROWDED = {"CPS_REQUESTS_PER_MINUTE_AND_ADDRESS": 12}
LOW = {"CPS_REQUESTS_PER_MINUTE": 8, "CPS_REFUSALS_BEFORE_LOCKOUT": 4}


def test_another_site_locks_nobody_out_of_the_reader(make_app, visit, desk: VirtualDesk) -> None:
    """T46: what a page elsewhere makes this browser send is refused, and counts for nothing."""
    visitor = visit(make_app(config=LOW))
    desk.insert("doctor")
    for _ in range(20):
        hostile = visitor.post("/cps/login", {"pin": "1234"}, Origin="https://evil.test")
        assert hostile.status_code == 403
    assert visitor.log_in().status_code == 303


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/cps/web-eid/challenge"),
        ("POST", "/cps/web-eid/login"),
        ("POST", "/cps/mtls/start"),
        ("GET", "/cps/mtls/prove?started=x"),
        ("GET", "/cps/mtls/finish?started=x&code=y"),
    ],
)
def test_another_site_locks_no_practice_out(
    make_app, remote_visit, remote_config, method: str, path: str
) -> None:
    """T46: a practice shares one address; a page with a form, or with pictures, closes nothing."""
    mtls = {
        "CPS_MTLS_PROXIES": ["192.0.2.7"],
        "CPS_MTLS_PRESET": "nginx",
        "CPS_MTLS_ORIGIN": "https://cards.test",
        "CPS_MTLS_SECRET": "s" * 40,
    }
    app = make_app("low", {**remote_config, **mtls, **LOW}, cards=None)
    remote, colleague = remote_visit(app), remote_visit(app)
    hostile = {
        "Origin": "https://evil.test",
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Dest": "image" if method == "GET" else "document",
    }
    for _ in range(20):
        assert remote.open(method, path, headers=hostile).status_code == 403
    assert remote.log_in().status_code == 200
    page = colleague.open("GET", "/cps/login").text
    token = page.split('name="cps_token" value="')[1][:64]
    started = colleague.open("POST", "/cps/mtls/start", data={"cps_token": token})
    assert started.status_code == 303


def test_one_visitor_has_one_count_whatever_address_of_theirs_asks(
    make_app, remote_visit, remote_config, clock, tmp_path: Path
) -> None:
    """T50: an IPv6 subscriber has 2**64 addresses; they are one row, not one each."""
    clock.stop()
    app: Flask = make_app("low", {**remote_config, **LOW, **CROWDED}, cards=None)
    remote = remote_visit(app)
    page_token = remote.page_token()
    answers = []
    for number in range(20):
        remote.peer = f"2001:db8:0:1::{number:x}"
        answers.append(remote.send(b"x" * 200, page_token).status_code)
    assert answers[:4] == [403] * 4
    assert set(answers[4:]) == {429}
    with closing(sqlite3.connect(versioned(tmp_path / "low.sqlite3"))) as database:
        assert database.execute("SELECT count(*) FROM rate").fetchone()[0] <= 4
    neighbour = remote_visit(app)
    neighbour.peer = "2001:db8:0:2::1"
    assert neighbour.log_in().status_code == 200


def test_a_hospital_behind_one_address(make_app, remote_visit, remote_config, clock) -> None:
    """Eighty log in within a minute, beside one whose browser sends nothing but rubbish."""
    clock.stop()
    usual = {"CPS_REQUESTS_PER_MINUTE": 60, "CPS_REFUSALS_BEFORE_LOCKOUT": 20}
    app: Flask = make_app("hospital", {**remote_config, **usual}, cards=None)
    hostile = remote_visit(app)
    page_token = hostile.page_token()
    answers = [hostile.send(b"x" * 200, page_token).status_code for _ in range(25)]
    assert answers[20:] == [429] * 5
    personas = ("doctor", "nurse", "pharmacist")
    for number in range(80):
        colleague = remote_visit(app)
        assert colleague.log_in(personas[number % len(personas)]).status_code == 200


def test_a_flood_of_new_browsers_is_held_by_its_address(
    make_app, remote_visit, remote_config, clock
) -> None:
    """Whoever throws the cookie away is a new browser each time, at one address."""
    clock.stop()
    app: Flask = make_app("low", {**remote_config, **LOW, **CROWDED}, cards=None)
    answers = []
    for _ in range(15):
        browser = remote_visit(app)
        answers.append(browser.send(b"x" * 200, browser.page_token()).status_code)
    assert answers == [403] * 12 + [429] * 3


def test_a_card_opens_so_many_sessions_a_minute(
    make_app, remote_visit, remote_config, clock
) -> None:
    """Counted when its signature was verified: nobody else can use its count up."""
    clock.stop()
    app: Flask = make_app("low", {**remote_config, **LOW}, cards=None)
    answers = [remote_visit(app).log_in().status_code for _ in range(9)]
    assert answers == [200] * 8 + [429]
    assert remote_visit(app).log_in("nurse").status_code == 200


def test_every_outcome_names_its_client(
    make_app, remote_visit, remote_config, caplog: pytest.LogCaptureFixture
) -> None:
    """Behind a proxy that the application trusts: both ends, in every line."""
    caplog.set_level("INFO", "cps_auth.audit")
    app: Flask = make_app("audited", remote_config, cards=None)
    app.wsgi_app = ProxyFix(app.wsgi_app)
    remote = remote_visit(app)
    remote.headers["X-Forwarded-For"] = "198.51.100.3"
    remote.send(b"x" * 200, remote.page_token())
    remote.log_in()
    lines = [record.getMessage() for record in caplog.records if record.name == "cps_auth.audit"]
    assert [line.split()[1] for line in lines] == ["refused", "accepted"]
    assert all(line.endswith("peer='192.0.2.7' client='198.51.100.3'") for line in lines)
    app.test_cli_runner().invoke(args=["cps", "end", "--all"])
    assert caplog.records[-1].getMessage().endswith("reason=administrator peer=- client=-")


@pytest.mark.parametrize("is_fixed", [False, True])
def test_visitors_that_share_one_limit_are_told_of(
    make_app, remote_visit, remote_config, caplog: pytest.LogCaptureFixture, is_fixed: bool
) -> None:
    """Behind a proxy without ProxyFix one visitor locks out all: the log says so, once."""
    limits._warn_of_proxy.cache_clear()
    app: Flask = make_app("low", {**remote_config, **LOW}, cards=None)
    if is_fixed:
        app.wsgi_app = ProxyFix(app.wsgi_app)
    remote = remote_visit(app)
    for _ in range(2):
        remote.open("POST", "/cps/web-eid/challenge", headers={
            "X-CPS-Token": remote.page_token(), "X-Forwarded-For": "198.51.100.3"})  # fmt: skip
    told = [record for record in caplog.records if "ProxyFix" in record.getMessage()]
    assert len(told) == (0 if is_fixed else 1)


def test_addresses_of_a_dual_stack_socket_are_told_apart(
    make_app, remote_visit, remote_config, clock
) -> None:
    """::ffff:192.0.2.7 and ::ffff:192.0.2.8 are two visitors."""
    clock.stop()
    app: Flask = make_app("low", {**remote_config, **LOW, **CROWDED}, cards=None)
    for _ in range(13):
        remote = remote_visit(app)
        remote.peer = "::ffff:192.0.2.7"
        last = remote.send(b"x" * 200, remote.page_token())
    assert last.status_code == 429
    remote = remote_visit(app)
    remote.peer = "::ffff:192.0.2.8"
    assert remote.log_in().status_code == 200

"""A card in another machine: the Web eID way in, from page to session."""

from __future__ import annotations

import logging
import re
from datetime import timedelta

import pytest
from werkzeug.test import TestResponse

from cps_auth.flask import holder_logged_in, login_refused


def test_a_holder_logs_in_from_elsewhere(remote, remote_app) -> None:
    """Challenge, signature, session: who it is, how, and under whose trust."""
    heard: list[object] = []
    with holder_logged_in.connected_to(lambda _, **told: heard.append(told["reader"]), remote_app):
        answer = remote.log_in()
    assert answer.status_code == 200
    assert answer.json == {"next": "/"}
    assert heard == [None]
    me = remote.open("GET", "/me").json
    assert me["ps_idnat"] == "899900000011"
    assert me["method"] == "web-eid"


def test_the_page_leads_back_to_where_one_came_from(remote) -> None:
    """`next` goes through, if it stays on this site."""
    page_token = remote.page_token()
    nonce = remote.challenge(page_token)
    path = "/cps/web-eid/login?next=/doctors"
    assert remote.send(remote.answer(nonce), page_token, path=path).json == {"next": "/doctors"}


def test_a_guarded_session_needs_its_heartbeat(remote, clock) -> None:
    """As long as the browser says that the card is there, and not a moment longer."""
    path = "/cps/web-eid/login?guard=1"
    page_token = remote.page_token()
    assert remote.send(remote.answer(remote.challenge(page_token)), page_token, path=path)
    guard_token = _guard_token(remote)
    for minutes in (2, 4, 6):
        clock.ahead = timedelta(minutes=minutes)
        headers = {"X-CPS-Token": guard_token}
        beat = remote.open("POST", "/cps/web-eid/heartbeat", headers=headers)
        assert beat.json == {"session": "open"}
    assert remote.is_in()
    clock.ahead = timedelta(minutes=9)
    assert not remote.is_in()
    assert "Contact perdu" in remote.open("GET", "/cps/closed").text


def test_a_pulled_card_ends_the_guarded_session(remote) -> None:
    """The browser says so, with the token of its session."""
    page_token = remote.page_token()
    path = "/cps/web-eid/login?guard=1"
    remote.send(remote.answer(remote.challenge(page_token)), page_token, path=path)
    guard_token = _guard_token(remote)
    stranger = remote.open("POST", "/cps/web-eid/card-removed", headers={"X-CPS-Token": "x"})
    assert stranger.status_code == 400
    assert remote.is_in()
    remote.open("POST", "/cps/web-eid/card-removed", headers={"X-CPS-Token": guard_token})
    assert not remote.is_in()
    assert "Carte retirée" in remote.open("GET", "/cps/closed").text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.test"},
        {"Sec-Fetch-Site": "cross-site"},
        {"X-CPS-Token": None},
        {"X-CPS-Token": "the login page's"},
    ],
    ids=str,
)
def test_a_guard_is_heard_from_its_own_page_only(remote, clock, headers) -> None:
    """T46: another site neither ends a guarded session nor keeps it open."""
    page_token = remote.page_token()
    path = "/cps/web-eid/login?guard=1"
    remote.send(remote.answer(remote.challenge(page_token)), page_token, path=path)
    headers = {"X-CPS-Token": _guard_token(remote), **headers}
    if headers["X-CPS-Token"] == "the login page's":
        headers["X-CPS-Token"] = page_token
    clock.ahead = timedelta(minutes=2)
    for word in ("card-removed", "heartbeat"):
        told = remote.open("POST", f"/cps/web-eid/{word}", headers=headers)
        assert told.status_code in (400, 403)
        assert remote.is_in()
    clock.ahead = timedelta(minutes=3)
    assert not remote.is_in()


@pytest.mark.parametrize("path", ["challenge", "login"])
def test_a_script_needs_the_token_of_its_own_page(remote, path: str) -> None:
    """T46: none, an invented one, or that of a form opens nothing."""
    page_token = remote.page_token()
    token = remote.answer(remote.challenge(page_token))
    for wrong in ("", "0" * 64):
        answer = remote.send(token, wrong, path=f"/cps/web-eid/{path}")
        assert (answer.status_code, answer.json) == (403, {"refused": True})
    assert not remote.is_in()


def test_a_guard_may_be_required(make_app, remote_visit, remote_config) -> None:
    """Where every session has to end with the card, a browser that cannot tell is refused."""
    app = make_app("guarded", {**remote_config, "CPS_WEB_EID_GUARD_REQUIRED": True}, cards=None)
    visitor = remote_visit(app)
    assert visitor.log_in().status_code == 403
    assert visitor.log_in(path="/cps/web-eid/login?guard=1").status_code == 200


def test_a_stranger_is_refused_without_a_word_more(make_app, remote_visit, remote_config) -> None:
    """No account, revoked, forged: one answer; the log and the signal know."""
    app = make_app("closed", remote_config, cards=None, load_account=lambda _: None)
    visitor = remote_visit(app)
    heard: list[str] = []
    with login_refused.connected_to(lambda _, error: heard.append(error.code), app):
        answers = [visitor.log_in(name) for name in ("doctor", "revoked", "unknown-root")]
    assert len({(answer.status_code, answer.data) for answer in answers}) == 1
    assert heard == ["holder-not-allowed", "certificate-revoked", "untrusted-issuer"]


def test_who_asks_too_often_waits(make_app, remote_visit, remote_config, clock) -> None:
    """T50: the fourth request of a minute is told when to come back, and the next minute is new."""
    app = make_app("slow", {**remote_config, "CPS_REQUESTS_PER_MINUTE": 3}, cards=None)
    visitor = remote_visit(app)
    headers = {"X-CPS-Token": visitor.page_token()}
    clock.ahead = timedelta(seconds=61 - clock().timestamp() % 60)  # a minute has just begun

    def ask() -> TestResponse:
        return visitor.open("POST", "/cps/web-eid/challenge", headers=headers)

    answers = [ask() for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    clock.ahead += timedelta(seconds=60)
    assert ask().status_code == 200


def test_too_many_refusals_lock_an_address_out(
    make_app, remote_visit, remote_config, clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Lockout: after so many refusals even the right card waits, then comes in."""
    config = {**remote_config, "CPS_REFUSALS_BEFORE_LOCKOUT": 3}
    visitor = remote_visit(make_app("lockout", config, cards=None))
    window = timedelta(minutes=15).total_seconds()
    clock.ahead = timedelta(seconds=window - clock().timestamp() % window)  # a window begins
    for _ in range(3):
        assert visitor.log_in("revoked").status_code == 403
    page_token = visitor.page_token()
    headers = {"X-CPS-Token": page_token}
    with caplog.at_level(logging.WARNING, "cps_auth.audit"):
        locked = visitor.open("POST", "/cps/web-eid/challenge", headers=headers)
    assert locked.status_code == 429
    assert "code=too-many-requests method=web-eid" in caplog.text
    clock.ahead += timedelta(minutes=15)
    assert visitor.log_in().status_code == 200


def test_without_the_setting_there_is_no_such_way_in(make_app, remote_visit) -> None:
    """Nothing is open that was not asked for."""
    visitor = remote_visit(make_app("local", {"CPS_ORIGIN": "https://practice.test"}))
    assert visitor.open("GET", "/cps/login").status_code == 403
    for path in ("challenge", "login"):
        assert visitor.open("POST", f"/cps/web-eid/{path}").status_code == 404


def _guard_token(remote) -> str:
    text = remote.open("GET", "/watched").text
    found = re.search(r'data-token="([0-9a-f]+)"', text)
    assert found is not None
    return found.group(1)

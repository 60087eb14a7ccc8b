"""Logout: ours, the provider's page after it, and the provider's own word to this server."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from cps_auth.flask.sessions.model import EndReason
from cps_auth.flask.state import LoginState
from hardware_mocks.personas import find_persona
from hardware_mocks.pro_sante_connect.claims import subject_of
from tests.flask.methods.pro_sante_connect.conftest import ORIGIN, BrowserOf, PscBrowser
from tests.flask.methods.pro_sante_connect.test_bad_input import come_back
from tests.hostile_provider import CLIENT_ID, Hostile, new_key

EVENT = {"http://schemas.openid.net/event/backchannel-logout": {}}


def log_out(browser: PscBrowser) -> TestResponse:
    """Press the application's logout button."""
    field = browser.visitor.open("GET", "/form").text
    token = re.search(r'value="([0-9a-f]+)"', field)
    assert token is not None
    answer: TestResponse = browser.visitor.open(
        "POST", "/cps/logout", data={"cps_token": token.group(1)}
    )
    return answer


def test_our_logout_ends_the_providers_session_too(browser: PscBrowser, psc_app: Flask) -> None:
    """The browser is led there with the id_token's hint, and back to the application."""
    browser.log_in()
    state: LoginState = psc_app.extensions["cps_login"]
    (row,) = state.stores.sessions.live(at=state.clock())
    assert row.holder.psc is not None
    answer = log_out(browser)
    assert not browser.visitor.is_in()
    url = answer.headers["Location"]
    assert url.startswith(f"{psc_app.config['CPS_PSC']}/protocol/openid-connect/logout?")
    query = parse_qs(urlsplit(url).query)
    assert query["id_token_hint"] == [row.holder.psc.id_token]
    assert query["post_logout_redirect_uri"] == [f"{ORIGIN}/"]
    status, _ = browser._ask(url)  # the real provider takes the hint: its page asks to confirm
    assert status == 200


def test_the_providers_session_can_be_left_alone(
    make_app: Any, psc_config: dict[str, Any], browser_of: BrowserOf
) -> None:
    """CPS_PSC_LOGOUT False: other applications of the person stay open."""
    browser = browser_of(make_app("alone", {**psc_config, "CPS_PSC_LOGOUT": False}, cards=None))
    browser.log_in()
    assert log_out(browser).headers["Location"] == "/"


def test_a_card_login_is_logged_out_here_alone(browser: PscBrowser) -> None:
    """It has no session at the provider."""
    browser.visitor.log_in("doctor")
    assert log_out(browser).headers["Location"] == "/"


def test_logout_works_while_the_provider_is_down(
    victim: PscBrowser, hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person is out here, whatever happens there."""
    come_back(victim, hostile)
    hostile.document = {"end_session_endpoint": None}
    monkeypatch.setattr("cps_auth.login.pro_sante_connect.refreshed.USABLE_S", 0.0)
    assert log_out(victim).headers["Location"] == "/"
    assert not victim.visitor.is_in()


Send = Callable[..., int]


@pytest.fixture
def send(victim: PscBrowser, hostile: Hostile) -> Send:
    """Sends the application a logout token of a session that is open; returns the status."""
    assert come_back(victim, hostile).status_code == 303

    def post(token: str | None = None, **claims: Any) -> int:
        now = int(datetime.now(UTC).timestamp())
        content = {
            "iss": hostile.issuer,
            "aud": CLIENT_ID,
            "iat": now,
            "exp": now + 120,
            "jti": "one",
            "sid": "one-session",
            "sub": subject_of(find_persona("doctor")),
            "events": EVENT,
            **claims,
        }
        kept = {name: value for name, value in content.items() if value is not None}
        client = victim.visitor.client.application.test_client()  # no cookie of anybody
        answer = client.post(
            "/cps/psc/backchannel-logout",
            base_url=ORIGIN,
            data={"logout_token": hostile.sign(kept) if token is None else token},
        )
        assert answer.headers["Cache-Control"] == "no-store"
        return int(answer.status_code)

    return post


def test_the_provider_ends_our_session(send: Send, victim: PscBrowser) -> None:
    """At once, with a reason of its own, told to the person."""
    begun = time.monotonic()
    assert send() == 200
    assert not victim.visitor.is_in()
    assert time.monotonic() - begun < 5
    state: LoginState = victim.visitor.client.application.extensions["cps_login"]
    assert state.stores.sessions.live(at=state.clock()) == ()
    page = victim.visitor.open("GET", "/cps/closed").text
    assert f'data-reason="{EndReason.PROVIDER_LOGOUT.value}"' in page
    assert "Pro Santé Connect" in page


def test_a_subject_alone_ends_all_of_their_sessions(send: Send, victim: PscBrowser) -> None:
    """A token without `sid` is about the person."""
    assert send(sid=None) == 200
    assert not victim.visitor.is_in()


@pytest.mark.parametrize(
    "claims", [{"sid": "another"}, {"sid": None, "sub": "f:x:another"}], ids=str
)
def test_another_session_is_not_ended(
    send: Send, victim: PscBrowser, claims: dict[str, Any]
) -> None:
    """Nor that of another person."""
    assert send(**claims) == 200
    assert victim.visitor.is_in()


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.test"},
        {"aud": "another"},
        {"events": None},
        {"events": {"http://schemas.openid.net/event/other": {}}},
        {"events": [EVENT]},
        {"nonce": "a"},
        {"jti": None},
        {"sid": None, "sub": None},
        {"sid": 7, "sub": None},
        {"exp": 1},
        {"iat": 1},
        {"iat": 99_999_999_999},
        {"iat": None},
        {"azp": "another"},
    ],
    ids=str,
)
def test_a_bad_logout_token_ends_nothing(
    send: Send, victim: PscBrowser, claims: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """400, and a line in the audit log."""
    assert send(**claims) == 400
    assert victim.visitor.is_in()
    assert "code=provider-token-refused" in caplog.text


def test_a_forged_logout_token_ends_nothing(
    send: Send, victim: PscBrowser, hostile: Hostile
) -> None:
    """By another key, by none, or an id_token of ours."""
    now = int(datetime.now(UTC).timestamp())
    content = {"iss": hostile.issuer, "aud": CLIENT_ID, "iat": now, "jti": "x", "events": EVENT}
    forged = hostile.sign({**content, "sid": "one-session"}, new_key())
    for token in (forged, "", "a.b.c", "x" * 20_000, hostile.sign(hostile.good_claims())):
        assert send(token) == 400
    assert victim.visitor.is_in()


def test_a_replayed_logout_token_ends_no_later_login(
    send: Send, victim: PscBrowser, hostile: Hostile, browser_of: BrowserOf, clock: Any
) -> None:
    """Even of the same session there: it is older than the login."""
    now = int(datetime.now(UTC).timestamp())
    assert send(iat=now) == 200
    assert not victim.visitor.is_in()
    clock.ahead = timedelta(minutes=1)
    hostile.nonce, hostile.claims = "", {"iat": now + 60, "exp": now + 180}
    again = browser_of(victim.visitor.client.application)
    assert come_back(again, hostile).status_code == 303
    assert send(iat=now) == 200
    assert again.visitor.is_in()


def test_a_body_that_is_none(victim: PscBrowser) -> None:
    """Too long, another type, twice."""
    client = victim.visitor.client.application.test_client()
    path = "/cps/psc/backchannel-logout"
    for more in (
        {"data": b"x" * 100_000, "content_type": "application/x-www-form-urlencoded"},
        {"json": {"logout_token": "a"}},
        {"data": {"logout_token": ["a", "b"]}},
        {"data": {}},
    ):
        assert client.post(path, base_url=ORIGIN, **more).status_code == 400
    assert client.get(path, base_url=ORIGIN).status_code == 405


def test_the_provider_may_send_it_again_while_nobody_can_tell(
    send: Send, victim: PscBrowser, hostile: Hostile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503 while its keys cannot be had; nothing ended."""
    monkeypatch.setattr("cps_auth.login.pro_sante_connect.refreshed.RETRY_S", 0.0)
    hostile.replies["certs"] = lambda: (500, "text/plain", b"")
    stranger = new_key("stranger")
    assert send(hostile.sign({}, stranger)) == 503
    assert victim.visitor.is_in()

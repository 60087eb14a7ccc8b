"""Sessions without a certificate in both stores, and with a worker of before beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cps_auth.errors import ConfigurationError
from cps_auth.flask.state import LoginState
from tests.flask.conftest import cookie_name
from tests.flask.methods.pro_sante_connect.conftest import BrowserOf, PscBrowser


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Settings of a store that several applications share."""
    if request.param == "sqlite":
        return {"CPS_DATABASE": tmp_path / "shared.sqlite3"}
    server = request.getfixturevalue("redis_server")
    return {"CPS_STORE": server.url}


def test_a_worker_without_the_method_ends_its_sessions_and_no_others(
    make_app: Any,
    psc_config: dict[str, Any],
    remote_config: dict[str, Any],
    store: dict[str, Any],
    browser_of: BrowserOf,
) -> None:
    """During an upgrade: an old worker cannot judge such a session, says so, and goes on."""
    new = make_app("new", {**psc_config, **store}, cards=None)
    old = make_app("old", {**remote_config, **store}, cards=None)
    by_provider, by_card = browser_of(new), browser_of(new)
    assert by_provider.log_in().status_code == 303
    assert by_card.visitor.log_in("pharmacist").status_code == 200
    for browser, stays in ((by_card, True), (by_provider, False)):
        client = browser.visitor.client
        cookie = client.get_cookie(cookie_name(client), domain="practice.test")
        elsewhere = browser_of(old)
        elsewhere.visitor.client.set_cookie(
            cookie_name(elsewhere.visitor.client), cookie.value, domain="practice.test"
        )
        assert elsewhere.visitor.is_in() is stays
        assert browser.visitor.is_in() is stays
    state: LoginState = old.extensions["cps_login"]
    assert len(state.stores.sessions.live(at=state.clock())) == 1


def test_an_application_without_certificates_needs_no_list(
    make_app: Any,
    psc_config: dict[str, Any],
    store: dict[str, Any],
    browser_of: BrowserOf,
    judge: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What is judged again is a certificate; such a session has none."""
    app = make_app("lists", {**psc_config, **store}, cards=None)
    browser = browser_of(app)
    browser.log_in()

    def judged(*_: Any, **__: Any) -> None:
        raise AssertionError("there is nothing to judge")

    monkeypatch.setattr(type(judge), "judge", judged)
    assert browser.visitor.is_in()


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"CPS_PSC_CLIENT_ID": None}, "CPS_PSC_CLIENT_ID"),
        ({"CPS_PSC_CLIENT_SECRET": None}, "CPS_PSC_CLIENT_SECRET"),
        ({"CPS_PSC_KEY": "/no/such.pem"}, "one of"),
        ({"CPS_PSC_KEY": "/no/such.pem", "CPS_PSC_CLIENT_SECRET": None}, "such.pem"),
        ({"CPS_PSC_CERTIFICATE": "/no/such.pem"}, "one of"),
        ({"CPS_PSC_AUTHORITIES": "/no/such.pem"}, "TLS"),
        ({"CPS_PSC_AUTHORITIES": "relative.pem"}, "CPS_PSC_AUTHORITIES"),
        ({"CPS_PSC_LOGOUT": "yes"}, "CPS_PSC_LOGOUT"),
        ({"CPS_PSC": None}, "CPS_PSC_CLIENT_ID"),
        ({"CPS_PSC": 7}, "CPS_PSC"),
        ({"SESSION_COOKIE_SAMESITE": "Strict"}, "SESSION_COOKIE_SAMESITE"),
    ],
    ids=str,
)
def test_a_setting_that_cannot_be_is_refused_at_start(
    make_app: Any, psc_config: dict[str, Any], changes: dict[str, Any], names: str
) -> None:
    """By name, before the first request."""
    with pytest.raises(ConfigurationError, match=names):
        make_app("wrong", {**psc_config, **changes}, cards=None)


@pytest.mark.parametrize("name", ["production", "sandbox"])
def test_production_and_sandbox_are_one_setting(
    make_app: Any, psc_config: dict[str, Any], name: str, browser_of: BrowserOf
) -> None:
    """Nothing is asked of them at start; the page may lead a form to their hosts."""
    browser: PscBrowser = browser_of(make_app(name, {**psc_config, "CPS_PSC": name}, cards=None))
    answer = browser.visitor.open("GET", "/cps/login")
    policy = answer.headers["Content-Security-Policy"]
    assert "form-action 'self' https://*.esante.gouv.fr;" in policy

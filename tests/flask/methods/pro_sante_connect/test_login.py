"""Logins at a real OpenID provider with the personas: one person, whichever way they come."""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from cps_auth.flask import cps_required
from cps_auth.flask.sessions.model import EndReason
from cps_auth.flask.state import LoginState
from cps_auth.model import ProofKind
from cps_auth.provider_model import LoginMeans
from hardware_mocks.personas import find_persona
from tests.flask.methods.pro_sante_connect.conftest import ORIGIN, BrowserOf, PscBrowser


def row_of(app: Flask) -> Any:
    """Return the one open session."""
    state: LoginState = app.extensions["cps_login"]
    (row,) = state.stores.sessions.live(at=state.clock())
    return row


def test_the_doctor_comes_in(browser: PscBrowser, psc_app: Flask) -> None:
    """Button, provider, back: the persona's account, profession and places of work."""
    answer = browser.log_in()
    assert (answer.status_code, answer.headers["Location"]) == (303, "/me")
    holder = row_of(psc_app).holder
    doctor = find_persona("doctor")
    assert holder.practitioner.ps_idnat == doctor.ps_idnat
    assert holder.practitioner.rpps == doctor.ps_idnat[1:]
    assert holder.practitioner.display_name == "Camille LAVERGNE"
    assert (holder.practitioner.profession_code, holder.practitioner.profession) == (
        "10",
        "Médecin",
    )
    assert holder.practitioner.specialities == ("SM26",)
    (exercice,) = holder.psc.exercices
    assert [place.name for place in exercice.activities] == ["CABINET LAVERGNE", "CH DU VAL FICTIF"]


def test_what_no_certificate_said_is_absent(browser: PscBrowser, psc_app: Flask) -> None:
    """No card, certificate or revocation is invented; how and at what level is told."""
    browser.log_in()
    holder = row_of(psc_app).holder
    assert holder.card is None
    assert holder.certificate_serial_hex is None
    assert holder.certificate_not_after is None
    assert holder.revocation == ()
    assert holder.practitioner.card_type is None
    assert holder.practitioner.card_number is None
    assert holder.proof is ProofKind.PROVIDER
    assert (holder.psc.acr, holder.psc.level) == ("eidas1", "APPPRIP3")
    assert holder.trust == holder.psc.issuer == psc_app.config["CPS_PSC"]


@pytest.mark.parametrize(
    ("means", "told"), [("CARD", LoginMeans.CARD), ("MOBILE", LoginMeans.ECPS)]
)
def test_card_or_phone_is_told(
    browser: PscBrowser, psc_app: Flask, means: str, told: LoginMeans
) -> None:
    """`authMode`, as ANS's sandbox has it."""
    browser.log_in(means=means)
    assert row_of(psc_app).holder.means is told


def test_the_card_and_the_provider_give_one_person(browser: PscBrowser, psc_app: Flask) -> None:
    """The same account key, name and profession whichever way."""
    browser.log_in()
    by_provider = row_of(psc_app).holder.practitioner
    browser.visitor.log_in("doctor", "/cps/login?card=1")
    by_card = row_of(psc_app).holder.practitioner
    for name in ("ps_idnat", "rpps", "display_name", "profession_code", "specialities"):
        assert getattr(by_card, name) == getattr(by_provider, name)


@pytest.mark.parametrize("persona", ["pharmacist", "nurse", "cpe-nameless"])
def test_others_come_in_too(browser: PscBrowser, psc_app: Flask, persona: str) -> None:
    """RPPS, ADELI and establishment identifiers are one syntax."""
    assert browser.log_in(persona).status_code == 303
    assert row_of(psc_app).holder.practitioner.ps_idnat == find_persona(persona).ps_idnat


def test_what_the_provider_is_asked(browser: PscBrowser) -> None:
    """Scope, level, PKCE and the address to come back to, as ANS has them."""
    asked = browser.authorization()
    assert asked["response_type"] == "code"
    assert asked["scope"] == "openid scope_all"
    assert asked["acr_values"] == "eidas1"
    assert asked["code_challenge_method"] == "S256"
    assert asked["redirect_uri"] == f"{ORIGIN}/cps/psc/callback"
    assert len(asked["state"]) >= 43
    assert len(asked["nonce"]) >= 43
    assert "prompt" not in asked
    assert browser.authorization()["nonce"] != asked["nonce"]


@pytest.mark.parametrize("language", ["fr", "en"])
def test_the_provider_is_asked_in_the_pages_language(browser: PscBrowser, language: str) -> None:
    """OpenID Connect's `ui_locales`; a provider that has no such pages ignores it."""
    page = f"/cps/login?remote=1&lang={language}"
    assert browser.authorization(page=page)["ui_locales"] == language


def test_a_code_counts_once(
    browser: PscBrowser,
    psc_app: Flask,
    browser_of: BrowserOf,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The address that a login came back by is worth nothing afterwards, with its state or not."""
    url = browser.at_provider(browser.start().headers["Location"])
    assert browser.back(url).status_code == 303
    assert browser.back(url).status_code == 403
    other = browser_of(psc_app)
    parts = urlsplit(url)
    old = parse_qs(parts.query)
    state = other.authorization()["state"]
    replayed = f"{parts.path}?code={old['code'][0]}&iss={old['iss'][0]}&state={state}"
    assert other.back(ORIGIN + replayed).status_code == 403
    assert not other.visitor.is_in()
    assert "code=provider-token-refused" in caplog.text
    assert row_of(psc_app).holder.practitioner.ps_idnat == find_persona("doctor").ps_idnat


def test_the_state_of_another_browser_is_refused(
    psc_app: Flask, browser_of: BrowserOf, caplog: pytest.LogCaptureFixture
) -> None:
    """A link that somebody else prepared logs nobody in, on either side."""
    attacker, victim = browser_of(psc_app), browser_of(psc_app)
    url = attacker.at_provider(attacker.start().headers["Location"])
    victim.start()
    assert victim.back(url).status_code == 403
    assert not victim.visitor.is_in()
    assert "code=challenge-unknown" in caplog.text


def test_giving_up_is_told_and_costs_nothing(browser: PscBrowser) -> None:
    """Who cancels is told so and led back; it counts as no refusal."""
    start = browser.start()
    url = browser.at_provider(start.headers["Location"], None)
    answer = browser.back(url)
    assert answer.status_code == 401
    assert "annulée ou refusée" in answer.text or "cancelled or refused" in answer.text
    assert not browser.visitor.is_in()


def test_access_denied_by_another_site_is_not_even_counted(
    make_app: Any, psc_config: dict[str, Any], browser_of: BrowserOf
) -> None:
    """A site that sends the browser here again and again locks nobody out."""
    config = {**psc_config, "CPS_REFUSALS_BEFORE_LOCKOUT": 2}
    browser = browser_of(make_app("strict", config, cards=None))
    for _ in range(5):
        answer = browser.back(f"{ORIGIN}/cps/psc/callback?error=access_denied&state=x")
        assert answer.status_code == 403
    assert browser.log_in().status_code == 303


def test_freshness_is_refused_where_nothing_proves_it(browser: PscBrowser) -> None:
    """A view with `max_age` leads to the card; this provider is not offered there."""
    browser.log_in()
    asked = browser.visitor.open("GET", "/fresh")
    assert "again=1" in asked.headers["Location"]
    page = browser.visitor.open("GET", asked.headers["Location"]).text
    assert "cps-web-eid" in page
    assert "psc/start" not in page


def test_freshness_where_it_is_proven(
    make_app: Any, psc_config: dict[str, Any], browser_of: BrowserOf, clock: Any
) -> None:
    """With CPS_PSC_REAUTHENTICATES the person is asked again, and `auth_time` proves it."""
    config = {**psc_config, "CPS_PSC_REAUTHENTICATES": True}
    app = make_app("fresh", config, cards=None)
    browser = browser_of(app)
    browser.log_in()
    assert browser.visitor.open("GET", "/fresh").text == "verified just now"
    clock.ahead = timedelta(minutes=6)
    assert "again=1" in browser.visitor.open("GET", "/fresh").headers["Location"]
    clock.ahead = timedelta(0)
    again = "/cps/login?again=1"
    asked = browser.authorization(page=again, again="1")
    assert (asked["prompt"], asked["max_age"]) == ("login", "0")
    start = browser.start(page=again, again="1")
    answer = browser.back(browser.at_provider(start.headers["Location"]))
    assert answer.status_code == 303, answer.text


def test_a_view_can_demand_the_card(
    make_app: Any, psc_config: dict[str, Any], browser_of: BrowserOf
) -> None:
    """`card=True` sends who came by the provider to the card, and lets the card in."""
    app = make_app("card", psc_config, cards=None)

    @app.get("/card")
    @cps_required(card=True)
    def card_only() -> str:
        return "by the card"

    browser = browser_of(app)
    browser.log_in()
    asked = browser.visitor.open("GET", "/card")
    assert (asked.status_code, "card=1" in asked.headers["Location"]) == (303, True)
    page = browser.visitor.open("GET", asked.headers["Location"]).text
    assert "cps-web-eid" in page
    assert "psc/start" not in page
    browser.visitor.log_in("doctor", "/cps/login?card=1")
    assert browser.visitor.open("GET", "/card").text == "by the card"


def test_a_view_that_demands_the_card_where_no_method_has_one(
    make_app: Any, psc_config: dict[str, Any], browser_of: BrowserOf
) -> None:
    """Nobody is led around in a circle: 403."""
    app = make_app("alone", {**psc_config, "CPS_WEB_EID": False}, cards=None)

    @app.get("/card")
    @cps_required(card=True)
    def card_only() -> str:
        return "by the card"

    browser = browser_of(app)
    browser.log_in()
    assert browser.visitor.open("GET", "/card").status_code == 403


def test_the_session_lasts_no_longer_than_the_providers(
    browser: PscBrowser, psc_app: Flask, clock: Any
) -> None:
    """Four hours, whatever the application's own lifetime is."""
    browser.log_in()
    row = row_of(psc_app)
    assert row.expires_at - row.created_at == timedelta(hours=4)
    for _ in range(4):
        clock.ahead += timedelta(minutes=59)
        assert browser.visitor.is_in()
    clock.ahead += timedelta(minutes=5)
    assert not browser.visitor.is_in()


def test_nothing_of_a_token_in_a_cookie_or_a_log(
    browser: PscBrowser, psc_app: Flask, caplog: pytest.LogCaptureFixture
) -> None:
    """Nor of the secrets of a login, at DEBUG level; only the server's row has the id_token."""
    caplog.set_level(logging.DEBUG)
    start = browser.start()
    asked = parse_qs(urlsplit(start.headers["Location"]).query)
    url = browser.at_provider(start.headers["Location"])
    browser.back(url)
    row = row_of(psc_app)
    code = parse_qs(urlsplit(url).query)["code"][0]
    with browser.visitor.client.session_transaction(base_url=ORIGIN) as session:
        seen = f"{dict(session)} {caplog.text} {row!r}"
    secret = psc_app.config["CPS_PSC_CLIENT_SECRET"]
    for hidden in (row.holder.psc.id_token, code, asked["nonce"][0], asked["state"][0], secret):
        assert len(hidden) > 20
        assert hidden not in seen
    assert "means=card" in caplog.text


def test_the_button_is_first_on_phones(browser: PscBrowser) -> None:
    """Elsewhere the card is first."""
    phone = {"User-Agent": "Mozilla/5.0 (Linux; Android 15) Mobile"}
    order = []
    for headers in ({}, phone):
        page = browser.visitor.open("GET", "/cps/login", headers=headers).text
        order.append(page.index("psc/start") < page.index('id="cps-web-eid"'))
    assert order == [False, True]


def test_the_button_is_beside_the_card_where_a_reader_is(
    make_app: Any, psc_config: dict[str, Any], desk: Any, visit: Any
) -> None:
    """On the page that asks for the PIN, too."""
    config = {**psc_config, "CPS_ORIGIN": "http://127.0.0.1:5000", "CPS_WEB_EID": False}
    visitor = visit(make_app("beside", config))
    assert "psc/start" in visitor.get("/cps/login").text
    desk.insert("doctor")
    page = visitor.get("/cps/login").text
    assert 'name="pin"' in page
    assert "psc/start" in page
    assert "psc/start" not in visitor.get("/cps/login?card=1").text


def test_an_account_that_is_not_known_is_told_so(
    make_app: Any, psc_config: dict[str, Any], browser_of: BrowserOf
) -> None:
    """The application is asked once the person is proven, and may say no."""
    seen = []

    def load_account(practitioner: Any) -> None:
        seen.append(practitioner.ps_idnat)

    browser = browser_of(make_app("closed", psc_config, cards=None, load_account=load_account))
    browser.start()
    assert seen == []
    assert browser.log_in().status_code == 403
    assert seen == [find_persona("doctor").ps_idnat]
    assert not browser.visitor.is_in()


def test_a_card_login_of_the_same_browser_replaces_it(browser: PscBrowser, psc_app: Flask) -> None:
    """One browser has one session."""
    browser.log_in()
    first = row_of(psc_app).handle
    browser.visitor.log_in("doctor", "/cps/login?card=1")
    assert row_of(psc_app).handle != first
    state: LoginState = psc_app.extensions["cps_login"]
    assert state.stores.sessions.end_handle(first, EndReason.LOGOUT, at=state.clock()) == ()


def test_our_part_of_a_login_costs_under_ten_milliseconds(
    psc_app: Flask, browser_of: BrowserOf
) -> None:
    """CPU time of this process, from the callback to the session; the best of some."""
    spent = []
    for _ in range(10):
        browser = browser_of(psc_app)
        url = browser.at_provider(browser.start().headers["Location"])
        begun = time.process_time()
        answer = browser.back(url)
        spent.append(time.process_time() - begun)
        assert answer.status_code == 303
    assert min(spent) < 0.010, spent

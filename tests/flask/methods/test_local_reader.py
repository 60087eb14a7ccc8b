"""Card in the reader, PIN in the browser: who gets in, who does not, and at what price."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from pathlib import Path

import pytest

from cps_auth.flask import holder_logged_in, login_refused
from hardware_mocks.igc.fake_igc import CRL_LIFETIME
from hardware_mocks.personas import PERSONAS
from webdemo.desk import READER, VirtualDesk

WRONG = "0000"


def test_the_right_pin_leads_to_the_page_that_was_asked_for(visitor, desk: VirtualDesk) -> None:
    """A login leads back to the page that needed it."""
    desk.insert("doctor")
    asked = visitor.get("/doctors")
    assert asked.status_code == 302
    form = visitor.form(asked.location)
    done = visitor.post("/cps/login", {**form, "pin": "1234"})
    assert (done.status_code, done.location) == (303, "/doctors")
    assert visitor.get("/doctors").text == "for doctors"


def test_current_user_carries_the_verified_facts(make_app, visit, desk: VirtualDesk, clock) -> None:
    """The application sees who the card says it is, how and when, and its own account."""
    visitor = visit(make_app(load_account=lambda who: f"account of {who.surname}"))
    desk.insert("pharmacist")
    visitor.log_in()
    facts = visitor.get("/me").json
    assert facts.pop("verified_at")[:10] == clock().date().isoformat()
    assert facts == {
        "ps_idnat": "899900000029",
        "name": "Éloïse AUBRAC",
        "profession": "Pharmacien",
        "card_type": "CPS",
        "method": "local-reader",
        "trust": "IGC-Santé FICTIVE",
        "account": "account of AUBRAC",
    }


@pytest.mark.parametrize("persona", ["doctor", "pharmacist", "nurse", "cpe-nameless"])
def test_an_ordinary_card_logs_in(visitor, desk: VirtualDesk, persona: str) -> None:
    """Every ordinary persona is shown without a PIN and let in with it."""
    desk.insert(persona)
    shown = visitor.get("/cps/login").text
    person = PERSONAS[persona]
    assert (person.surname or "TILLEULS") in shown
    assert visitor.log_in().status_code == 303
    assert visitor.get("/me").json["ps_idnat"] == person.ps_idnat


@pytest.mark.parametrize(
    "persona",
    ["expired", "revoked", "unknown-root", "test-category", "signature-only", "pin-blocked"],
)
def test_a_card_with_a_defect_is_refused_before_any_pin(
    app, visitor, desk: VirtualDesk, persona: str
) -> None:
    """No PIN is asked for; one sent all the same is never presented to the card."""
    desk.insert(persona)
    before = desk.card(persona).pin_attempts_left
    page = visitor.get("/cps/login")
    assert page.status_code == 200
    assert 'name="pin"' not in page.text
    state = app.extensions["cps_login"]
    with visitor.cookie() as cookie:
        cookie["cps_browser"] = "this browser"
    token = state.stores.forms.issue("this browser", "any card", at=state.clock())
    refused = visitor.post("/cps/login", {"token": token, "pin": "1234", "next": "/"})
    assert refused.status_code == (409 if persona == "pin-blocked" else 403)
    assert desk.card(persona).pin_attempts_left == before
    assert not visitor.is_in()


def test_a_wrong_pin_is_told_with_the_attempts_left(visitor, desk: VirtualDesk) -> None:
    """401, the card's own count, and a form to try again by hand."""
    desk.insert("doctor")
    page = visitor.log_in(WRONG)
    assert page.status_code == 401
    assert "2 essais restants" in page.text
    assert 'name="pin"' in page.text
    assert desk.card("doctor").pin_attempts_left == 2
    assert not visitor.is_in()


def test_the_last_attempt_needs_a_tick(visitor, desk: VirtualDesk) -> None:
    """Without it nothing is sent to the card; with it the right PIN logs in."""
    desk.insert("last-attempt")
    assert 'name="last_attempt"' in visitor.get("/cps/login").text
    assert visitor.log_in(WRONG).status_code == 409
    assert desk.card("last-attempt").pin_attempts_left == 1
    assert visitor.log_in(last_attempt="yes").status_code == 303
    assert visitor.is_in()


def test_three_wrong_pins_block_and_no_form_comes_back(visitor, desk: VirtualDesk) -> None:
    """A blocked card is said to be, and nobody is invited to go on."""
    desk.insert("doctor")
    visitor.log_in(WRONG)
    visitor.log_in(WRONG)
    page = visitor.log_in(WRONG, last_attempt="yes")
    assert "bloquée" in page.text
    assert 'name="pin"' not in page.text
    assert desk.card("doctor").pin_attempts_left == 0


@pytest.mark.parametrize("pin", ["", "123", "12345", "abcd", "12 4", "１２３４", "1234\n"])
def test_what_is_not_four_digits_never_reaches_the_card(
    visitor, desk: VirtualDesk, pin: str
) -> None:
    """400, and the counter untouched."""
    desk.insert("doctor")
    assert visitor.log_in(pin).status_code == 400
    assert desk.card("doctor").pin_attempts_left == 3


def test_a_pin_typed_for_one_card_is_not_sent_to_another(visitor, desk: VirtualDesk) -> None:
    """A card that was swapped after the page was shown keeps its attempts."""
    desk.insert("doctor")
    form = visitor.form()
    desk.insert("pharmacist")
    assert visitor.post("/cps/login", {**form, "pin": WRONG}).status_code == 409
    assert desk.card("pharmacist").pin_attempts_left == 3
    assert desk.card("doctor").pin_attempts_left == 3


def test_no_card_is_a_calm_page_that_asks_for_one(visitor) -> None:
    """200 and no PIN field."""
    page = visitor.get("/cps/login")
    assert page.status_code == 200
    assert "Insérez votre carte" in page.text
    assert 'name="pin"' not in page.text


def test_a_dead_reader_service_is_503(visitor, desk: VirtualDesk) -> None:
    """The page says so, in French, with what to do."""
    desk.stop_service()
    page = visitor.get("/cps/login")
    assert page.status_code == 503
    assert "service de cartes à puce" in page.text


def test_a_holder_without_an_account_is_told_before_the_pin(
    make_app, visit, desk: VirtualDesk
) -> None:
    """`is_known` says no at step 6: no PIN field, no attempt, and no account was made."""
    made: list[object] = []
    visitor = visit(make_app(load_account=made.append, is_known=lambda _: False))
    desk.insert("doctor")
    page = visitor.get("/cps/login")
    assert "accès" in page.text
    assert 'name="pin"' not in page.text
    assert made == []


def test_an_account_is_asked_for_when_the_signature_verified(
    make_app, visit, desk: VirtualDesk
) -> None:
    """Nothing unproven reaches the application: not a card put in, not a wrong PIN."""
    asked: list[str] = []
    visitor = visit(make_app(load_account=lambda who: asked.append(who.ps_idnat)))
    desk.insert("doctor")
    visitor.get("/cps/login")
    assert visitor.log_in("0000").status_code == 401
    assert asked == []
    refused = visitor.log_in()
    assert (refused.status_code, asked) == (403, ["899900000011"])
    assert not visitor.is_in()


def test_a_closed_account_is_refused(make_app, visit, desk: VirtualDesk) -> None:
    """An account whose is_active is false counts as none."""

    class Closed:
        is_active = False

    visitor = visit(make_app(load_account=lambda _: Closed()))
    desk.insert("doctor")
    assert visitor.log_in().status_code == 403
    assert not visitor.is_in()


def test_an_account_that_is_withdrawn_ends_the_session(make_app, visit, desk: VirtualDesk) -> None:
    """The account is asked for again at every request."""
    accounts = {"899900000011": "doctor"}
    visitor = visit(make_app(load_account=lambda who: accounts.get(who.ps_idnat)))
    desk.insert("doctor")
    visitor.log_in()
    assert visitor.is_in()
    accounts.clear()
    assert not visitor.is_in()
    assert "retiré" in visitor.get("/cps/closed").text


def test_another_profession_is_refused_the_page(visitor, desk: VirtualDesk, until) -> None:
    """cps_required answers 403 to a pharmacist and serves a doctor."""
    desk.insert("pharmacist")
    visitor.log_in()
    assert visitor.get("/doctors").status_code == 403
    desk.insert("doctor")
    until(lambda: not visitor.is_in())
    visitor.log_in()
    assert visitor.get("/doctors").status_code == 200


def test_an_old_login_is_asked_for_the_pin_again(visitor, desk: VirtualDesk, clock) -> None:
    """max_age leads to the login page, and a fresh PIN leads back."""
    desk.insert("doctor")
    visitor.log_in()
    assert visitor.get("/fresh").status_code == 200
    clock.ahead = timedelta(minutes=6)
    asked = visitor.get("/fresh")
    assert asked.status_code == 303
    form = visitor.form(asked.location)
    done = visitor.post("/cps/login", {**form, "pin": "1234"})
    assert done.location == "/fresh"
    assert visitor.get("/fresh").status_code == 200


def test_who_is_asked_again_is_told_why(visitor, desk: VirtualDesk, clock) -> None:
    """In either language, and the language changes nothing else."""
    desk.insert("doctor")
    visitor.log_in()
    clock.ahead = timedelta(minutes=6)
    page = visitor.get(visitor.get("/fresh").location).text
    assert "Cette page redemande votre carte et votre code" in page
    (english,) = re.findall(r'href="([^"]*)" lang="en"', page)
    page = visitor.get(html.unescape(english)).text
    assert "This page asks for your card and PIN again" in page
    assert 'value="/fresh"' in page


def test_signals_tell_of_logins_and_refusals(app, visitor, desk: VirtualDesk) -> None:
    """An application can write its own journal."""
    heard: list[str] = []

    def refused(_, error) -> None:
        heard.append(error.code)

    def logged_in(_, holder, reader) -> None:
        heard.append(f"{holder.practitioner.surname} in {reader}")

    desk.insert("doctor")
    with login_refused.connected_to(refused, app), holder_logged_in.connected_to(logged_in, app):
        visitor.log_in(WRONG)
        visitor.log_in()
    assert heard == ["wrong-pin", f"LAVERGNE in {READER}"]


def test_the_configured_reader_decides(make_app, visit, desk: VirtualDesk) -> None:
    """CPS_READER names the one reader that counts."""
    desk.readers.add_reader("Second reader")
    desk.insert("doctor")
    desk.readers.insert("Second reader", desk.card("pharmacist"))
    visitor = visit(make_app(config={"CPS_READER": "Second reader"}))
    assert visitor.log_in().status_code == 303
    assert visitor.get("/me").json["name"] == "Éloïse AUBRAC"


def test_pages_speak_french_or_english(visitor, desk: VirtualDesk) -> None:
    """By ?lang=, which is remembered, else by Accept-Language, else French."""
    assert "Insérez" in visitor.get("/cps/login").text
    assert "Insert your" in visitor.get("/cps/login", Accept_Language="en-GB,en").text
    assert "Insert your" in visitor.get("/cps/login?lang=en").text
    assert "Insert your" in visitor.get("/cps/login").text
    desk.insert("doctor")
    assert "2 attempts left" in visitor.log_in(WRONG).text


@pytest.mark.parametrize(("grace", "lets_in"), [(timedelta(0), False), (timedelta(days=10), True)])
def test_a_practice_may_be_offline_for_as_long_as_it_said(
    make_app, visit, desk: VirtualDesk, clock, igc_dir: Path, grace: timedelta, lets_in: bool
) -> None:
    """Lists that are too old by some days: refused, unless the settings have a grace."""
    config = {"CPS_TRUST": igc_dir, "CPS_REVOCATION_GRACE": grace}
    visitor = visit(make_app("offline", config, judge=None))
    clock.ahead = CRL_LIFETIME + timedelta(days=5)
    desk.insert("doctor")
    visitor.log_in()
    assert visitor.is_in() is lets_in
    assert desk.card("doctor").pin_attempts_left == 3

"""A blocked card in the reader: unblocked on the page with its PUK, or not, and at what price."""

from __future__ import annotations

import logging

import pytest

from tests.flask.conftest import Visitor
from webdemo.desk import READER, VirtualDesk

PUK, NEW, WRONG = "12345678", "4711", "87654321"
BLOCKED = "pin-blocked"


@pytest.fixture
def blocked(desk: VirtualDesk) -> VirtualDesk:
    """A blocked card in the reader."""
    desk.insert(BLOCKED)
    return desk


def puk_left(desk: VirtualDesk, persona: str = BLOCKED) -> int:
    """Return the PUK attempts of a card, without asking it."""
    left = desk.card(persona).puk_attempts_left
    assert left is not None
    return left


def unblock(visitor: Visitor, puk: str = PUK, new: str = NEW, again: str | None = None, **more):
    """Open the login page and send the form that it shows for a blocked card."""
    codes = {"puk": puk, "new_pin": new, "new_pin_again": new if again is None else again}
    return visitor.post("/cps/unblock", {**visitor.form("/cps/login?next=/me"), **codes, **more})


def test_the_puk_unblocks_on_the_spot(visitor: Visitor, blocked: VirtualDesk) -> None:
    """The page says so and asks for the new PIN, which leads to the page that was asked for."""
    page = visitor.get("/cps/login?next=/me").text
    assert "Votre carte est bloquée" in page
    done = unblock(visitor)
    assert (done.status_code, done.location) == (303, "/cps/login?next=/me")
    assert blocked.card(BLOCKED).pin_attempts_left == 3
    assert not visitor.is_in()
    assert "Votre carte est débloquée" in visitor.get(done.location).text
    form = visitor.form(done.location)
    assert visitor.post("/cps/login", {**form, "pin": NEW}).location == "/me"
    assert visitor.is_in()


def test_the_third_wrong_pin_tells_both_facts(visitor: Visitor, desk: VirtualDesk) -> None:
    """The code was wrong, and the card is blocked; the way on is below."""
    desk.insert("doctor")
    visitor.log_in("0000")
    visitor.log_in("0000")
    page = visitor.log_in("0000", last_attempt="yes")
    assert (page.status_code, "Votre code a été refusé" in page.text) == (403, True)
    assert 'name="puk"' in page.text


def test_a_wrong_puk_costs_one_and_is_told(visitor: Visitor, blocked: VirtualDesk) -> None:
    """401, the attempts that are left, and the form to try again by hand."""
    before = puk_left(blocked)
    page = unblock(visitor, WRONG)
    assert puk_left(blocked) == before - 1
    assert page.status_code == 401
    assert f"{before - 1} essais restants" in page.text
    assert 'name="puk"' in page.text
    assert unblock(visitor).status_code == 303


def test_the_last_attempt_at_the_puk_needs_a_tick(visitor: Visitor, blocked: VirtualDesk) -> None:
    """Then the card is lost, and the page says whom to call and asks for nothing any more."""
    while puk_left(blocked) > 1:
        unblock(visitor, WRONG)
    assert 'name="last_attempt"' in visitor.get("/cps/login").text
    assert unblock(visitor, WRONG).status_code == 409
    assert puk_left(blocked) == 1
    lost = unblock(visitor, WRONG, last_attempt="yes")
    assert puk_left(blocked) == 0
    for page in (lost, visitor.get("/cps/login")):
        assert "ANS" in page.text
        assert 'name="puk"' not in page.text
    assert visitor.form() == {}


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (("1234567", NEW), "huit chiffres"),
        (("", NEW), "huit chiffres"),
        ((PUK, "47111"), "quatre chiffres"),
        ((PUK, ""), "quatre chiffres"),
        ((PUK, NEW, "4712"), "différents"),
    ],
    ids=str,
)
def test_what_is_no_code_never_reaches_the_card(
    visitor: Visitor, blocked: VirtualDesk, codes: tuple[str, ...], said: str
) -> None:
    """400, the reason, and no attempt spent."""
    before = puk_left(blocked)
    page = unblock(visitor, *codes)
    assert (page.status_code, said in page.text) == (400, True)
    assert puk_left(blocked) == before


def test_another_card_put_in_meanwhile_gets_no_code(visitor: Visitor, blocked: VirtualDesk) -> None:
    """Codes typed for one card are never sent to the next."""
    form = visitor.form()
    blocked.insert("last-attempt")
    before = puk_left(blocked, "last-attempt")
    codes = {"puk": PUK, "new_pin": NEW, "new_pin_again": NEW}
    page = visitor.post("/cps/unblock", {**form, **codes})
    assert (page.status_code, "retirée" in page.text) == (409, True)
    assert puk_left(blocked, "last-attempt") == before
    assert blocked.card("last-attempt").pin_attempts_left == 1


@pytest.mark.parametrize("what", ["card", "reader"])
def test_pulled_meanwhile(visitor: Visitor, blocked: VirtualDesk, what: str) -> None:
    """The page says what to do, and no attempt was spent."""
    form, before = visitor.form(), puk_left(blocked)
    if what == "card":
        blocked.pull()
    else:
        blocked.readers.drop_reader(READER)
    codes = {"puk": PUK, "new_pin": NEW, "new_pin_again": NEW}
    page = visitor.post("/cps/unblock", {**form, **codes})
    assert page.status_code == 409
    assert 'role="alert"' in page.text or 'role="status"' in page.text
    assert puk_left(blocked) == before


def test_the_form_is_guarded_as_the_login_s(visitor: Visitor, blocked: VirtualDesk) -> None:
    """One use, this browser, this origin, and no login's token: no command reaches the card."""
    codes = {"puk": PUK, "new_pin": NEW, "new_pin_again": NEW}
    form = visitor.form()
    before = puk_left(blocked)
    foreign = visitor.post("/cps/unblock", {**form, **codes}, Origin="https://evil.test")
    assert foreign.status_code == 403
    assert visitor.post("/cps/unblock", codes).status_code == 403
    blocked.insert("last-attempt")
    login = visitor.form()
    assert visitor.post("/cps/unblock", {**login, **codes}).status_code == 400
    blocked.insert(BLOCKED)
    assert visitor.post("/cps/login", {**visitor.form(), "pin": NEW}).status_code == 400
    assert puk_left(blocked) == before
    assert blocked.card(BLOCKED).pin_attempts_left == 0
    twice = {**visitor.form(), **codes}
    assert visitor.post("/cps/unblock", twice).status_code == 303
    assert visitor.post("/cps/unblock", twice).status_code == 403


def test_it_is_limited_as_the_login_is(make_app, visit, blocked: VirtualDesk, clock) -> None:
    """So many requests a minute, and refused ones lock the address out of both forms."""
    clock.stop()
    visitor = visit(make_app(config={"CPS_REFUSALS_BEFORE_LOCKOUT": 2}))
    before = puk_left(blocked)
    for _ in range(2):
        assert unblock(visitor, WRONG).status_code == 401
    assert unblock(visitor).status_code == 429
    assert puk_left(blocked) == before - 2
    blocked.insert("doctor")
    assert visitor.log_in().status_code == 429


def test_no_code_is_written_down(
    visitor: Visitor, blocked: VirtualDesk, caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    """At DEBUG level, in the store and on the pages; the audit line says who and that it was."""
    caplog.set_level(logging.DEBUG)
    pages = unblock(visitor, WRONG).text + unblock(visitor).text
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("practice.sqlite3*"))
    for code in (PUK, WRONG, NEW):
        for text in (pages, caplog.text, stored.decode("latin-1")):
            assert code not in text
    assert "login refused code=wrong-puk" in caplog.text
    assert "pin unblocked holder=" in caplog.text
    blocked.pull()


def test_one_of_several_cards_is_chosen(visitor: Visitor, desk: VirtualDesk) -> None:
    """By its holder's name; the form, a refusal and the login stay with the chosen one."""
    desk.readers.add_reader("Second reader")
    desk.insert("doctor")
    desk.readers.insert("Second reader", desk.card("pharmacist"))
    page = visitor.get("/cps/login?next=/me").text
    assert "Quelle est votre carte" in page
    assert "LAVERGNE" in page
    assert "AUBRAC" in page
    chosen = "/cps/login?next=/me&reader=Second+reader"
    assert chosen.replace("&", "&amp;") in page
    assert "Choisir une autre carte" in visitor.get(chosen).text
    form = visitor.form(chosen)
    refused = visitor.post("/cps/login?reader=Second+reader", {**form, "pin": "0000"})
    assert "AUBRAC" in refused.text
    assert desk.card("pharmacist").pin_attempts_left == 2
    assert desk.card("doctor").pin_attempts_left == 3
    form = visitor.form(chosen)
    assert visitor.post("/cps/login", {**form, "pin": "1234"}).location == "/me"
    assert visitor.get("/me").json["name"] == "Éloïse AUBRAC"


def test_a_card_that_is_no_choice_says_why(visitor: Visitor, desk: VirtualDesk) -> None:
    """A revoked one beside a good one; a reader that is not there is no choice at all."""
    desk.readers.add_reader("Second reader")
    desk.insert("doctor")
    desk.readers.insert("Second reader", desk.card("revoked"))
    page = visitor.get("/cps/login").text
    assert "LAVERGNE" in page
    assert "Second reader" in page
    assert "opposition" in page
    assert "Quelle est votre carte" in visitor.get("/cps/login?reader=Third+reader").text

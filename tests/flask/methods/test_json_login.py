"""A login page that the application's own script shows: the local reader in JSON."""

from __future__ import annotations

import pytest

from tests.flask.conftest import Visitor
from webdemo.desk import VirtualDesk


@pytest.fixture
def script(visitor: Visitor) -> Visitor:
    """A script in a page of the origin."""
    visitor.headers["Accept"] = "application/json"
    visitor.headers["Sec-Fetch-Dest"] = "empty"
    return visitor


def send(script: Visitor, pin: str, **more: str):
    """Ask for the card and send a PIN for it."""
    token = script.get("/cps/card").json["token"]
    return script.post("/cps/login", {"token": token, "pin": pin, "next": "/me", **more})


def test_a_script_logs_in(script: Visitor, desk: VirtualDesk) -> None:
    """It learns who is on the card, sends the PIN, and is told where to go."""
    desk.insert("doctor")
    told = script.get("/cps/card")
    assert told.headers["Cache-Control"] == "no-store"
    assert told.json["card"] == {
        "name": "Camille LAVERGNE",
        "profession": "Médecin",
        "attempts_left": 3,
        "needs_confirmation": False,
    }
    answer = send(script, "1234")
    assert (answer.status_code, answer.json) == (200, {"next": "/me"})
    assert script.is_in()


def test_a_wrong_pin_comes_back_with_a_new_token(script: Visitor, desk: VirtualDesk) -> None:
    """And with the reason, in the language of the browser."""
    desk.insert("doctor")
    refused = send(script, "0000")
    assert refused.status_code == 401
    assert refused.json["error"]["code"] == "wrong-pin"
    assert "incorrect" in refused.json["error"]["happened"]
    assert refused.json["card"]["attempts_left"] == 2
    again = {"token": refused.json["token"], "pin": "1234"}
    assert script.post("/cps/login", again).json == {"next": "/"}


def test_without_a_card_there_is_no_token(script: Visitor, desk: VirtualDesk) -> None:
    """The reason says what to do; `presence` changes with the card."""
    empty = script.get("/cps/card").json
    assert (empty["card"], empty["token"], empty["error"]["code"]) == (None, None, "no-card")
    desk.insert("doctor")
    assert script.get("/cps/status").json["presence"] != empty["presence"]


def test_several_cards_are_told_by_reader(script: Visitor, desk: VirtualDesk) -> None:
    """The script lets the person choose."""
    desk.readers.add_reader("Second reader")
    desk.insert("doctor")
    desk.readers.insert("Second reader", desk.card("nurse"))
    choices = script.get("/cps/card").json["choices"]
    assert {choice["name"] for choice in choices} == {"Camille LAVERGNE", "Yann KERMADEC"}
    chosen = script.get("/cps/card?reader=Second+reader").json
    assert chosen["card"]["name"] == "Yann KERMADEC"
    form = {"token": chosen["token"], "pin": "1234", "next": "/me"}
    assert script.post("/cps/login", form).json == {"next": "/me"}


def test_it_is_guarded_as_the_form_is(script: Visitor, desk: VirtualDesk) -> None:
    """Another site reads no card and sends no PIN; the reason of a suspect request is one word."""
    desk.insert("doctor")
    assert script.get("/cps/card", Sec_Fetch_Site="cross-site").status_code == 403
    assert script.get("/cps/card", X_Forwarded_For="192.0.2.1").status_code == 403
    token = script.get("/cps/card").json["token"]
    foreign = script.post("/cps/login", {"token": token, "pin": "1234"}, Origin="https://evil.test")
    assert (foreign.status_code, foreign.json) == (403, {"error": {"code": "refused"}})
    assert not script.is_in()
    assert desk.card("doctor").pin_attempts_left == 3

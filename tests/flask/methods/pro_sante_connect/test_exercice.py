"""A holder of several exercices: asked which one, in both languages, and held to what was named."""

from __future__ import annotations

import re
from typing import Any

import pytest
from flask_login import current_user

from cps_auth.flask import cps_required
from tests.flask.methods.pro_sante_connect.conftest import PscBrowser
from tests.flask.methods.pro_sante_connect.test_bad_input import come_back
from tests.hostile_provider import Hostile

DOCTOR = {
    "codeProfession": "10",
    "codeSavoirFaire": "SM26",
    "activities": [{"raisonSocialeSite": "CABINET LAVERGNE"}],
}
PHARMACIST = {"codeProfession": "21", "activities": [{"raisonSocialeSite": "PHARMACIE <DU> PORT"}]}


def name(hostile: Hostile, *exercices: dict[str, Any]) -> None:
    """Let the provider name these."""
    hostile.userinfo = {"SubjectRefPro": {"exercices": list(exercices)}, "SubjectRole": None}


@pytest.fixture
def both(victim: PscBrowser, hostile: Hostile) -> PscBrowser:
    """A browser that came in as a doctor who is a pharmacist, too."""
    app = victim.visitor.client.application

    @app.get("/ward")
    @cps_required(professions={"10"})
    def ward() -> str:
        return f"{current_user.profession}"

    @app.get("/any")
    @cps_required(exercice=True)
    def anywhere() -> str:
        return f"{current_user.exercice.activities[0].name}"

    @app.get("/nurses")
    @cps_required(professions={"60"})
    def nurses() -> str:
        return "nurses"

    name(hostile, DOCTOR, PHARMACIST)
    assert come_back(victim, hostile).status_code == 303
    return victim


def choose(browser: PscBrowser, page: str, number: str) -> Any:
    """Press one of the page's buttons."""
    text = browser.visitor.open("GET", page).text
    data = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', text))
    return browser.visitor.open("POST", "/cps/psc/exercice", data={**data, "exercice": number})


def test_who_has_several_is_asked_and_led_back(both: PscBrowser) -> None:
    """A view that needs a profession leads to the choice; what was chosen counts."""
    asked = both.visitor.open("GET", "/ward")
    assert (asked.status_code, asked.location) == (303, "/cps/psc/exercice?next=/ward")
    answer = choose(both, asked.location, "0")
    assert (answer.status_code, answer.location) == (303, "/ward")
    assert both.visitor.open("GET", "/ward").text == "Médecin"
    assert both.visitor.open("GET", "/any").text == "CABINET LAVERGNE"
    assert choose(both, "/cps/psc/exercice?next=/any", "1").location == "/any"
    assert both.visitor.open("GET", "/any").text.startswith("PHARMACIE")
    assert both.visitor.open("GET", "/ward").status_code == 403


@pytest.mark.parametrize(
    ("language", "title"), [("fr", "Où exercez-vous"), ("en", "Where do you work now?")]
)
def test_the_page_in_both_languages(both: PscBrowser, language: str, title: str) -> None:
    """Each with its profession and place; texts of the provider are only texts."""
    page = both.visitor.open("GET", f"/cps/psc/exercice?lang={language}").text
    assert title in page
    assert f'<html lang="{language}">' in page
    assert re.search(r"Médecin · SM26 – CABINET LAVERGNE<", page)
    assert "PHARMACIE &lt;DU&gt; PORT<" in page
    assert page.count('name="exercice"') == 2


def test_nobody_is_asked_for_what_no_choice_would_open(both: PscBrowser) -> None:
    """Neither exercice is a nurse's: 403 at once. A program is told 401, not a page."""
    assert both.visitor.open("GET", "/nurses").status_code == 403
    script = {"Sec-Fetch-Dest": "empty", "Accept": "*/*"}
    assert both.visitor.open("GET", "/ward", headers=script).status_code == 401


@pytest.mark.parametrize("number", ["2", "-1", "", "x", "٠", "0" * 500])
def test_only_what_was_named_can_be_chosen(both: PscBrowser, number: str) -> None:
    """A number of another list chooses nothing."""
    assert choose(both, "/cps/psc/exercice", number).status_code == 400
    assert both.visitor.open("GET", "/ward").status_code == 303


def test_a_form_of_another_page_chooses_nothing(both: PscBrowser) -> None:
    """The token is this page's."""
    data = {"exercice": "0", "cps_token": "0" * 64}
    assert both.visitor.open("POST", "/cps/psc/exercice", data=data).status_code == 400
    assert both.visitor.open("GET", "/ward").status_code == 303


def test_a_choice_ends_with_its_session(both: PscBrowser, hostile: Hostile) -> None:
    """The next login is asked again."""
    choose(both, "/cps/psc/exercice", "0")
    assert both.visitor.open("GET", "/ward").status_code == 200
    both.visitor.client.application.test_cli_runner().invoke(args=["cps", "end", "--all"])
    hostile.nonce = ""
    assert come_back(both, hostile).status_code == 303
    assert both.visitor.open("GET", "/ward").status_code == 303


def test_who_has_one_is_not_asked(victim: PscBrowser, hostile: Hostile) -> None:
    """The page leads on at once; it is the one."""
    name(hostile, DOCTOR)
    assert come_back(victim, hostile).status_code == 303
    assert victim.visitor.open("GET", "/cps/psc/exercice?next=/me").location == "/me"
    assert victim.visitor.open("GET", "/doctors").status_code in (200, 403)

"""The demo: its page for developers works as it is written, its records make sense to a doctor."""

from __future__ import annotations

import html
import re
import sys
import tomllib
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, render_template_string
from flask_login import login_required

from cps_auth.cli.main import main
from cps_auth.flask import cps_required
from cps_auth.pki.judge import Judge
from tests.flask.conftest import ORIGIN, Visitor
from webdemo.application import create_app, stop_app
from webdemo.desk import VirtualDesk
from webdemo.practice import PATIENTS, appointments

ROOT = Path(__file__).parents[2]


@pytest.fixture
def page(desk: VirtualDesk, judge: Judge, tmp_path: Path) -> str:
    """The page on integration, as a developer reads it."""
    config = {"CPS_ORIGIN": ORIGIN, "CPS_DATABASE": tmp_path / "demo.sqlite3"}
    app = create_app(config, cards=desk.cards, judge=judge)
    text = Visitor(app.test_client()).get("/integration?lang=en").text
    stop_app(app)
    return text


@pytest.fixture
def blocks(page: str) -> list[str]:
    """Its blocks of code, in their order: install, plug in, protect, close."""
    found = re.findall(r"<pre><code>(.*?)</code></pre>", page, re.DOTALL)
    assert len(found) == 4
    return [html.unescape(block) for block in found]


def test_its_commands_exist(blocks: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The extras are those of pyproject.toml, the command is one of ours."""
    install, update = blocks[0].splitlines()
    extras = re.search(r"\[(.*)\]", install)
    assert extras is not None
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(extras.group(1).split(",")) <= set(known)
    program, *words = update.split()
    assert program == "cps-auth"
    monkeypatch.setattr(sys, "argv", [program, *words, "--help"])
    with pytest.raises(SystemExit) as done:
        main()
    assert not done.value.code


def test_its_code_logs_somebody_in(
    blocks: list[str],
    desk: VirtualDesk,
    judge: Judge,
    visit: Callable[[Flask], Visitor],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Word for word, but for where the card is, whom to trust, and the body of a view."""
    app = Flask("integration")
    monkeypatch.setattr("cps_auth.card.open.open_cards", lambda: desk.cards)
    monkeypatch.setattr("cps_auth.flask.extension.open_judge", lambda *_, **__: judge)
    names: dict[str, Any] = {
        "app": app,
        "find_account": lambda practitioner: practitioner.ps_idnat,
        "login_required": login_required,
        "cps_required": cps_required,
        "timedelta": timedelta,
    }
    app.config["CPS_DATABASE"] = tmp_path / "integration.sqlite3"
    plug = blocks[1].replace("https://cabinet.example", ORIGIN)
    exec(plug, names)  # noqa: S102  (our own page)
    names["shown"] = lambda: render_template_string(blocks[3])
    exec(blocks[2].replace(": …", ": return shown()"), names)  # noqa: S102
    visitor = visit(app)
    desk.insert("doctor")
    form = visitor.form("/cps/login?next=/agenda")
    assert visitor.post("/cps/login", {**form, "pin": "1234"}).location == "/agenda"
    for path in ("/agenda", "/ordonnances"):
        shown = visitor.get(path).text
        assert 'action="/cps/logout"' in shown
        assert 'data-page="session"' in shown
    token = visitor.form("/agenda")
    assert visitor.post("/cps/logout", token).status_code == 303
    assert visitor.get("/agenda").status_code == 302
    app.extensions["cps_login"].methods["local-reader"].stop()


def test_its_settings_are_known(page: str) -> None:
    """No setting is named that the product would refuse as unknown."""
    named = set(re.findall(r"CPS_[A-Z_]+", page))
    reference = (ROOT / "docs").rglob("*.md")
    known = set(re.findall(r"CPS_[A-Z_]+", "".join(path.read_text() for path in reference)))
    assert named >= {"CPS_ORIGIN", "CPS_WEB_EID", "CPS_MTLS_PROXIES", "CPS_PSC"}
    assert named <= known


@pytest.mark.parametrize("patient", PATIENTS.values(), ids=lambda patient: patient.name)
def test_a_record_holds_together(patient: Any) -> None:
    """On any day: nothing from before the birth, visits newest first, no age or season in words."""
    today = date(2026, 12, 1)
    dates = [visit.on(today) for visit in patient.visits]
    assert dates == sorted(dates, reverse=True)
    assert all(patient.born < day < today for day in dates)
    words = " ".join(f"{visit.title} {visit.note}" for visit in patient.visits)
    assert not re.search(r"\bans\b|[Gg]rippe|hiver|été\b", words)
    if patient.systolic and patient.visits[0].title.startswith("Contrôle de la tension"):
        assert patient.visits[0].note.startswith(f"{patient.systolic[-1]}/")
    for treatment in patient.treatments:
        assert not any(word in treatment.drug for word in patient.allergies)


def test_the_day_is_in_order() -> None:
    """The hours rise, nobody is seen after somebody who waits, and no two overlap."""
    day = appointments()
    minutes = [item.at.hour * 60 + item.at.minute for item in day]
    for item, begins, following in zip(day, minutes, minutes[1:], strict=False):
        assert begins + item.minutes <= following, item.patient.name
    states = [item.state for item in day]
    assert states == sorted(states, key=["seen", "waiting", "coming"].index)

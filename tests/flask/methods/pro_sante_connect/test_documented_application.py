"""The fifteen lines of docs/pro-sante-connect.md: the card and the provider, side by side."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from cps_auth.flask.state import LoginState
from hardware_mocks.pro_sante_connect.stand_in import StandIn
from tests.flask.methods.pro_sante_connect.conftest import LOCAL, PscBrowser
from webdemo.desk import VirtualDesk

DOCUMENT = Path(__file__).parents[4] / "docs" / "pro-sante-connect.md"


@dataclass
class OnThisMachine:
    """The browser of the practice's PC, as `PscBrowser` drives one."""

    visitor: Any

    def open(self, method: str, path: str, **more: Any) -> TestResponse:
        """Open a page, or send a form."""
        headers = {name.replace("-", "_"): value for name, value in more.get("headers", {}).items()}
        if method == "GET":
            answer: TestResponse = self.visitor.get(path, **headers)
            return answer
        sent: TestResponse = self.visitor.post(path, more["data"], **headers)
        return sent


@pytest.fixture(params=["sqlite", "redis"])
def application(
    request: pytest.FixtureRequest,
    psc: StandIn,
    desk: VirtualDesk,
    igc_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Any:
    """The block as it is written, with a virtual reader, on both stores."""
    (block,) = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text(), re.DOTALL | re.MULTILINE)
    assert len([line for line in block.splitlines() if line and line[0] != "#"]) <= 15
    settings = {
        "SECRET_KEY": "a key for tests",
        "CPS_ORIGIN": LOCAL,
        "CPS_TRUST": str(igc_dir),
        "CPS_DATABASE": str(tmp_path / "sessions.sqlite3"),
        **psc.settings(),
    }
    if request.param == "redis":
        settings["CPS_STORE"] = request.getfixturevalue("redis_server").url
    for name, value in settings.items():
        monkeypatch.setenv(f"FLASK_{name}", str(value))
    monkeypatch.setattr("cps_auth.card.open.open_cards", lambda: desk.cards)
    names: dict[str, Any] = {"__name__": "practice_psc"}
    exec(compile(block, str(DOCUMENT), "exec"), names)  # noqa: S102 (our own document)
    yield names["app"]
    for method in names["app"].extensions["cps_login"].methods.values():
        method.stop()


def test_both_ways_lead_to_the_same_doctor(
    application: Flask, desk: VirtualDesk, visit: Any
) -> None:
    """By the card in the reader, and by the provider in another browser: both sessions live."""
    desk.insert("doctor")
    by_card = visit(application)
    assert by_card.log_in().status_code == 303
    by_provider = PscBrowser(OnThisMachine(visit(application)))
    assert by_provider.log_in().status_code == 303
    assert "Camille LAVERGNE</h1> local-reader" in by_card.get("/").text
    assert "Camille LAVERGNE</h1> pro-sante-connect" in by_provider.visitor.open("GET", "/").text
    state: LoginState = application.extensions["cps_login"]
    rows = state.stores.sessions.live(at=state.clock())
    assert len({row.holder.practitioner.ps_idnat for row in rows}) == 1
    assert len(rows) == 2


def test_pulling_the_card_ends_the_cards_session_alone(
    application: Flask, desk: VirtualDesk, visit: Any, until: Any
) -> None:
    """The other one was not opened by a card here."""
    desk.insert("doctor")
    by_card = visit(application)
    by_card.log_in()
    by_provider = PscBrowser(OnThisMachine(visit(application)))
    by_provider.log_in()
    desk.pull()
    until(lambda: by_card.get("/").status_code != 200)
    assert by_provider.visitor.open("GET", "/").status_code == 200

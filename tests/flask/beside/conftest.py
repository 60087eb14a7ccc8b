"""The clinic's application in both orders, and a browser that knows its password form."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cachelib import FileSystemCache
from flask import Flask
from werkzeug.test import TestResponse

from cps_auth.pki.judge import Judge
from tests.flask.beside.clinic import create_app, db
from tests.flask.conftest import ORIGIN, Visitor
from webdemo.desk import VirtualDesk


def clinic_config(folder: Path, **more: Any) -> dict[str, Any]:
    """Return the settings of the application."""
    return {
        "TESTING": True,
        "SECRET_KEY": "a key for tests",
        "SQLALCHEMY_DATABASE_URI": f"sqlite:///{folder}/clinic.sqlite3",
        "SESSION_TYPE": "cachelib",
        "SESSION_CACHELIB": FileSystemCache(str(folder / "sessions")),
        "CPS_ORIGIN": ORIGIN,
        "CPS_DATABASE": str(folder / "cps.sqlite3"),
        "CPS_AFTER_LOGIN": "/ward/",
        **more,
    }


@dataclass
class Colleague(Visitor):
    """A browser on the practice's own PC, of somebody with a password, too."""

    def by_password(self, name: str = "lavergne", **more: str) -> TestResponse:
        """Log in by password."""
        page = self.get("/password").text
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found is not None
        data = {"name": name, "password": name * 2, "csrf_token": found[1], **more}
        return self.post("/password", data)

    def by_card(self, path: str = "/cps/login", pin: str = "1234", **more: str) -> TestResponse:
        """Open a page of the login and send the PIN with its form."""
        page = self.get(path).text
        action = re.search(r'<form class="cps-form" method="post" action="([^"]+)"', page)
        assert action is not None, page
        hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
        return self.post(action[1].replace("&amp;", "&"), {**hidden, "pin": pin, **more})

    def home(self) -> str:
        """Return whom the application greets."""
        answer = self.get("/ward/")
        return answer.text if answer.status_code == 200 else f"-> {answer.location}"


@pytest.fixture(params=[True, False], ids=["card-first", "card-last"])
def clinic(
    request: pytest.FixtureRequest, desk: VirtualDesk, judge: Judge, clock: Any, tmp_path: Path
) -> Iterator[Flask]:
    """The application, with its extensions made in either order."""
    parts = {"cards": desk.cards, "judge": judge, "clock": clock}
    app = create_app(clinic_config(tmp_path), request.param, **parts)
    yield app
    app.extensions["clinic"].stop(app)
    with app.app_context():
        db.engine.dispose()  # SQLAlchemy keeps its connections


@pytest.fixture
def colleague(clinic: Flask) -> Colleague:
    """A browser."""
    return Colleague(clinic.test_client())


@pytest.fixture
def another(clinic: Flask) -> Callable[[], Colleague]:
    """Gives a further browser."""
    return lambda: Colleague(clinic.test_client())

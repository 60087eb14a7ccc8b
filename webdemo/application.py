"""The practice application: a Flask factory whose login is `CpsLogin`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING, Any

from flask import Flask, abort, render_template
from flask_login import login_required

from cps_auth.card.port import CardSource
from cps_auth.errors import RequestMalformed
from cps_auth.flask import (
    CpsLogin,
    cps_required,
    current_language,
    error_pages,
    holder_logged_in,
    protect,
)
from cps_auth.model import VerifiedHolder
from cps_auth.pki.judge import Judge
from webdemo.accounts import load_account
from webdemo.computer_lock import ComputerLock
from webdemo.practice import PATIENTS, Patient, appointments, long_date, short_date

if TYPE_CHECKING:  # the mocks need not be installed where real cards are used
    from webdemo.desk import VirtualDesk

NAME = "Cabinet des Tilleuls"
DOCTOR, NURSE = "10", "60"  # ANS table G15


def create_app(
    test_config: Mapping[str, Any] | None = None,
    *,
    cards: CardSource,
    judge: Judge,
    mock_panel: VirtualDesk | None = None,
) -> Flask:
    """Make the application.

    Args:
        test_config: settings; CPS_ORIGIN has no default.
        cards: where the practitioner's card is.
        judge: whom to trust.
        mock_panel: the virtual desk to play with, None for real readers.

    Raises:
        ConfigurationError: as `CpsLogin.init_app`.
    """
    app = Flask("webdemo")
    app.config.from_mapping(
        SECRET_KEY=secrets.token_bytes(32),  # sessions end with the program anyway
        SESSION_COOKIE_NAME="tilleuls",
        CPS_TITLE=NAME,
    )
    app.config.from_mapping(test_config or {})
    login = CpsLogin(app, cards=cards, judge=judge, load_account=load_account)
    lock = ComputerLock(cards)
    app.extensions["webdemo"] = (login, lock)
    _bind_lock(app, lock)
    _add_views(app)
    app.register_blueprint(error_pages())
    app.context_processor(_context)
    app.after_request(protect)
    app.register_error_handler(RequestMalformed, lambda _: ("Forbidden", 403))
    if mock_panel is not None:
        from webdemo.mock_panel import add_mock_panel

        add_mock_panel(app, mock_panel, lock)
    return app


def stop_app(app: Flask) -> None:
    """Stop the application's watchers."""
    login, lock = app.extensions["webdemo"]
    login.stop(app)
    lock.stop()


def _bind_lock(app: Flask, lock: ComputerLock) -> None:
    def bind(_: Flask, holder: VerifiedHolder, reader: str | None) -> None:
        if reader is not None:
            lock.bind(holder, reader)

    holder_logged_in.connect(bind, app, weak=False)


def _add_views(app: Flask) -> None:
    @app.get("/")
    @login_required
    def agenda() -> str:
        return render_template("agenda.html", appointments=appointments())

    @app.get("/patients")
    @login_required
    def patients() -> str:
        return render_template("patients.html", patients=PATIENTS.values())

    @app.get("/patients/<int:number>")
    @login_required
    def patient(number: int) -> str:
        return render_template("patient.html", patient=_patient(number))

    @app.get("/patients/<int:number>/consultations")
    @cps_required(professions={DOCTOR, NURSE})
    def consultations(number: int) -> str:
        return render_template("consultations.html", patient=_patient(number))

    @app.get("/integration")
    def integration() -> str:
        return render_template("integration.html")


def _patient(number: int) -> Patient:
    if number not in PATIENTS:
        abort(404)
    return PATIENTS[number]


def _context() -> dict[str, Any]:
    language = current_language()
    is_french = language == "fr"
    return {
        "language": language,
        "practice": NAME,
        "t": lambda fr, en: fr if is_french else en,
        "today": date.today(),  # noqa: DTZ011 (the practice's own wall calendar)
        "long_date": lambda day: long_date(day, language),
        "short_date": lambda day: short_date(day, language),
    }

"""The panel that plays the hands: insert, pull and swap cards, stop the reader service.

A blueprint that exists only when the program passes a `VirtualDesk`.
"""

from __future__ import annotations

from flask import Blueprint, Flask, abort, render_template, request
from flask.typing import ResponseReturnValue

from cps_auth.flask import check_form_token
from cps_auth.flask.sessions.browser import TOKEN_FIELD
from hardware_mocks.personas import PERSONAS, CertificateDefect, Persona
from webdemo.computer_lock import ComputerLock
from webdemo.desk import VirtualDesk

PURPOSE = "mock-panel"

_REMARKS = {
    CertificateDefect.EXPIRED: ("carte périmée", "expired card"),
    CertificateDefect.REVOKED: ("en opposition", "revoked"),
    CertificateDefect.UNKNOWN_ROOT: ("autorité inconnue", "unknown authority"),
    CertificateDefect.TEST_CATEGORY: ("carte de test", "test card"),
    CertificateDefect.SIGNATURE_ONLY: ("sans authentification", "signature only"),
}


def add_mock_panel(app: Flask, desk: VirtualDesk, lock: ComputerLock) -> None:
    """Give the application's pages the panel."""
    blueprint = Blueprint("mock", __name__)

    @blueprint.get("/panel")
    def panel() -> str:
        return render_template("mock_panel.html")

    @blueprint.post("/<action>")
    def act(action: str) -> ResponseReturnValue:
        check_form_token(request.form.get(TOKEN_FIELD), PURPOSE)
        _act(desk, action)
        return render_template("mock_panel.html")

    def context() -> dict[str, object]:
        return {"desk": desk, "lock": lock, "personas": PERSONAS, "remark": remark}

    app.register_blueprint(blueprint, url_prefix="/mock")
    app.context_processor(context)


def remark(persona: Persona) -> tuple[str, str]:
    """Return what is particular about a persona's card, in French and English."""
    if persona.defect in _REMARKS:
        return _REMARKS[persona.defect]
    if persona.pin_attempts_left == 0:
        return ("code bloqué", "PIN blocked")
    if persona.pin_attempts_left == 1:
        return ("dernier essai", "last attempt")
    return (persona.title or "", persona.title or "")


def _act(desk: VirtualDesk, action: str) -> None:
    match action, request.form.get("persona"):
        case "insert", str(persona) if persona in PERSONAS:
            desk.insert(persona)
        case "pull", _:
            desk.pull()
        case "stop", _:
            desk.stop_service()
        case "start", _:
            desk.start_service()
        case "renew", _:
            desk.renew_cards()
        case _:
            abort(404)

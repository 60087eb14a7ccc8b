"""The application of docs/flask.md with a virtual reader beside it, for every WSGI server."""

import os
from pathlib import Path

from flask import Flask
from flask_login import current_user, login_required

from cps_auth.flask import CpsLogin
from cps_auth.pki.judge import folder_judge
from hardware_mocks.igc.fake_igc import FakeIgcSante
from webdemo.desk import VirtualDesk

_PKI = Path(os.environ["PRACTICE_PKI"])
desk = VirtualDesk(FakeIgcSante.load(_PKI))
desk.insert("doctor")

app = Flask(__name__)
app.config.from_prefixed_env()  # FLASK_SECRET_KEY, FLASK_CPS_ORIGIN, …
CpsLogin(app, cards=desk.cards, judge=folder_judge(_PKI))


@app.get("/")
@login_required
def home() -> str:
    """Greet the doctor."""
    return f"Bonjour {current_user.display_name}"


@app.get("/open")
def open_to_all() -> str:
    """Need no login and no store."""
    return "open"

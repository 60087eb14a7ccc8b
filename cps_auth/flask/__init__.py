"""The Flask login backend: `CpsLogin(app, cards=…, judge=…)`, on Flask-Login.

Start reading at `extension`; a login with the card in this machine's reader is `local_reader`.
"""

from cps_auth.flask.extension import CpsLogin
from cps_auth.flask.guards.csrf import check_form_token
from cps_auth.flask.guards.headers import protect
from cps_auth.flask.pages.language import current_language
from cps_auth.flask.required import cps_required
from cps_auth.flask.sessions.model import EndReason, SessionRow, WayIn
from cps_auth.flask.signals import holder_logged_in, login_refused, session_ended
from cps_auth.flask.user import CpsUser

__all__ = [
    "CpsLogin",
    "CpsUser",
    "EndReason",
    "SessionRow",
    "WayIn",
    "check_form_token",
    "cps_required",
    "current_language",
    "holder_logged_in",
    "login_refused",
    "protect",
    "session_ended",
]

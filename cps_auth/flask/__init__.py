"""The Flask login backend: `CpsLogin(app, cards=…, judge=…)`, on Flask-Login.

Start reading at `extension`; a login method is one `LoginMethod`, such as `methods.local_reader`.
"""

from cps_auth.flask.extension import CpsLogin
from cps_auth.flask.guards.headers import protect
from cps_auth.flask.methods.method import LoginMethod
from cps_auth.flask.pages.error_pages import error_pages
from cps_auth.flask.pages.refuse import refuse_login
from cps_auth.flask.required import cps_required
from cps_auth.flask.sessions.browser import check_form_token, current_language
from cps_auth.flask.sessions.model import EndReason, NewSession, SessionRow
from cps_auth.flask.sessions.start import let_in
from cps_auth.flask.signals import card_linked, holder_logged_in, login_refused, session_ended
from cps_auth.flask.user import CpsUser, cps_user

__all__ = [
    "CpsLogin",
    "CpsUser",
    "EndReason",
    "LoginMethod",
    "NewSession",
    "SessionRow",
    "card_linked",
    "check_form_token",
    "cps_required",
    "cps_user",
    "current_language",
    "error_pages",
    "holder_logged_in",
    "let_in",
    "login_refused",
    "protect",
    "refuse_login",
    "session_ended",
]

"""Answers a refusal: a page, or a word for a script, with no more than the person may know."""

from __future__ import annotations

from flask import request, url_for
from flask.typing import ResponseReturnValue

from cps_auth.errors import CpsAuthError, StoreUnavailable, TooManyRequests
from cps_auth.flask import audit
from cps_auth.flask.guards.requests import opens_a_page
from cps_auth.flask.http_errors import http_status, may_be_explained
from cps_auth.flask.methods.method import LoginMethod
from cps_auth.flask.pages.render import render_page
from cps_auth.flask.sessions.browser import current_language
from cps_auth.flask.sessions.start import note_refusal
from cps_auth.flask.state import current_state
from cps_auth.flask.user import have_nobody
from cps_auth.wording import Explanation, explain

REFUSED_REMOTELY = 403
"""One status, as there is one message: a stranger learns nothing of certificates or accounts."""


def refused(error: CpsAuthError) -> ResponseReturnValue:
    """Write and answer a request that was refused before any login was tried."""
    audit.refused(error, None)
    return answer_refusal(error)


def answer_unavailable(error: StoreUnavailable) -> ResponseReturnValue:
    """Answer a page, ours or the application's, that needs a store which does not answer."""
    if opens_a_page(request):
        return answer_refusal(error)
    return {"error": error.code}, http_status(error), _headers(error)


def answer_refusal(error: CpsAuthError) -> ResponseReturnValue:
    """Answer a refusal: with the one public message, unless it may be explained."""
    if isinstance(error, StoreUnavailable):
        have_nobody()
    explanation = explain(error, current_language()) if may_be_explained(error) else None
    return _page(explanation), http_status(error), _headers(error)


def refuse_login(method: LoginMethod, error: CpsAuthError) -> ResponseReturnValue:
    """Write and answer a login that a method refused, telling as much as the method may."""
    note_refusal(current_state(), error, method.name)
    return answer_refusal(error) if method.may_explain(error) else answer_remotely(error)


def answer_remotely(error: CpsAuthError) -> ResponseReturnValue:
    """Answer a refused login from elsewhere: the same page whatever the reason was."""
    if isinstance(error, StoreUnavailable):
        have_nobody()
    return _page(None), remote_status(error), _headers(error)


def _page(explanation: Explanation | None) -> str:
    login = current_state().settings.origin + url_for("cps.login")  # this may be another host
    return render_page("refused.html", explanation=explanation, login=login)


def answer_script(error: CpsAuthError) -> ResponseReturnValue:
    """Answer a refused login from elsewhere to a script: the same word whatever the reason."""
    return {"refused": True}, remote_status(error), _headers(error)


def remote_status(error: CpsAuthError) -> int:
    """Return the status of a refused login from elsewhere; asking later may help, or not."""
    later = isinstance(error, (TooManyRequests, StoreUnavailable))
    return http_status(error) if later else REFUSED_REMOTELY


def _headers(error: CpsAuthError) -> dict[str, str]:
    headers = {"Cache-Control": "no-store"}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(round(error.retry_after_s))
    elif isinstance(error, StoreUnavailable):
        headers["Retry-After"] = "2"
    return headers

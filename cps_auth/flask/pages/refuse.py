"""Answers a refusal: a page, or a word for a script, with no more than the person may know."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from flask import request, url_for
from flask.typing import ResponseReturnValue

from cps_auth.errors import CpsAuthError, PeerNotAllowed, StoreUnavailable, TooManyRequests
from cps_auth.flask import audit
from cps_auth.flask.guards.addresses import is_loopback
from cps_auth.flask.guards.requests import opens_a_page
from cps_auth.flask.http_errors import http_status, may_be_explained
from cps_auth.flask.methods.method import LoginMethod
from cps_auth.flask.pages.redirects import after_login, asked_or_after_login
from cps_auth.flask.pages.render import render_page
from cps_auth.flask.sessions.browser import current_language
from cps_auth.flask.sessions.start import note_refusal
from cps_auth.flask.state import current_state
from cps_auth.flask.user import have_nobody
from cps_auth.wording import Explanation, explain, translations

REFUSED_REMOTELY = 403
"""One status, as there is one message: a stranger learns nothing of certificates or accounts."""


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_CALL = _("Contact the person who looks after this application.")
_ADVICE: Mapping[str, tuple[str, str]] = {
    "host": (
        _("This application has another address on this computer."),
        _("Use the button below: it leads to the right one."),
    ),
    "peer-not-loopback": (
        _("Cards are read on the computer that runs this application, and on no other."),
        _CALL,
    ),
    "came-through-a-proxy": (
        _("This application was reached through a proxy, so the card beside it cannot be used."),
        _CALL,
    ),
    "several-processes": (
        _("This application is not set up to use the card reader of this computer."),
        _CALL,
    ),
}
"""By the reason of a PeerNotAllowed: what is wrong, and what to do."""


def refused(error: CpsAuthError) -> ResponseReturnValue:
    """Write and answer a request that was refused before any login was tried."""
    audit.refused(error, None)
    return answer_refusal(error)


def answer_unavailable(error: StoreUnavailable) -> ResponseReturnValue:
    """Answer a page, ours or the application's, that needs a store which does not answer."""
    if opens_a_page(request):
        return answer_refusal(error)
    return {"error": error.code}, http_status(error), _headers(error)


def answer_refusal(error: CpsAuthError, words: Explanation | None = None) -> ResponseReturnValue:
    """Answer a refusal: with the one public message, unless it may be explained.

    Args:
        error: the reason.
        words: to explain it with, where they are more than the error's own.
    """
    if isinstance(error, StoreUnavailable):
        have_nobody()
    is_told = may_be_explained(error)
    known = explain(error, current_language()) if is_told else _advice(error)
    return _page(words or known), http_status(error), _headers(error)


def _advice(error: CpsAuthError) -> Explanation | None:
    """Return what helps a person who opened the right page the wrong way; None for a forgery."""
    if request.method != "GET" or not isinstance(error, PeerNotAllowed):
        return None
    if error.reason == "host" and not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
        return None  # a name of somebody else's for this machine: DNS rebinding
    words = _ADVICE.get(error.reason)
    if words is None:
        return None
    gettext = translations(current_language()).gettext
    return Explanation(*(gettext(text) for text in words))


def answer_program() -> ResponseReturnValue:
    """Answer 401 to what no person opened: in JSON, and with the header that HTMX follows."""
    headers = {"Cache-Control": "no-store"}
    current = urlsplit(request.headers.get("HX-Current-URL", "")).path
    login = url_for("cps.login", next=asked_or_after_login(current))
    if "HX-Request" in request.headers:
        headers["HX-Redirect"] = login
    return {"error": "login-required", "login": login}, 401, headers


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
    return render_page("refused.html", explanation=explanation, login=login, back=after_login())


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

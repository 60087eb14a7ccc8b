"""Error pages in the login's own style, for applications that have none: an optional blueprint."""

from __future__ import annotations

from collections.abc import Mapping

from flask import Blueprint, request
from flask.typing import ResponseReturnValue
from werkzeug.exceptions import HTTPException

from cps_auth.flask.guards.requests import opens_a_page
from cps_auth.flask.pages.redirects import after_login
from cps_auth.flask.pages.render import render_page
from cps_auth.flask.sessions.browser import current_language
from cps_auth.wording import Explanation, translations


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_WORDS: Mapping[int, tuple[str, str]] = {
    403: (
        _("This page is not for you"),
        _("Contact the person who looks after this application."),
    ),
    404: (
        _("There is no page at this address"),
        _("Check the address, or start from the home page."),
    ),
    500: (
        _("Something went wrong in this application"),
        _("Try again in a minute; if it lasts, call the person who looks after this application."),
    ),
}
"""By status: what happened, what to do."""


def error_pages() -> Blueprint:
    """Make a blueprint that answers 403, 404 and 500 of the whole application.

    It is registered beside `CpsLogin`: `app.register_blueprint(error_pages())`. A person gets a
    page in their language, a program `{"error": …}`.
    """
    blueprint = Blueprint("cps_errors", __name__)
    for status in _WORDS:
        blueprint.app_errorhandler(status)(_answer)
    return blueprint


def _answer(error: HTTPException) -> ResponseReturnValue:
    status = error.code or 500
    if not opens_a_page(request):
        return {"error": error.name.lower().replace(" ", "-")}, status
    gettext = translations(current_language()).gettext
    words = Explanation(*(gettext(text) for text in _WORDS[status]))
    page = render_page("error.html", status=status, explanation=words, home=after_login())
    return page, status

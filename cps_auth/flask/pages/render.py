"""Renders the login's own pages, and what the application's pages take from it."""

from __future__ import annotations

from typing import Any

from flask import render_template, session, url_for
from markupsafe import Markup

from cps_auth.flask.pages.redirects import this_page
from cps_auth.flask.sessions.browser import TOKEN_FIELD, current_language, form_token
from cps_auth.flask.sessions.purpose import asked_purpose, purpose_text, same_purpose
from cps_auth.flask.state import current_state
from cps_auth.flask.user import cps_user
from cps_auth.wording import LANGUAGES, translations

LOGOUT = "logout"
"""Purpose of the logout form's token."""

SAID = "cps_said"
"""In the browser's session: what the next page of ours has to say first."""


def render_page(template: str, **context: Any) -> str:
    """Render one of `templates/cps`, in the language of the request.

    Args:
        template: file name inside `cps/`; the application may have its own of that name.
        context: what the page shows.
    """
    language, purpose = current_language(), asked_purpose()
    tr = translations(language)
    return render_template(
        f"cps/{template}",
        _=tr.gettext,
        ngettext=tr.ngettext,
        language=language,
        languages=LANGUAGES,
        title=current_state().settings.title,
        form_token=form_token,
        purpose=purpose.value,
        purpose_text=purpose_text(purpose),
        same_purpose=same_purpose(),
        said=session.pop(SAID, None),
        **context,
    )


def page_context() -> dict[str, Any]:
    """Return what every template of the application may use."""
    return {"cps_watch": watch_script, "cps_token": token_field, "cps_logout_token": logout_token}


def watch_script() -> Markup:
    """Return the script tags that make an open page notice the end of the card's session.

    Nothing for a page that was served without one, such as to a user logged in by password.
    """
    user = cps_user()
    if user is None:
        return Markup("")
    tr = translations(current_language())
    return current_state().methods[user.method].watch_script(user.session) + Markup(
        '<script src="{src}" defer data-page="session" data-status="{status}"'
        ' data-closed="{closed}" data-unknown="{unknown}"></script>'
    ).format(
        src=url_for("cps.static", filename="cps.js"),
        status=url_for("cps.status"),
        closed=url_for("cps.closed", next=this_page()),
        unknown=tr.gettext("The connection was lost. This page is hidden until it is back."),
    )


def token_field(purpose: str) -> Markup:
    """Return a hidden field with the token of a form; `csrf.check_form_token` checks it.

    Args:
        purpose: which form.
    """
    return Markup('<input type="hidden" name="{name}" value="{value}">').format(
        name=TOKEN_FIELD, value=form_token(purpose)
    )


def logout_token() -> Markup:
    """Return the hidden field that the logout form needs."""
    return token_field(LOGOUT)

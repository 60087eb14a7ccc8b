"""The page that asks a holder of several exercices in which one they work now."""

from __future__ import annotations

from flask import redirect, request
from flask.typing import ResponseReturnValue
from flask_login import login_required

from cps_auth.flask.guards.requests import check_own_page
from cps_auth.flask.pages.redirects import asked_or_after_login
from cps_auth.flask.pages.render import render_page
from cps_auth.flask.sessions.browser import TOKEN_FIELD, check_form_token
from cps_auth.flask.sessions.exercice import choose_exercice, chosen_exercice
from cps_auth.flask.state import current_state
from cps_auth.flask.user import cps_user

PAGE = "exercice"
"""Purpose of the page's form token."""


@login_required
def exercice() -> ResponseReturnValue:
    """Show the choice, or take it and lead on; nothing to choose leads on at once."""
    user = cps_user()
    next_page = asked_or_after_login(request.values.get("next"))
    if user is None or len(user.exercices) < 2:
        return redirect(next_page, code=303)
    if request.method == "POST":
        check_own_page(request.environ, current_state().settings)
        check_form_token(request.form.get(TOKEN_FIELD), PAGE)
        choose_exercice(user.session, request.form.get("exercice"))
        return redirect(next_page, code=303)
    return render_page(
        "exercice.html",
        exercices=user.exercices,
        chosen=chosen_exercice(user.session),
        holder=user.display_name,
        next=next_page,
    )

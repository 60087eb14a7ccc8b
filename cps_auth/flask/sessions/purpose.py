"""The purpose of a login: to log in, to confirm a login made otherwise, or to link a card to it."""

from __future__ import annotations

import enum
import hashlib
from typing import Any

from flask import request

from cps_auth.errors import RequestMalformed
from cps_auth.flask.sessions.browser import other_login

TEXT_FIELD = "for"
"""Query or form field with a purpose's text, where a method's own store does not carry it."""


class Purpose(enum.Enum):
    """The purposes of a proof of card and PIN."""

    LOGIN = "login"
    CONFIRM = "confirm"  # a card session on top of the application's own login
    LINK = "link"  # "Associer ma carte": the card will open the account that is logged in


def asked_purpose() -> Purpose:
    """Return what the login page is asked for: by the query."""
    if other_login() is None:
        return Purpose.LOGIN
    if request.args.get("link") == "1":
        return Purpose.LINK
    is_on_top = any(request.args.get(name) == "1" for name in ("confirm", "again", "card"))
    return Purpose.CONFIRM if is_on_top else Purpose.LOGIN


def same_purpose() -> dict[str, Any]:
    """Return the part of the query that leads to this login page again, for the same purpose."""
    return {
        name: "1" for name in ("link", "confirm", "again", "card") if request.args.get(name) == "1"
    }


def purpose_text(purpose: Purpose) -> str:
    """Return a purpose as text for a form, bound to whom it would change something for."""
    other = other_login()
    if purpose is Purpose.LOGIN or other is None:
        return Purpose.LOGIN.value
    return f"{purpose.value}-{hashlib.sha256(other.encode()).hexdigest()[:32]}"


def purpose_of(unverified_text: str) -> Purpose:
    """Return the purpose of a text that came back.

    Raises:
        RequestMalformed: none of ours, or somebody else is logged in now.
    """
    for purpose in Purpose:
        if unverified_text == purpose_text(purpose) and unverified_text.startswith(purpose.value):
            return purpose
    raise RequestMalformed("purpose")

"""Tokens for forms that need no memory of their own: logout, and the application's own.

Derived from a secret that only the browser's cookie carries, for one purpose each. The login
form has a stronger one: `stores`, single use.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from flask import session

from cps_auth.errors import ChallengeUnknown, RequestMalformed

TOKEN_FIELD = "cps_token"  # noqa: S105 (the name of a form field)
_BROWSER_ID = "cps_browser"
_USER_ID = "_user_id"  # Flask-Login's key


def browser_id() -> str:
    """Return the identifier that binds forms to this browser before any login; make it once."""
    known = session.get(_BROWSER_ID)
    if isinstance(known, str):
        return known
    fresh = secrets.token_urlsafe(32)
    session[_BROWSER_ID] = fresh
    return fresh


def known_browser_id() -> str:
    """Return the identifier that was given to this browser.

    Raises:
        ChallengeUnknown: none was, or the browser lost it.
    """
    known = session.get(_BROWSER_ID)
    if not isinstance(known, str):
        raise ChallengeUnknown("no-browser-session")
    return known


def session_id() -> str | None:
    """Return the session identifier that the browser's cookie carries, live or not."""
    value = session.get(_USER_ID)
    return value if isinstance(value, str) else None


def form_token(purpose: str) -> str:
    """Return the token of a form, good as long as the session (or, before it, the browser).

    Args:
        purpose: which form; a token for one is none for another.
    """
    secret = session_id() or browser_id()
    return hmac.new(secret.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def check_form_token(unverified_token: str | None, purpose: str) -> None:
    """Check the token that came with a form.

    Raises:
        RequestMalformed: absent, of another session, or for another purpose.
    """
    expected = form_token(purpose)
    sent = (unverified_token or "").encode("utf-8", "surrogatepass")
    if not hmac.compare_digest(sent, expected.encode()):
        raise RequestMalformed("form-token")

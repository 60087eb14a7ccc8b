"""The browser's own session: what its cookie carries of the login, and form tokens made of it.

Derived from a secret that only the cookie carries, a form token needs no store. The login form
has a stronger one: `stores`, single use.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from flask import current_app, request, session

from cps_auth.errors import ChallengeUnknown, RequestMalformed
from cps_auth.flask.state import current_state
from cps_auth.wording import LANGUAGES

TOKEN_FIELD = "cps_token"  # noqa: S105 (the name of a form field)
BROWSER_ID = "cps_browser"
_LANGUAGE = "cps_language"
_USER_ID = "_user_id"  # Flask-Login's key
_REMEMBER = "_remember"  # Flask-Login's word to its own cookie
_SESSION_ID = "cps_session"
_ON_TOP_OF = "cps_on_top_of"

ID_PREFIX = "cps:"
"""Begins the identifiers that Flask-Login gets of us; no application's may begin so."""


def browser_id() -> str:
    """Return the identifier that binds forms to this browser before any login; make it once."""
    known = session.get(BROWSER_ID)
    if isinstance(known, str):
        return known
    fresh = secrets.token_urlsafe(32)
    session[BROWSER_ID] = fresh
    return fresh


def known_browser_id() -> str:
    """Return the identifier that was given to this browser.

    Raises:
        ChallengeUnknown: none was, or the browser lost it.
    """
    known = session.get(BROWSER_ID)
    if not isinstance(known, str):
        raise ChallengeUnknown("no-browser-session")
    return known


def session_id() -> str | None:
    """Return the identifier of the card's session in the browser's cookie, live or not.

    It is the person's login, or stands on top of one that the application made.
    """
    known = session.get(_SESSION_ID)
    if not isinstance(known, str):
        return None
    user_id = session.get(_USER_ID)
    return known if user_id in (ID_PREFIX + known, session.get(_ON_TOP_OF)) else None


def session_id_in(user_id: object) -> str | None:
    """Return our session identifier in one of Flask-Login's; None where it is not ours."""
    if isinstance(user_id, str) and user_id.startswith(ID_PREFIX):
        return user_id.removeprefix(ID_PREFIX)
    return None


def other_login() -> str | None:
    """Return the identifier of whom the application logged in by its own means, None for none."""
    user_id = session.get(_USER_ID)
    return None if user_id is None or session_id_in(user_id) is not None else str(user_id)


def keep_login(opened: str) -> None:
    """Make a card's session the login of this browser."""
    session[_USER_ID] = ID_PREFIX + opened
    session[_SESSION_ID] = opened
    session[_REMEMBER] = "clear"  # what a password may be remembered for, a card is not


def keep_on_top(opened: str) -> None:
    """Put a card's session on top of the login that this browser has."""
    session[_SESSION_ID] = opened
    session[_ON_TOP_OF] = session.get(_USER_ID)


def forget_card() -> str | None:
    """Take the card's session out of the cookie and return its identifier."""
    known = session.pop(_SESSION_ID, None)
    session.pop(_ON_TOP_OF, None)
    if session_id_in(session.get(_USER_ID)) is not None:
        session.pop(_USER_ID)
    return known if isinstance(known, str) else None


def current_language() -> str:
    """Return "fr" or "en": `?lang=`, this browser's last choice, Flask-Babel's, Accept-Language."""
    asked = request.args.get("lang")
    if asked in LANGUAGES:
        if session.get(_LANGUAGE) != asked:
            session[_LANGUAGE] = asked
        return asked
    kept = session.get(_LANGUAGE)
    if kept in LANGUAGES:
        return str(kept)
    if "babel" in current_app.extensions:
        from flask_babel import get_locale

        locale = get_locale()
        if locale is not None and locale.language in LANGUAGES:
            return str(locale.language)
    best = request.accept_languages.best_match(LANGUAGES)
    return best or current_state().settings.language


def empty_session() -> None:
    """Empty the browser's session, but for its language; its identifier is renewed."""
    language = session.get(_LANGUAGE)
    regenerate = getattr(current_state().app.session_interface, "regenerate", None)
    if regenerate is not None:
        regenerate(session)  # Flask-Session: before clear(), it does nothing to an empty one
    session.clear()
    if language is not None:
        session[_LANGUAGE] = language


def form_token(purpose: str) -> str:
    """Return the token of a form, good as long as the session (or, before it, the browser).

    Args:
        purpose: which form; a token for one is none for another.
    """
    secret = session_id_in(session.get(_USER_ID)) or browser_id()
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

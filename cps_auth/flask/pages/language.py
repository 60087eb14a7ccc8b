"""The language of a page: asked for, remembered, or what the browser prefers."""

from __future__ import annotations

from flask import request, session

from cps_auth.flask.state import current_state
from cps_auth.wording import LANGUAGES

LANGUAGE_KEY = "cps_language"


def current_language() -> str:
    """Return "fr" or "en": `?lang=`, then this browser's last choice, then Accept-Language."""
    asked = request.args.get("lang")
    if asked in LANGUAGES:
        if session.get(LANGUAGE_KEY) != asked:
            session[LANGUAGE_KEY] = asked
        return asked
    kept = session.get(LANGUAGE_KEY)
    if kept in LANGUAGES:
        return str(kept)
    best = request.accept_languages.best_match(LANGUAGES)
    return best or current_state().settings.language

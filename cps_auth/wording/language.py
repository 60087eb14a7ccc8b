"""The language in which somebody is spoken to."""

from __future__ import annotations

import re
from collections.abc import Mapping

from cps_auth.wording import LANGUAGES


def language_of(environment: Mapping[str, str]) -> str:
    """Return the language that an environment asks for, as gettext reads it.

    `LC_ALL`, `LC_MESSAGES` or `LANG` names the locale; unless that is C, the languages of
    `LANGUAGE` come before it, in their order.

    Args:
        environment: variables by name.

    Returns:
        "fr" or "en"; "en" where nothing else is asked for.

    Source:
        GNU gettext manual, 2.3.3 "Specifying a Priority List of Languages".
    """
    names = (environment.get(name, "") for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    locale = next(filter(None, names), "C")
    if _language(locale) in ("c", "posix"):
        return "en"
    asked = [*environment.get("LANGUAGE", "").split(":"), locale]
    return next((code for code in map(_language, asked) if code in LANGUAGES), "en")


def _language(locale: str) -> str:
    """Return the language of a locale's name: language[_territory][.codeset][@modifier]."""
    return re.split("[_.@]", locale, maxsplit=1)[0].lower()

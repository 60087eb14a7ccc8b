"""What the PIN window says, in the language of the page that asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cps_auth.errors import CpsAuthError, PinRefused
from cps_auth.wording import attempts_left_text, explain, translations

if TYPE_CHECKING:
    from cps_auth.native_host.authenticate import SeenCard

Words = dict[str, object]


def ask_words(origin: str, card: SeenCard, refusal: PinRefused | None, language: str) -> Words:
    """Return the question for the PIN.

    Args:
        origin: who asks, as the browser says.
        card: whose card it is, and its attempts.
        refusal: what came of the last PIN.
        language: "fr" or "en".
    """
    _ = translations(language).gettext
    left = card.attempts_left
    is_last = left is None or left <= 1
    explained = None if refusal is None else explain(refusal, language)
    return {
        **_frame(origin, language),
        "ask": True,
        "last": is_last,
        "name": card.name,
        "message": "" if explained is None else f"{explained.happened} {explained.to_do}",
        "prompt": _("PIN (code porteur)"),
        "attempts": "" if left is None else attempts_left_text(left, language),
        "agree": _("Last attempt: if the code is wrong, the card is blocked."),
        "caution": _("Type your PIN (code porteur) only if you are logging in there just now."),
        "ok": _("Use the last attempt") if is_last else _("Log in"),
    }


def trouble_words(origin: str, trouble: CpsAuthError, language: str) -> Words:
    """Return what is wrong with the card or the reader, while the person may change it."""
    words = explain(trouble, language)
    return {**_frame(origin, language), "message": f"{words.happened} {words.to_do}"}


def busy_words(origin: str, language: str) -> Words:
    """Return what is shown while the card signs."""
    _ = translations(language).gettext
    return {**_frame(origin, language), "message": _("Checking the card…")}


def _frame(origin: str, language: str) -> Words:
    _ = translations(language).gettext
    return {
        "ask": False,
        "title": _("Card login"),
        "intro": _("This site asks for your card:"),
        "origin": origin,
        "ok": _("Log in"),
        "cancel": _("Cancel"),
    }

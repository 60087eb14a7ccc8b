"""Replies in words: what PAM shows to the person for every decision and every error."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable

from cps_auth.errors import CpsAuthError, HolderNotAllowed, LastAttempt
from cps_auth.wording import explain, translations
from pam_helper.daemon.authority import Answer
from pam_helper.daemon.pam_results import PAM_RESULTS
from pam_helper.daemon.protocol import VERIFIED, Next, Reply

COLUMNS = 96
"""Of a line to show: xsecurelock breaks none, and a screen of 1024 pixels holds so many letters."""


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


# Short: GDM's field holds some 25 letters, and the attempts must be among them.
_ANY = _("Card code or password:")
_ANY_LEFT = _("Card code ({count} tries) or password:")
_CARD = _("Card code:")
_CARD_LEFT = _("Card code ({count} tries):")
_ANY_LAST = _("Last try: !code, or password:")
_CARD_LAST = _("Last try: !code:")
_PASSWORD = _("Password:")
_HOW_LAST = _("One try is left for this card. To use it, type ! and then the code.")
_CODE_USED = _("One-time code used; {count} left. The person who looks after this PC is told.")
_CODE_REFUSED = _("This one-time code is not valid, or was used before.")
_NOBODY_TO_TELL = "account-not-enrolled"
"""An account without any card: its owner is asked for a password as if we were not there."""


def reply_to(answer: Answer, language: str) -> Reply:
    """Return the reply for a decision.

    Args:
        answer: of the authority.
        language: of the lines to show, "fr" or "en".
    """
    match answer.verb:
        case "ask" | "require":
            return _question(answer, language)
        case "verify" | "last" if answer.is_yes:
            return VERIFIED
        case "code":
            return _code(answer, language)
    return Reply("PAM_SYSTEM_ERR", "unforeseen")


def _question(answer: Answer, language: str) -> Reply:
    tr = translations(language)
    if not answer.is_answered:
        return Reply("PAM_SUCCESS", "question", (tr.gettext(_PASSWORD),), None, "password")
    is_any, left = not answer.is_required, answer.attempts_left
    lines = []
    if left == 1:
        lines.append(tr.gettext(_HOW_LAST))
        prompt = tr.gettext(_ANY_LAST if is_any else _CARD_LAST)
    elif left:
        prompt = tr.gettext(_ANY_LEFT if is_any else _CARD_LEFT).format(count=left)
    else:
        prompt = tr.gettext(_ANY if is_any else _CARD)
    follows: Next = "any" if is_any else "card"
    if answer.codes_left:
        follows = "any+code" if is_any else "card+code"
    return Reply("PAM_SUCCESS", "question", (*lines, prompt), left, follows)


def _code(answer: Answer, language: str) -> Reply:
    tr = translations(language)
    if not answer.is_yes:
        return Reply("PAM_AUTH_ERR", "code-refused", (tr.gettext(_CODE_REFUSED),))
    used = tr.gettext(_CODE_USED).format(count=answer.codes_left)
    return Reply("PAM_SUCCESS", "code-accepted", _fitting([used]))


def refusal(error: CpsAuthError, language: str) -> Reply:
    """Return the reply for an error.

    Args:
        error: any leaf.
        language: of the lines to show, "fr" or "en".
    """
    words = explain(error, language)
    lines = [words.happened, words.attempts, words.to_do]
    if isinstance(error, LastAttempt):
        lines = [words.happened, translations(language).gettext(_HOW_LAST)]
    if isinstance(error, HolderNotAllowed) and error.reason == _NOBODY_TO_TELL:
        return Reply("PAM_USER_UNKNOWN", error.code)
    left = error.data().get("attempts_left")
    return Reply(
        PAM_RESULTS[type(error)],
        error.code,
        _fitting(lines),
        left if isinstance(left, int) else None,
    )


def _fitting(lines: Iterable[str]) -> tuple[str, ...]:
    """Return lines to show that fit on a screen."""
    return tuple(
        piece
        for line in lines
        for piece in textwrap.wrap(line, COLUMNS, break_long_words=False, break_on_hyphens=False)
    )

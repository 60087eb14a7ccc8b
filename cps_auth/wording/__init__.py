"""Every error in words that a practitioner understands: what happened, what to do now.

English here, French in `locale/fr` (gettext). One row per error of `cps_auth.errors`;
`tests/vocabulary/test_outcomes.py` holds that none is missing in either language.
"""

from __future__ import annotations

import gettext as _gettext
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cps_auth import errors as e
from cps_auth.wording.causes import CAUSE_WORDS
from cps_auth.wording.provider import PROVIDER_WORDS

LANGUAGES = ("fr", "en")
LOCALE_FOLDER = Path(__file__).parents[1] / "locale"
DOMAIN = "cps_auth"


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


@dataclass(frozen=True, slots=True)
class Explanation:
    """One error, in one language."""

    happened: str
    to_do: str
    attempts: str = ""  # how many PIN attempts are left, when the error knows

    @property
    def text(self) -> str:
        """All of it, as one paragraph."""
        return " ".join(part for part in (self.happened, self.attempts, self.to_do) if part)


_CALL_ADMINISTRATOR = _("Call the person who looks after this computer.")
_TRY_AGAIN = _("Please try again.")
_SUPPORT = _("Contact the card's issuer (ANS) to replace it.")

_WORDS: Mapping[type[e.CpsAuthError], tuple[str, str]] = {
    **PROVIDER_WORDS,
    e.ReaderServiceLost: (
        _("The smart card service of this computer does not answer."),
        _("Wait a few seconds; if nothing changes, restart the computer or call who runs it."),
    ),
    e.ReaderServiceRefused: (
        _("The smart card service of this computer does not let this program use the reader."),
        _("Sit at this computer to use it, or have its administrator allow the program (polkit)."),
    ),
    e.NoReader: (
        _("No card reader was found."),
        _("Plug the reader in and check its light."),
    ),
    e.NoCard: (
        _("There is no card in the reader."),
        _("Insert your CPS card, chip first."),
    ),
    e.CardRemoved: (
        _("The card was removed."),
        _("Insert your CPS card again and leave it in until you are done."),
    ),
    e.CardBusy: (
        _("Another program is using the card."),
        _("Wait a moment, or close the other program, then try again."),
    ),
    e.SeveralCards: (
        _("Several CPS cards are inserted."),
        _("Leave only yours in, or name the reader."),
    ),
    e.UnsupportedCard: (
        _("This card is not a CPS card, or one that cannot be read."),
        _("Insert your CPS card, chip first and facing the right way."),
    ),
    e.ContactlessNotEnough: (
        _("The card was read without contact, which is not enough to log in."),
        _("Insert the card into the slot of the reader."),
    ),
    e.NoAuthenticationCertificate: (
        _("The card has no certificate made for logging in."),
        _("Insert your CPS card. If it is one, have it tested."),
    ),
    e.SeveralCertificates: (
        _("The card has several valid certificates for logging in."),
        _("Which one is meant cannot be told. Contact the card's issuer (ANS)."),
    ),
    e.CardMisbehaved: (
        _("The card gave an unexpected answer."),
        _("Take it out, wipe the chip, insert it again. If it happens again, have it tested."),
    ),
    e.WrongPin: (
        _("The PIN (code porteur) is wrong."),
        _("Check your code before you try again: the card blocks when no attempt is left."),
    ),
    e.PinMalformed: (
        _("The PIN (code porteur) is made of exactly four digits. Nothing was sent to the card."),
        _("Type the four digits of your card's code, not your password."),
    ),
    e.LastAttempt: (
        _("Only one attempt may be left before the card blocks. Nothing was sent to the card."),
        _("Look your code up first, then confirm that you want to use the last attempt."),
    ),
    e.PinBlocked: (
        _("The card is blocked: no PIN attempt is left."),
        _("Unblock it with the eight-digit unblocking code of the letter that came with it."),
    ),
    e.WrongPuk: (
        _("The unblocking code is wrong."),
        _("Check the letter before you try again: without attempts the card is lost for good."),
    ),
    e.PukMalformed: (
        _("The unblocking code is made of exactly eight digits. Nothing was sent to the card."),
        _("Type the eight digits of the letter that came with your card."),
    ),
    e.LastPukAttempt: (
        _("Only one attempt at the unblocking code may be left. Nothing was sent to the card."),
        _("Look the code up first, then confirm that you want to use the last attempt."),
    ),
    e.PukBlocked: (
        _("No attempt at the unblocking code is left: this card cannot be unblocked."),
        _SUPPORT,
    ),
    e.NewPinsDiffer: (
        _("The two new codes are not the same. Nothing was sent to the card."),
        _("Type the new code twice, the same both times."),
    ),
    e.PinEntryCancelled: (
        _("The PIN entry was cancelled."),
        _TRY_AGAIN,
    ),
    e.CertificateMalformed: (
        _("The card's certificate cannot be read."),
        _SUPPORT,
    ),
    e.CertificateExpired: (
        _("The card expired on {not_after:%Y-%m-%d}."),
        _("Use your new card, or ask its issuer (ANS) for one."),
    ),
    e.CertificateNotYetValid: (
        _("The card is not valid before {not_before:%Y-%m-%d}."),
        _("Check the date and time of this computer."),
    ),
    e.UntrustedIssuer: (
        _("The card was not issued by an authority that is trusted here."),
        _(
            "Use a real CPS card. If it is one, this computer may lack its authority: call the"
            " person who looks after it (cps-auth trust update)."
        ),
    ),
    e.WrongPurpose: (
        _("This card's certificate is not made for logging in here."),
        _("Use a CPS card that may log in here, not a test card or another certificate."),
    ),
    e.CertificateRevoked: (
        _("The card was reported lost, stolen or withdrawn on {revoked_at:%Y-%m-%d}."),
        _("It can no longer be used. If this is your card, contact its issuer (ANS)."),
    ),
    e.RevocationUnknown: (
        _(
            "Whether this card is still allowed cannot be checked: the opposition list is missing"
            " or too old."
        ),
        _("Connect this computer to the Internet so that it can fetch the list, then try again."),
    ),
    e.ChallengeUnknown: (
        _("This login attempt was already used or was not started here."),
        _("Start again from the login page."),
    ),
    e.ChallengeExpired: (
        _("The login took too long."),
        _TRY_AGAIN,
    ),
    e.BadSignature: (
        _("The card could not prove that it is genuine."),
        _("Do not trust this card. Call the person who looks after this computer."),
    ),
    e.HolderNotAllowed: (
        _("The card is valid, and its holder has no access here."),
        _("Use your own card, or ask for access."),
    ),
    e.PeerNotAllowed: (
        _("This program or computer is not allowed to ask for a login."),
        _CALL_ADMINISTRATOR,
    ),
    e.TooManyRequests: (
        _("Too many attempts in a short time."),
        _("Wait {retry_after_s:.0f} seconds, then try again."),
    ),
    e.RequestMalformed: (
        _("The request could not be understood."),
        _("Start again; if it happens again, call the person who looks after this computer."),
    ),
    e.ConfigurationError: (
        _("The card login is not set up correctly: {what}."),
        _CALL_ADMINISTRATOR,
    ),
    e.TrustStoreUnusable: (
        _("The authorities' certificates cannot be used: {what}."),
        _("Fetch them: cps-auth trust update. Let everybody read and only root write them."),
    ),
    e.ModuleUnusable: (
        _("The card software (PKCS#11 module) cannot be used: {what}."),
        _("Install it again, or leave the module out to read the card directly."),
    ),
    e.ModuleCannotLogIn: (
        _("{module} has a defect: it cannot log in with this card. Your PIN was not sent to it."),
        _("Leave the module out to use the card directly, or name another one."),
    ),
    e.StoreUnavailable: (
        _("The login service cannot reach its memory, so nobody can be logged in."),
        _("Try again in a minute; if it lasts, call the person who looks after this application."),
    ),
    e.DaemonUnreachable: (
        _("The card login service of this computer does not answer."),
        _CALL_ADMINISTRATOR,
    ),
}

_CLOCK = _("The clock of this computer is behind."), _("Check the date and time of this computer.")

_WORDS_OF_REASON: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("ca-not-yet-valid", "crl-not-yet-valid", "ocsp-not-yet-valid"), _CLOCK),
    "crl-unreadable": (_("The opposition list may not be read."), _("Let all read its folder.")),
}
"""For reasons of `cps_auth.pki` that ask for another act than their error does."""


@cache
def translations(language: str) -> _gettext.NullTranslations:
    """Return the catalogue of a language; English, the source, for any we do not have.

    Args:
        language: two letters, such as "fr".
    """
    return _gettext.translation(DOMAIN, LOCALE_FOLDER, languages=[language], fallback=True)


def explain(error: e.CpsAuthError, language: str) -> Explanation:
    """Put an error into words.

    Args:
        error: any leaf of the tree.
        language: "fr" or "en".

    Returns:
        What happened, what to do, and the attempts left when the error knows them.
    """
    tr = translations(language)
    data = error.data()
    reason = str(data.get("why") or data.get("reason") or "")
    is_named = data.get("held_by") or data.get("devices")
    cause = "named" if is_named else str(data.get("cause", ""))
    by_cause = CAUSE_WORDS.get((type(error), cause))
    happened, to_do = by_cause or _WORDS_OF_REASON.get(reason) or _WORDS[type(error)]
    for names in ("held_by", "devices"):
        data[names] = ", ".join(getattr(error, names, ()))
    attempts = data.get("attempts_left")
    return Explanation(
        happened=tr.gettext(happened).format(**data),
        to_do=tr.gettext(to_do).format(**data),
        attempts=attempts_left_text(attempts, language) if isinstance(attempts, int) else "",
    )


def attempts_left_text(attempts_left: int, language: str) -> str:
    """Return the attempts left in words, such as "2 attempts left." """
    tr = translations(language)
    if attempts_left == 0:
        return tr.gettext("No attempt left.")
    text = tr.ngettext("{count} attempt left.", "{count} attempts left.", attempts_left)
    return text.format(count=attempts_left)


def pin_prompt(attempts_left: int | None, language: str) -> str:
    """Return the prompt for the PIN, with the attempts left when they are known."""
    tr = translations(language)
    if attempts_left is None:
        return tr.gettext("CPS card PIN: ")
    text = tr.ngettext(
        "CPS card PIN ({count} attempt left): ",
        "CPS card PIN ({count} attempts left): ",
        attempts_left,
    )
    return text.format(count=attempts_left)

"""Views of the PIN window at each moment, in the person's language. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cps_auth.errors import CertificateMalformed, CertificateRefused, CpsAuthError
from cps_auth.model import Practitioner
from cps_auth.native_host.pin_window import View
from cps_auth.pki.certificate.parse import parse_certificate
from cps_auth.pki.certificate.profiles import (
    IGC_SANTE_LOGIN,
    SHOWN_ONLY,
    CertificateProfile,
)
from cps_auth.pki.judge import Judge
from cps_auth.wording import attempts_left_text, explain, translations

LAST = 1  # attempts left, at which a person has to confirm


@dataclass(frozen=True, slots=True)
class Holder:
    """The holder that a card names, and whether this computer could verify it.

    Attributes:
        practitioner: as the certificate says.
        doubt: why this computer does not vouch for the certificate; None: it does.
        is_judged: this computer has authorities to ask at all.
    """

    practitioner: Practitioner
    doubt: CertificateRefused | None
    is_judged: bool


def read_holder(unverified_certificate_der: bytes, judge: Judge | None, *, at: datetime) -> Holder:
    """Read who the certificate names, for display: the website is who judges it.

    Args:
        unverified_certificate_der: from the card.
        judge: None where this computer has no authorities.
        at: now, aware UTC.

    Raises:
        CertificateMalformed: it is none, or no name in it is fit to be shown.
    """
    if judge is None:
        practitioner = _read_name(unverified_certificate_der, IGC_SANTE_LOGIN)
        return Holder(practitioner, doubt=None, is_judged=False)
    try:
        judged = judge.judge(unverified_certificate_der, at=at)
        return Holder(judged.certificate.practitioner, doubt=None, is_judged=True)
    except CertificateRefused as doubt:
        practitioner = _read_name(unverified_certificate_der, judge.profile)
        return Holder(practitioner, doubt, is_judged=True)


def _read_name(unverified_certificate_der: bytes, profile: CertificateProfile) -> Practitioner:
    try:
        return parse_certificate(unverified_certificate_der, profile).practitioner
    except CertificateMalformed:  # by these rules; a site may go by others
        return parse_certificate(unverified_certificate_der, SHOWN_ONLY).practitioner


@dataclass(frozen=True, slots=True)
class Views:
    """Makes the views of one request.

    Attributes:
        origin: of the website, as it is signed: ASCII, a foreign name in punycode.
        language: "fr" or "en".
    """

    origin: str
    language: str

    def waiting(self, why: CpsAuthError) -> View:
        """Return the view that says why no card can be used yet, and what to do."""
        words = explain(why, self.language)
        return self._message(words.happened, words.to_do)

    def refused(self, why: CpsAuthError) -> View:
        """Return the view that says why nothing was signed; it can only be closed."""
        words = explain(why, self.language)
        return self._message(words.happened, words.to_do, cancel=self.gettext("Close"))

    def pin(
        self,
        holder: Holder,
        attempts_left: int | None,
        trouble: CpsAuthError | None,
        *,
        on_pad: bool = False,
    ) -> View:
        """Ask for the PIN.

        Args:
            holder: of the card.
            attempts_left: None when the card does not say.
            trouble: what was wrong with the digits before.
            on_pad: it is typed on the reader's keypad, once the person agreed to this website.
        """
        practitioner = holder.practitioner
        entry = self.gettext("The four digits of the PIN (code porteur):")
        later = self.gettext("Your reader will ask you for the PIN (code porteur).")
        busy = self.gettext("The card is working, leave it in…")
        hint = self.gettext("Digits only. Your keyboard may need Shift or Num Lock for them.")
        on_keys = self.gettext("Type your PIN on the keys of the reader now.")
        return View(
            kind="pad" if on_pad else "pin",
            title=self.gettext("CPS card PIN"),
            asks=self.gettext("This website asks you to log in:"),
            origin=self.origin,
            caution=self._caution(),
            heading=practitioner.display_name,
            detail=practitioner.profession or practitioner.title or "",
            note=self._doubt(holder),
            alert="" if trouble is None else explain(trouble, self.language).text,
            entry=later if on_pad else entry,
            hint="" if on_pad else hint,
            attempts=self._attempts(attempts_left),
            confirm=self._confirmation(attempts_left),
            accept=self.gettext("Log in"),
            cancel=self.gettext("Cancel"),
            busy=on_keys if on_pad else busy,
        )

    def _message(self, heading: str, detail: str, cancel: str = "") -> View:
        return View(
            kind="message",
            title=self.gettext("CPS card PIN"),
            asks=self.gettext("This website asks you to log in:"),
            origin=self.origin,
            caution=self._caution(),
            heading=heading,
            detail=detail,
            cancel=cancel or self.gettext("Cancel"),
        )

    def _caution(self) -> str:
        host = self.origin.split("://")[1]
        if any(label.startswith("xn--") for label in host.split(".")):
            return self.gettext("The address holds foreign letters (xn--): read it with care.")
        return ""

    def _doubt(self, holder: Holder) -> str:
        if not holder.is_judged:
            return self.gettext("Name as the card gives it, not verified by this computer.")
        if holder.doubt is None:
            return ""
        why = explain(holder.doubt, self.language).happened
        return self.gettext("Not verified by this computer:") + " " + why

    def _attempts(self, attempts_left: int | None) -> str:
        if attempts_left is None:
            return self.gettext("The card does not say how many attempts are left.")
        return attempts_left_text(attempts_left, self.language)

    def _confirmation(self, attempts_left: int | None) -> str:
        if attempts_left is not None and attempts_left > LAST:
            return ""
        if attempts_left is None:
            return self.gettext("I am sure of my code: this may be the last attempt.")
        return self.gettext("I am sure of my code: if it is wrong, the card blocks.")

    def gettext(self, sentence: str) -> str:
        """Return one of our own sentences in the person's language."""
        return translations(self.language).gettext(sentence)

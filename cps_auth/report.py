"""What the command line shows a person: a reader, a card, its holder. Pure text."""

from __future__ import annotations

from cps_auth.card.atr import kind_of
from cps_auth.model import CardDescription, CardKind, Practitioner, ReaderState
from cps_auth.pki.judge import JudgedCertificate
from cps_auth.wording import attempts_left_text, translations

_CARD_NAMES = {
    CardKind.CPS3: "CPS3",
    CardKind.CPS3_CONTACTLESS: "CPS3 (contactless)",
    CardKind.CPS4: "CPS4",
    CardKind.VENDOR_MODULE: "PKCS#11",
}


def reader_line(state: ReaderState, language: str) -> str:
    """Say in one line what a reader holds."""
    tr = translations(language)
    if state.atr is None:
        return f"{state.name}: " + tr.gettext("no card")
    kind = kind_of(state.atr)
    name = _CARD_NAMES.get(kind) or tr.gettext("not a CPS card")
    return f"{state.name}: {name}"


def card_lines(
    description: CardDescription, label: str, attempts_left: int | None, language: str
) -> list[str]:
    """Say which card it is and how many PIN attempts are left, one fact a line."""
    tr = translations(language)
    unknown = tr.gettext("the card does not say how many PIN attempts are left")
    name = _CARD_NAMES.get(description.kind, "")
    return [
        tr.gettext("Card: {name} {label}, serial {serial}, in {reader}").format(
            name=name,
            label=label,
            serial=description.serial,
            reader=description.reader,
        ),
        tr.gettext("PIN: ")
        + (unknown if attempts_left is None else attempts_left_text(attempts_left, language)),
    ]


def pin_lines(left: int | None, puk_left: int | None, language: str) -> list[str]:
    """Say how many attempts PIN and PUK have left, one a line."""
    tr = translations(language)
    unknown = tr.gettext("the card does not say")
    return [
        name + (unknown if count is None else attempts_left_text(count, language))
        for name, count in (("PIN: ", left), ("PUK: ", puk_left))
    ]


def holder_lines(judged: JudgedCertificate, language: str) -> list[str]:
    """Say who the certificate names and why it is accepted, one fact a line."""
    tr = translations(language)
    practitioner = judged.certificate.practitioner
    lines = [
        tr.gettext("Holder: ") + _title_and_name(practitioner),
        tr.gettext("Identifier (PS_IdNat): ") + practitioner.ps_idnat,
        tr.gettext("Certificate valid until {date}, trusted by: {trust}").format(
            date=f"{judged.certificate.x509.not_valid_after_utc:%Y-%m-%d}", trust=judged.trust
        ),
    ]
    for evidence in judged.revocation:
        lines.append(
            tr.gettext("Not revoked: list of {issuer} of {date}").format(
                issuer=evidence.issuer, date=f"{evidence.this_update:%Y-%m-%d %H:%M}"
            )
        )
    return lines


def _title_and_name(practitioner: Practitioner) -> str:
    occupation = practitioner.profession or practitioner.title
    return ", ".join(part for part in (practitioner.display_name, occupation) if part)

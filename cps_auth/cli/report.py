"""Lines for a person: a reader, a card, its holder. Pure text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cps_auth.card.native.models import kind_of
from cps_auth.model import (
    CardDescription,
    CardEvent,
    CardEventKind,
    CardKind,
    DataObject,
    Practitioner,
    ReaderState,
)
from cps_auth.wording import attempts_left_text, translations

if TYPE_CHECKING:
    from cps_auth.pki.judge import JudgedCertificate


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_CARD_NAMES = {
    CardKind.CPS3: "CPS3",
    CardKind.CPS3_CONTACTLESS: _("CPS3 (contactless)"),
    CardKind.CPS4: "CPS4",
    CardKind.VENDOR_MODULE: "PKCS#11",
}

_EVENTS = {
    CardEventKind.SERVICE_LOST: _("the smart card service was lost"),
    CardEventKind.SERVICE_BACK: _("the smart card service is back"),
    CardEventKind.READER_ADDED: _("reader added"),
    CardEventKind.READER_GONE: _("reader gone"),
    CardEventKind.CARD_INSERTED: _("card inserted"),
    CardEventKind.CARD_REMOVED: _("card removed"),
    CardEventKind.CARD_SWAPPED: _("card swapped for another, or inserted anew"),
    CardEventKind.RESUMED: _("the computer was asleep"),
    CardEventKind.WATCHER_STOPPED: _("nobody watches the readers any more"),
}


def reader_line(state: ReaderState, language: str) -> str:
    """Describe a reader and what it holds in one line."""
    tr = translations(language)
    if state.atr is None:
        return f"{state.name}: " + tr.gettext("no card")
    kind = kind_of(state.atr)
    return f"{state.name}: " + tr.gettext(_CARD_NAMES.get(kind) or _("not a CPS card"))


def event_line(event: CardEvent, language: str) -> str:
    """Describe an event and its reader in one line."""
    happened = translations(language).gettext(_EVENTS[event.kind])
    return f"{event.reader}: {happened}" if event.reader else happened


def card_lines(
    description: CardDescription, label: str, attempts_left: int | None, language: str
) -> list[str]:
    """Describe a card and its PIN attempts left, one fact a line."""
    tr = translations(language)
    unknown = tr.gettext("the card does not say how many PIN attempts are left")
    name = _CARD_NAMES.get(description.kind)
    return [
        tr.gettext("Card: {name} {label}, serial {serial}, in {reader}").format(
            name=tr.gettext(name) if name else "",
            label=label,
            serial=description.serial,
            reader=description.reader,
        ),
        tr.gettext("PIN: ")
        + (unknown if attempts_left is None else attempts_left_text(attempts_left, language)),
    ]


def pin_lines(left: int | None, puk_left: int | None, language: str) -> list[str]:
    """Describe the attempts left of PIN and PUK, one a line."""
    tr = translations(language)
    unknown = tr.gettext("the card does not say")
    return [
        name + (unknown if count is None else attempts_left_text(count, language))
        for name, count in ((tr.gettext("PIN: "), left), (tr.gettext("PUK: "), puk_left))
    ]


def holder_lines(judged: JudgedCertificate, language: str) -> list[str]:
    """Describe a certificate's holder and the evidence for it, one fact a line."""
    tr = translations(language)
    practitioner = judged.certificate.practitioner
    lines = [
        tr.gettext("Holder: ") + _title_and_name(practitioner),
        tr.gettext("Identifier (PS_IdNat): ") + practitioner.ps_idnat,
        tr.gettext("Certificate valid until {date}, trusted by: {trust}").format(
            date=f"{judged.certificate.not_after:%Y-%m-%d}", trust=judged.trust
        ),
    ]
    for evidence in judged.revocation:
        lines.append(
            tr.gettext("Not revoked: list of {issuer} of {date}").format(
                issuer=evidence.issuer, date=f"{evidence.this_update:%Y-%m-%d %H:%M}"
            )
        )
    return lines


def object_line(found: DataObject, language: str) -> str:
    """Describe a data object in one line."""
    text = translations(language).gettext("Data object: {label}, {count} bytes")
    return text.format(label=found.label, count=len(found.unverified_content))


def _title_and_name(practitioner: Practitioner) -> str:
    occupation = practitioner.profession or practitioner.title
    return ", ".join(part for part in (practitioner.display_name, occupation) if part)

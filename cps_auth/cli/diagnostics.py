"""Walks a chain of things that must work, link by link, and says of each whether it does.

`cps-auth doctor` and `cps-auth pc check` are such walks. No PIN attempt is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cps_auth.card.port import CardSource
from cps_auth.card.reader_name import readers_wanted
from cps_auth.card.usb import DEVICES, DRIVERS, card_readers, readers_without_driver
from cps_auth.cli.report import reader_line
from cps_auth.errors import CpsAuthError, LastAttempt, NoReader, PinBlocked, RevocationUnknown
from cps_auth.login.verify import show_holder
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_header import CrlProblem
from cps_auth.pki.upkeep.status import ENDS_SOON, CrlStatus, crls_status
from cps_auth.wording import attempts_left_text, explain, translations


@dataclass(frozen=True, slots=True)
class Finding:
    """One link of the chain."""

    link: str  # short name, in English: scripts read it
    text: str  # what was found, or what is wrong and what to do
    error: CpsAuthError | None = None  # what is wrong, None where nothing is
    is_repeated: bool = False  # an earlier link is broken for the same reason

    @property
    def ok(self) -> bool:
        """Return whether this link works."""
        return self.error is None


def look_at(links: Mapping[str, Callable[[], str]], language: str) -> Iterator[Finding]:
    """Look at every link, whatever the others say.

    Args:
        links: by name, what returns a text about the link, or raises what is wrong with it.
        language: of the texts about what is wrong.

    Yields:
        One finding per link, in their order.
    """
    told: dict[str, str] = {}
    for link, look in links.items():
        try:
            yield Finding(link, look())
        except CpsAuthError as error:
            text = explain(error, language).text
            earlier = told.setdefault(text, link)
            again = translations(language).gettext("for the same reason as: {link}")
            if earlier == link:
                yield Finding(link, text, error)
            else:
                yield Finding(link, again.format(link=earlier), error, is_repeated=True)


def find_usb(language: str, usb: Path = DEVICES, drivers: Path = DRIVERS) -> str:
    """Describe the card readers on USB, and those that pcscd has no driver for. Never raises.

    Args:
        language: "fr" or "en".
        usb: where the kernel shows devices.
        drivers: where pcscd finds its drivers.
    """
    tr = translations(language)
    unknown = readers_without_driver(usb, drivers)
    no_driver = tr.gettext("{device}: pcscd has no driver for it")
    found = [
        no_driver.format(device=reader) if reader in unknown else str(reader)
        for reader in card_readers(usb)
    ]
    return "; ".join(found) or tr.gettext("no card reader on USB")


def find_pcscd(cards: CardSource, language: str) -> str:
    """Describe the smart card service.

    Raises:
        ReaderServiceLost, ReaderServiceRefused
    """
    text = translations(language).gettext("it answers, {count} readers")
    return text.format(count=len(cards.readers()))


def find_readers(
    cards: CardSource,
    reader: str | None,
    language: str,
    usb: Path = DEVICES,
    drivers: Path = DRIVERS,
) -> str:
    """Describe the readers and what is in them.

    Args:
        cards: whose readers.
        reader: the one that the settings name, None for any.
        language: "fr" or "en".
        usb: where the kernel shows devices.
        drivers: where pcscd finds its drivers.

    Raises:
        NoReader: none, or not that one.
        ReaderServiceLost
    """
    devices = tuple(map(str, readers_without_driver(usb, drivers)))
    try:
        states = readers_wanted(cards.readers(), reader)
    except NoReader as error:
        raise NoReader(error.reader, devices) from None
    lines = [reader_line(state, language) for state in states]
    no_driver = translations(language).gettext("{device}: pcscd has no driver for it")
    return "; ".join([*lines, *(no_driver.format(device=device) for device in devices)])


def lists_end_text(next_update: datetime, at: datetime, language: str) -> str | None:
    """Return the warning that the revocation lists end soon, short enough for a lock screen.

    Args:
        next_update: of the list that ends first, aware.
        at: now, aware.
        language: "fr" or "en".

    Returns:
        One line; None while more than three days are left.
    """
    left = next_update - at
    if left > ENDS_SOON:
        return None
    tr = translations(language)
    if left <= timedelta(0):
        return tr.gettext("The opposition lists are over: connect this computer to the Internet.")
    hours = int(left.total_seconds() // 3600)
    if hours < 24:
        sentence = tr.gettext("Opposition lists end in {hours} h: connect this PC to the Internet.")
        return sentence.format(hours=hours)
    sentence = tr.ngettext(
        "Opposition lists end in {days} day: connect this PC to the Internet.",
        "Opposition lists end in {days} days: connect this PC to the Internet.",
        hours // 24,
    )
    return sentence.format(days=hours // 24)


def find_lists(judge: Judge, language: str, *, at: datetime) -> str:
    """Describe the age of the oldest revocation list, and warn where one ends soon.

    Raises:
        RevocationUnknown: an authority has no list that is current, or still accepted offline.
    """
    rows = crls_status(judge.trust, judge.crls, at=at)
    for row in rows:
        if row.doubt is not None and not _is_in_grace(row, judge, at):
            raise RevocationUnknown("", row.doubt, row.next_update, row.issuer)
    oldest_s = max((row.age_s or 0 for row in rows), default=0)
    text = translations(language).gettext("{count} lists, the oldest {age} h old")
    ends = min((row.next_update for row in rows if row.ends_soon and row.next_update), default=None)
    warning = None if ends is None else lists_end_text(ends, at, language)
    return " ".join(filter(None, (text.format(count=len(rows), age=oldest_s // 3600), warning)))


def _is_in_grace(row: CrlStatus, judge: Judge, at: datetime) -> bool:
    """Return whether a list is over, and the policy accepts it for some more hours."""
    if row.doubt is not CrlProblem.STALE or row.next_update is None:
        return False
    return at - row.next_update <= judge.policy.grace_period


def find_card(
    cards: CardSource, reader: str | None, judge: Judge, language: str, *, at: datetime
) -> str:
    """Describe the holder of the card, once judged, and the PIN attempts left.

    Raises:
        CardUnavailable, CardMisbehaved, ModuleUnusable: as in `CardSource.open_card`.
        CertificateRefused: any leaf.
        PinBlocked, LastAttempt: it can be read, and nobody can log in with it as usual.
    """
    with cards.open_card(reader) as card:
        practitioner = show_holder(card, judge=judge, at=at).certificate.practitioner
        left = card.pin_attempts_left()
        is_sound = card.description.is_serial_sound
    if left == 0:
        raise PinBlocked
    if left == 1:
        raise LastAttempt(left)
    unknown = translations(language).gettext("the card does not say how many PIN attempts are left")
    attempts = unknown if left is None else attempts_left_text(left, language)
    odd = translations(language).gettext("its serial number does not check, which does no harm")
    notes = attempts if is_sound else f"{attempts} ({odd})"
    return f"{practitioner.display_name} ({practitioner.ps_idnat}): {notes}"

"""The words of the six measures: what is asked, why it matters, how to mend it here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from pam_helper.posture.model import Verdict


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


class Words(NamedTuple):
    """One measure, in sentences that are translated where they are shown."""

    title: str
    why: str
    mend: str


MEASURE_WORDS: Mapping[str, Words] = {
    "passwords": Words(
        _("Passwords"),
        _(
            "A password that is short, shared or missing lets anybody who passes the desk read"
            " records under another's name."
        ),
        _(
            "sudo apt install libpam-pwquality, then minlen = 12 in /etc/security/pwquality.conf;"
            " a password for every account: sudo passwd ACCOUNT; no automatic login."
        ),
    ),
    "lock": Words(
        _("Automatic lock"),
        _("A screen that stays open shows records to whoever comes by, and works in your name."),
        _(
            "Settings, Privacy, Screen lock: after five minutes at most. For the card that is"
            " pulled: sudo cps-auth pc setup."
        ),
    ),
    "updates": Words(
        _("An up-to-date system"),
        _("Most attacks use faults that an update has already mended."),
        _(
            "sudo apt update && sudo apt upgrade, then a restart; from then on by itself:"
            " sudo apt install unattended-upgrades. A release that has ended: install the next one."
        ),
    ),
    "encryption": Words(
        _("Encryption"),
        _("A computer that is stolen gives its records away unless its disk is encrypted."),
        _(
            "Debian's installer encrypts the whole disk (LUKS); a system that is installed is"
            " installed again. Backups are encrypted, too."
        ),
    ),
    "network": Words(
        _("No outside equipment on the practice's network"),
        _("A visitor's telephone or an unknown box can listen to the practice, or attack it."),
        _(
            "Another Wi-Fi network for visitors, a long Wi-Fi key (WPA2 or WPA3), 802.1X where the"
            " switch can; sudo apt install nftables, with a rule that refuses what comes in."
            " Count what is plugged in: that no computer does for you."
        ),
    ),
    "card": Words(
        _("Authentication by CPS"),
        _("Access to health data is by a CPS or an equivalent means (PGSSI-S), never shared."),
        _("sudo cps-auth pc setup, then sudo cps-auth pc enrol ACCOUNT for all who work here."),
    ),
}

VERDICT_WORDS: Mapping[Verdict, str] = {
    Verdict.PRESENT: _("present"),
    Verdict.ABSENT: _("absent"),
    Verdict.UNKNOWN: _("cannot tell"),
}

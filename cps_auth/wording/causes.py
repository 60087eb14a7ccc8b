"""Words of errors about card and reader that know their cause; see `cps_auth.wording`."""

from __future__ import annotations

from collections.abc import Mapping

from cps_auth import errors as e


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_NOT_SET_UP = _("The card login is not set up correctly: {what}.")
_CORRECT = _("Correct that line, or put # before it so that the default holds.")

CAUSE_WORDS: Mapping[tuple[type[e.CpsAuthError], str], tuple[str, str]] = {
    (e.ReaderServiceLost, "not-running"): (
        _("The smart card service of this computer (pcscd) is not running."),
        _("Start it (systemctl start pcscd.socket) or restart the computer."),
    ),
    (e.ReaderServiceLost, "too-many"): (
        _("Too many programs are using the smart card service at once."),
        _("Close some of them, or restart the computer."),
    ),
    (e.CardMisbehaved, "mute"): (
        _("The card in the reader does not answer."),
        _("See which way round it is in: chip first, and up. Then wipe the chip."),
    ),
    (e.CardMisbehaved, "unpowered"): (
        _("The card in the reader has no power, as after the computer slept."),
        _("Take it out and insert it again."),
    ),
    (e.CardMisbehaved, "no-answer"): (
        _("The card or its reader did not answer in time."),
        _("Take the card out and insert it again; unplug the reader if that does not help."),
    ),
    (e.NoReader, "named"): (
        _("A card reader is plugged in that this computer has no driver for: {devices}."),
        _("Install the driver of its maker for Linux, or use a reader of the CCID standard."),
    ),
    (e.CardBusy, "named"): (
        _("Another program is using the card, probably: {held_by}."),
        _("Wait a moment, or close the other program, then try again."),
    ),
    (e.UnsupportedCard, "module"): (
        _("The card software (PKCS#11 module) does not know this CPS card."),
        _("Leave the module out to use the card directly, or name another one."),
    ),
    (e.CardMisbehaved, "module"): (
        _("The card software (PKCS#11 module) failed, or the card gave it an unexpected answer."),
        _("Insert the card again. If that does not help, leave the module out, or name another."),
    ),
    (e.ModuleUnusable, "missing"): (
        _("There is no such card software (PKCS#11 module): {what}."),
        _(
            "Name it by its path, or as ans, opensc or softhsm once that is installed, or leave it"
            " out to read the card directly."
        ),
    ),
    (e.ConfigurationError, "unknown-setting"): (
        _NOT_SET_UP,
        _(
            "Put # before that line: this version of cps-auth does not know it. A setting of a"
            " newer version needs that version."
        ),
    ),
    (e.ConfigurationError, "wrong-setting"): (_NOT_SET_UP, _CORRECT),
    (e.ConfigurationError, "not-toml"): (_NOT_SET_UP, _CORRECT),
    (e.ConfigurationError, "not-text"): (
        _NOT_SET_UP,
        _("Save the file as UTF-8 text."),
    ),
    (e.ConfigurationError, "others-could-write"): (
        _NOT_SET_UP,
        _("Let nobody but root write it: chown root and chmod go-w."),
    ),
    (e.ConfigurationError, "not-readable"): (
        _NOT_SET_UP,
        _("Type the command again with sudo, or let this program read it."),
    ),
}
"""By error and cause: what happened, what to do."""

"""The causes that `cps-auth doctor` and `cps-auth pc check` name, and the sentence to type next.

`docs/doctor.md` shows this table; a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from cps_auth.errors import CpsAuthError


class Remedy(NamedTuple):
    """What a cause means, and what to type or do next; both are translated where shown."""

    meaning: str
    next: str


def _(message: str) -> str:
    """Mark a sentence for extraction; it is translated where it is shown."""
    return message


_LOOK = "cps-auth show"
_UPDATE = "sudo cps-auth trust update"
_SETTINGS = _("sudo editor FILE, at the line that is named")
_SET_UP = "sudo cps-auth pc setup"
_REINSTALL = "sudo apt install --reinstall cps-auth"
_CLOCK = "timedatectl"

REMEDIES: Mapping[str, Remedy] = {
    "reader-service-lost": Remedy(
        _("pcscd, the smart card service, does not answer"), "sudo systemctl restart pcscd"
    ),
    "reader-service-lost/not-running": Remedy(
        _("pcscd is not installed or not running"),
        "sudo apt install pcscd && sudo systemctl enable --now pcscd.socket",
    ),
    "reader-service-lost/too-many": Remedy(
        _("too many programs use pcscd"), "sudo systemctl restart pcscd"
    ),
    "reader-service-refused": Remedy(
        _("polkit does not let this program use pcscd"),
        _("sudo cps-auth doctor, or the same at the computer itself"),
    ),
    "no-reader": Remedy(
        _("no reader on USB, and none in pcscd"), _("plug the reader in, then: cps-auth readers")
    ),
    "no-reader/no-driver": Remedy(
        _("a reader on USB that pcscd has no driver for"),
        _("sudo apt install libccid, or the driver of its maker, then: cps-auth readers"),
    ),
    "no-reader/not-that-one": Remedy(
        _("the reader that the settings or --reader name is not there"),
        _("cps-auth readers, then its name at [card] reader in /etc/cps-auth/config.toml"),
    ),
    "no-card": Remedy(_("no card in the reader"), _("insert the card, then: cps-auth show")),
    "card-removed": Remedy(_("the card left while it was read"), _LOOK),
    "card-busy": Remedy(
        _("another program holds the card"), _("close that program, then: cps-auth show")
    ),
    "several-cards": Remedy(
        _("several CPS cards are in"), _("take one out, or: cps-auth doctor --reader NAME")
    ),
    "unsupported-card": Remedy(
        _("not a CPS, or one that this version does not know"),
        _("another card, or for support: cps-auth show --trace"),
    ),
    "unsupported-card/module": Remedy(
        _("a CPS that the PKCS#11 module does not know"),
        _("the same without --module, or without [card] module in /etc/cps-auth/config.toml"),
    ),
    "contactless-not-enough": Remedy(
        _("the card lies on a contactless reader"),
        _("insert it into the slot, then: cps-auth show"),
    ),
    "card-misbehaved": Remedy(
        _("the card answers what it must not"), _("for support: cps-auth show --trace")
    ),
    "card-misbehaved/mute": Remedy(
        _("the card does not answer at all"), _("turn the card round, then: cps-auth show")
    ),
    "card-misbehaved/unpowered": Remedy(
        _("the card has no power, as after sleep"), _("take it out and in, then: cps-auth show")
    ),
    "card-misbehaved/no-answer": Remedy(
        _("the card or the reader did not answer in time"),
        _("unplug the reader and plug it in, then: cps-auth show"),
    ),
    "card-misbehaved/module": Remedy(
        _("the PKCS#11 module failed, or the card gave it an unexpected answer"),
        _("the same without --module, or without [card] module in /etc/cps-auth/config.toml"),
    ),
    "no-authentication-certificate": Remedy(
        _("the card holds no certificate for logging in"), "cps-auth show --objects"
    ),
    "several-certificates": Remedy(
        _("the card holds several certificates for logging in"), "cps-auth show --objects"
    ),
    "pin-blocked": Remedy(_("no PIN attempt is left"), "cps-auth pin unblock"),
    "last-attempt": Remedy(
        _("one PIN attempt is left"),
        _("with the right code at hand: cps-auth login --use-last-attempt"),
    ),
    "certificate-malformed": Remedy(
        _("the certificate cannot be read"), _("for support: cps-auth show --trace")
    ),
    "certificate-expired": Remedy(
        _("the card is over its date"), _("insert the new card, then: cps-auth show")
    ),
    "certificate-not-yet-valid": Remedy(
        _("the card is not valid yet, by this computer's clock"), _CLOCK
    ),
    "untrusted-issuer": Remedy(
        _("no trusted authority issued the card"),
        _("cps-auth trust list, then: sudo cps-auth trust update"),
    ),
    "wrong-purpose": Remedy(
        _("a test card, or a certificate that is not for logging in"),
        _("another card; test cards: cps-auth doctor --trust FOLDER"),
    ),
    "certificate-revoked": Remedy(
        _("the card is on the opposition list"), _("a new card from its issuer (ANS)")
    ),
    "revocation-unknown": Remedy(_("an opposition list is missing or unusable"), _UPDATE),
    "revocation-unknown/crl-stale": Remedy(_("an opposition list is too old"), _UPDATE),
    "revocation-unknown/crl-not-yet-valid": Remedy(
        _("an opposition list is of a later time than this computer's clock"), _CLOCK
    ),
    "revocation-unknown/crl-unreadable": Remedy(
        _("an opposition list may not be read by this user"),
        "sudo chmod -R a+rX /var/lib/cps-auth/trust",
    ),
    "trust-store-unusable": Remedy(
        _("the authorities' certificates are missing, unreadable or could be changed by others"),
        _UPDATE,
    ),
    "module-unusable": Remedy(
        _("the PKCS#11 module cannot be loaded"),
        _("the same without --module, or without [card] module in /etc/cps-auth/config.toml"),
    ),
    "module-cannot-log-in": Remedy(
        _("the PKCS#11 module is known not to work with this card"),
        _("the same without --module, or without [card] module in /etc/cps-auth/config.toml"),
    ),
    "configuration-error": Remedy(_("a setting is wrong"), _SETTINGS),
    "configuration-error/unknown-setting": Remedy(
        _("a setting that this version does not know"), _SETTINGS
    ),
    "configuration-error/wrong-setting": Remedy(_("a value that is not possible"), _SETTINGS),
    "configuration-error/not-toml": Remedy(_("a line that is not TOML"), _SETTINGS),
    "configuration-error/not-text": Remedy(_("a file that is not UTF-8 text"), _SETTINGS),
    "configuration-error/others-could-write": Remedy(
        _("others than root could write the file that is named"),
        "sudo chown root:root FILE && sudo chmod go-w FILE",
    ),
    "configuration-error/not-readable": Remedy(
        _("this user may not read the file that is named"), "sudo cps-auth doctor"
    ),
    "configuration-error/others-program": Remedy(
        _("others than root could change the program that root runs"), _REINSTALL
    ),
    "configuration-error/nobody-enrolled": Remedy(
        _("no card opens any account"), "sudo cps-auth pc enrol ACCOUNT"
    ),
    "configuration-error/no-account": Remedy(
        _("a card opens an account that does not exist"),
        "sudo cps-auth pc accounts remove HOLDER --account ACCOUNT",
    ),
    "daemon-unreachable": Remedy(
        _("the daemon does not answer on its socket"),
        "sudo systemctl restart cps-auth && journalctl -u cps-auth -n 20",
    ),
    "configuration-error/not-roots-daemon": Remedy(
        _("somebody else than root answers on the daemon's socket"),
        "sudo systemctl restart cps-auth.socket cps-auth.service",
    ),
    "configuration-error/no-pam-module": Remedy(_("pam_cps.so is not installed"), _REINSTALL),
    "configuration-error/pam-unused": Remedy(_("no login service asks for the card"), _SET_UP),
    "configuration-error/not-required": Remedy(
        _("the services where the card is required are not those of the settings"), _SET_UP
    ),
    "configuration-error/no-logind": Remedy(
        _("logind does not answer on the system bus"), "systemctl status dbus systemd-logind"
    ),
    "configuration-error/no-locker-command": Remedy(
        _("the screen locker that the settings name is not installed"),
        "sudo apt install xsecurelock",
    ),
    "configuration-error/no-session": Remedy(
        _("the account has no session that could be locked"),
        _("log in as that account, then the same again"),
    ),
    "configuration-error/unconfirmed": Remedy(
        _("no screen locker confirmed that it locked"), "journalctl -u cps-auth -n 20"
    ),
    "configuration-error/journal-altered": Remedy(
        _("the audit journal is not as it was written"), "sudo cps-auth audit verify"
    ),
    "configuration-error/app-not-loadable": Remedy(
        _("the Flask application cannot be imported"),
        _("the same in its folder and environment, such as: cps-auth doctor --app wsgi:app"),
    ),
    "configuration-error/app-without-login": Remedy(
        _("the Flask application has no CpsLogin"), _("CpsLogin(app, …), see docs/flask.md")
    ),
    "configuration-error/app-settings": Remedy(
        _("CpsLogin refuses the application's settings"), _("correct the keys that are named")
    ),
    "configuration-error/login-page": Remedy(
        _("the login page answers with an error"), _("the application's log")
    ),
    "store-unavailable": Remedy(
        _("the application's store of sessions does not answer"),
        _("systemctl status redis-server, or CPS_STORE and CPS_DATABASE"),
    ),
}
"""By cause: the error's code, and behind a stroke which of its kinds, where that makes a
difference to what is done next."""


def cause_of(error: CpsAuthError) -> str:
    """Return the most precise cause of the table that an error has."""
    kinds = (f"{error.code}/{kind}" for kind in _kinds(error))
    return next((cause for cause in kinds if cause in REMEDIES), error.code)


def _kinds(error: CpsAuthError) -> Iterator[str]:
    data = error.data()
    if data.get("devices"):
        yield "no-driver"
    if data.get("reader"):
        yield "not-that-one"
    yield from (str(data[name]) for name in ("cause", "why") if data.get(name))

"""The settings file: strict TOML to frozen, typed values. No setting names a mock.

A setting that is unknown, of the wrong type, or in a file that others could write is refused:
trust is decided here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec

from cps_auth.errors import ConfigurationError
from cps_auth.files import read_protected
from cps_auth.pki.revocation.policy import GRACE_MAX_HOURS
from cps_auth.toml_file import decode_toml

CONFIG_PATH = Path("/etc/cps-auth/config.toml")
AUDIT_FOLDER = Path("/var/lib/cps-auth/audit")
MAX_CONFIG_BYTES = 64 * 1024

Locker = Literal["logind", "screensaver", "command"]


class TrustSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which certificates are believed."""

    folder: str | None = None  # replaces the production pins; absent: production
    # How many hours after its nextUpdate a list still counts, for a PC that is offline; 0: none.
    grace_hours: Annotated[float, msgspec.Meta(ge=0, le=GRACE_MAX_HOURS)] = 0
    ocsp: bool = False  # ask the authorities' OCSP responders where no list is current
    ocsp_nonce: bool = True  # their "good" has to repeat our nonce

    @property
    def path(self) -> Path | None:
        """Return the folder that replaces the production pins, None for production."""
        return Path(self.folder) if self.folder else None


class CardSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which reader and which driver."""

    module: str | None = None  # PKCS#11 module; absent: the native driver
    reader: str | None = None  # absent: the one reader that holds a CPS


class LockSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The screen lockers, in the order in which they are tried."""

    lockers: Annotated[tuple[Locker, ...], msgspec.Meta(min_length=1)] = ("logind", "screensaver")
    command: tuple[str, ...] = ()  # argv of the "command" locker, run as the session's user
    # After so long the next one is asked as well; the earlier may still answer.
    confirm_within_s: Annotated[float, msgspec.Meta(gt=0, le=60)] = 1.0
    # What follows when nothing has covered a screen for `end_after_s`: "hide" goes on trying, and
    # shows an empty console in its place; "end" ends the session, with whatever is not saved.
    last_resort: Literal["hide", "end"] = "hide"
    end_after_s: Annotated[float, msgspec.Meta(ge=5, le=600)] = 30.0
    on_idle: bool = True  # also when logind says that nobody uses the session
    # What follows when a locked screen opens and no card has done it; absent: "accept" where a
    # password counts everywhere, "lock-again" as soon as `pam.card_required` names a service.
    opened_without_card: Literal["lock-again", "accept"] | None = None


ServiceName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][\w.@+-]*\Z")]


class PamSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rules for PAM services."""

    # Services in which no password counts (card-required); in all others it does
    # (card-or-password). For the profile of pam-auth-update: set by `cps-auth pc setup`.
    card_required: tuple[ServiceName, ...] = ()
    # Services beside those of `pam_helper.daemon.services` that a card may answer: screen lockers
    # and login programs at this PC's own screen; and others, which open nothing.
    lockers: tuple[ServiceName, ...] = ()
    others: tuple[ServiceName, ...] = ()


class BrowserSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The browser extensions that may ask for a signature."""

    extensions: tuple[str, ...] = ()  # identifiers, besides ours and the official ones


class AuditSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The audit journal of this computer."""

    folder: str | None = None  # absent: /var/lib/cps-auth/audit
    kept_months: Annotated[int, msgspec.Meta(ge=1, le=120)] = 12

    @property
    def path(self) -> Path:
        """Return the folder."""
        return Path(self.folder) if self.folder else AUDIT_FOLDER


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file. Every part has defaults: an empty file is a valid one."""

    trust: TrustSettings = TrustSettings()
    card: CardSettings = CardSettings()
    lock: LockSettings = LockSettings()
    browser: BrowserSettings = BrowserSettings()
    pam: PamSettings = PamSettings()
    audit: AuditSettings = AuditSettings()
    language: Literal["fr", "en"] = "fr"

    @property
    def locks_again(self) -> bool:
        """Return whether a screen that was opened without a card is locked again."""
        asked = self.lock.opened_without_card
        return asked == "lock-again" if asked else bool(self.pam.card_required)


def read_settings(path: Path = CONFIG_PATH) -> Settings:
    """Read the settings file; a file that is absent means all defaults.

    Args:
        path: the TOML file.

    Returns:
        The settings.

    Raises:
        ConfigurationError: unreadable, too long, not TOML, unknown or wrongly typed setting,
            or a file that somebody other than its owner or root could have written.
    """
    try:
        content = read_protected(path, MAX_CONFIG_BYTES)
    except FileNotFoundError:
        return Settings()
    settings = decode_toml(path, content, Settings)
    if "command" in settings.lock.lockers and not settings.lock.command:
        raise ConfigurationError(
            f"{path}: lock.lockers names 'command', lock.command is empty", "wrong-setting"
        )
    return settings

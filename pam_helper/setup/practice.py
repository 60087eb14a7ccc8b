"""Answers about this PC, written to settings, unit and polkit; logins change last."""

from __future__ import annotations

import pwd
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cps_auth.errors import ConfigurationError
from cps_auth.files import as_configuration_error
from pam_helper.setup.settings_file import Setting, change_settings

POLKIT_RULE = Path("/usr/share/cps-auth/49-cps-auth-only-daemon.rules")
POLKIT_FOLDER = Path("/etc/polkit-1/rules.d")
PCSCD_ACTIONS = Path("/usr/share/polkit-1/actions/org.debian.pcsc-lite.policy")
"""There where pcscd asks polkit, as Debian 13's does."""
RESPONDERS_DROP_IN = Path("/etc/systemd/system/cps-auth.service.d/responders.conf")
UNITS = ("cps-auth.socket", "cps-auth.service")
_ANYWHERE = """# Written by `cps-auth pc setup`: trust.ocsp asks the responders of IGC-Santé.
[Service]
IPAddressAllow=any
"""
_SYSTEMD_RUNS = Path("/run/systemd/system")  # sd_booted(3)
_WITHIN_S = 60.0
_FIRST_UID, _LAST_UID = 1000, 59999
"""Of people; Debian policy 9.2.2."""


@dataclass(frozen=True, slots=True)
class Answers:
    """Answers that only the practice knows.

    Attributes:
        language: of what people read, "fr" or "en".
        required: services in which no password counts.
        grace_hours: how long a revocation list that is over still counts.
        ocsp: whether the authorities' responders are asked where no list is current.
        trust: a folder that replaces the pinned authorities, None for production.
        only_daemon: keep browsers and other programs off the cards.
        lockers, others: services beside the known ones, see `cps_auth.config.PamSettings`.
    """

    language: str
    required: tuple[str, ...] = ()
    grace_hours: float = 0
    ocsp: bool = False
    trust: Path | None = None
    only_daemon: bool = False
    lockers: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


def people() -> list[str]:
    """Return the accounts of people on this PC, in alphabetical order."""
    rows = pwd.getpwall()
    return sorted(row.pw_name for row in rows if _FIRST_UID <= row.pw_uid <= _LAST_UID)


def is_only_daemon() -> bool:
    """Return whether other programs are kept off the cards."""
    return (POLKIT_FOLDER / POLKIT_RULE.name).exists()


def write_answers(answers: Answers, config: Path) -> None:
    """Write settings, unit and polkit rule; no login changes by it.

    Args:
        answers: to all questions.
        config: the settings file.

    Raises:
        ConfigurationError: something cannot be written.
    """
    change_settings(config, _changes(answers))
    with as_configuration_error(RESPONDERS_DROP_IN):
        if answers.ocsp:
            RESPONDERS_DROP_IN.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            RESPONDERS_DROP_IN.write_text(_ANYWHERE)
        else:
            RESPONDERS_DROP_IN.unlink(missing_ok=True)
    with as_configuration_error(POLKIT_FOLDER):
        if answers.only_daemon:
            shutil.copyfile(POLKIT_RULE, POLKIT_FOLDER / POLKIT_RULE.name)
        else:
            (POLKIT_FOLDER / POLKIT_RULE.name).unlink(missing_ok=True)


def restart() -> None:
    """Have the daemon use what was written, where systemd runs.

    Raises:
        ConfigurationError: it does not start.
    """
    if not _SYSTEMD_RUNS.is_dir():
        return
    for words in (("daemon-reload",), ("start", UNITS[0]), ("restart", UNITS[1])):
        try:
            done = subprocess.run(  # noqa: S603 - fixed words, no shell
                ["systemctl", *words],  # noqa: S607 - root's PATH
                capture_output=True,
                timeout=_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigurationError(f"systemctl: {error}") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace")[:300]
            raise ConfigurationError(f"systemctl {words[0]}: {said}")


def _changes(answers: Answers) -> Mapping[Setting, object]:
    """Return the settings that differ from their defaults, None for those that do not."""
    folder = None if answers.trust is None else str(answers.trust)
    return {
        ("", "language"): answers.language,
        ("trust", "folder"): folder,
        ("trust", "grace_hours"): answers.grace_hours or None,
        ("trust", "ocsp"): answers.ocsp or None,
        ("pam", "card_required"): answers.required or None,
        ("pam", "lockers"): answers.lockers or None,
        ("pam", "others"): answers.others or None,
    }

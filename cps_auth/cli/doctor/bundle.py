"""What support needs of a PC, in one file without personal data.

No text of a finding is in it: those name people, accounts, readers and their serial numbers. What
is in it is chosen one by one; of a setting that is free text only that it is set.
"""

from __future__ import annotations

import platform
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from importlib import metadata
from pathlib import Path

import msgspec

from cps_auth.card.usb import card_readers
from cps_auth.cli.diagnostics import Finding
from cps_auth.cli.doctor.remedies import cause_of
from cps_auth.config import Settings
from cps_auth.errors import ConfigurationError

_DISTRIBUTIONS = ("cps-auth", "cryptography", "pyscard", "python-pkcs11", "msgspec", "Flask")
_OS_FACTS = ("ID", "VERSION_ID", "PRETTY_NAME")
_STATUS_WORD = re.compile(r"[0-9A-Fa-f]{4,8}")

_KNOWN_WORDS = frozenset(
    ("fr", "en", "logind", "screensaver", "command", "hide", "end", "lock-again", "accept")
)
"""Values of settings that are one of a few: no name, no path."""


def write_bundle(
    path: Path, findings: Sequence[Finding], settings: Settings, usb: Path, *, at: datetime
) -> None:
    """Write a new file for a support request.

    Args:
        path: a ZIP archive; one that exists is not replaced.
        findings: of the doctor.
        settings: of this PC.
        usb: where the kernel shows USB devices.
        at: now, aware.

    Raises:
        ConfigurationError: the file exists, or cannot be written.
    """
    parts = {
        "findings.json": [_finding(finding) for finding in findings],
        "settings.json": _without_words(msgspec.to_builtins(settings)),
        "versions.json": {"at": f"{at:%Y-%m-%d}", **dict(_versions())},
        "usb.json": [f"{one.vendor:04x}:{one.product:04x}" for one in card_readers(usb)],
    }
    try:
        with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
            for name, value in parts.items():
                archive.writestr(name, msgspec.json.format(msgspec.json.encode(value), indent=1))
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def _finding(finding: Finding) -> dict[str, object]:
    error = finding.error
    if error is None:
        return {"link": finding.link, "ok": True}
    facts = {name: value for name, value in error.data().items() if _is_no_word(name, value)}
    return {"link": finding.link, "ok": False, "code": cause_of(error), **facts}


def _is_no_word(name: str, value: object) -> bool:
    """Return whether what an error knows is a number, one of a few, or a status word."""
    if name == "status_word_hex":
        return isinstance(value, str) and _STATUS_WORD.fullmatch(value) is not None
    return isinstance(value, StrEnum) or (name == "attempts_left" and isinstance(value, int))


def _without_words(value: object) -> object:
    """Return settings with their numbers and yes or no; of any other word only that it is set."""
    if isinstance(value, Mapping):
        return {name: _without_words(one) for name, one in value.items()}
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_without_words(one) for one in value]
    return value if value in _KNOWN_WORDS else "set"


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    yield "kernel", platform.release()
    try:
        facts = platform.freedesktop_os_release()
    except OSError:
        facts = {}
    yield from ((name, facts[name]) for name in _OS_FACTS if name in facts)
    for name in _DISTRIBUTIONS:
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "absent"

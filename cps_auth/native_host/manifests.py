"""Tells the browsers of this machine where the card program is: one manifest file each.

Source: Chrome, "Native messaging host location"; Mozilla, "Native manifests", Linux.
"""

from __future__ import annotations

import enum
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cps_auth.errors import ConfigurationError
from cps_auth.native_host.caller import (
    CHROME_EXTENSIONS,
    FIREFOX_EXTENSIONS,
    OWN_CHROME,
    OWN_FIREFOX,
)

PROGRAM = "cps-auth-browser-host"
OWN_NAME = "eu.cps_auth"
WEB_EID_NAME = "eu.webeid"
"""The names that our extension and the official one call; the second may be another program's."""

_MAX_MANIFEST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Browser:
    """Where one browser looks for manifests."""

    system: Path
    user: Path  # below the home folder
    is_firefox: bool = False


BROWSERS: Mapping[str, Browser] = {
    "chromium": Browser(
        Path("/etc/chromium/native-messaging-hosts"), Path(".config/chromium/NativeMessagingHosts")
    ),
    "chrome": Browser(
        Path("/etc/opt/chrome/native-messaging-hosts"),
        Path(".config/google-chrome/NativeMessagingHosts"),
    ),
    "firefox": Browser(
        Path("/usr/lib/mozilla/native-messaging-hosts"),
        Path(".mozilla/native-messaging-hosts"),
        is_firefox=True,
    ),
}


class State(enum.Enum):
    """What is in the place of a manifest."""

    ABSENT = "absent"
    OURS = "ours"
    PROGRAM_MISSING = "program-missing"  # ours, and the program that it names is gone
    ANOTHER = "another-program"


@dataclass(frozen=True, slots=True)
class Registration:
    """One manifest of one browser."""

    browser: str
    name: str
    file: Path
    state: State


def program_path() -> Path:
    """Return where the card program of this installation is."""
    return Path(sys.prefix) / "bin" / PROGRAM


def registrations(
    *, system: bool, home: Path, program: Path, browsers: tuple[str, ...] = tuple(BROWSERS)
) -> tuple[Registration, ...]:
    """Return what is registered now.

    Args:
        system: for every user of the machine; else for one.
        home: that user's home folder.
        program: ours.
        browsers: names from BROWSERS.
    """
    return tuple(
        Registration(browser, name, file, _state(file, program))
        for browser, name, file in _places(system, home, browsers)
    )


def install(
    *,
    system: bool,
    home: Path,
    program: Path,
    browsers: tuple[str, ...] = tuple(BROWSERS),
    web_eid: bool = True,
    replace: bool = False,
) -> tuple[Registration, ...]:
    """Register the program; what another program registered stays, unless it may be replaced.

    Args:
        system, home, program, browsers: as in `registrations`.
        web_eid: under the name of the official extension too.
        replace: take the place of another program.

    Returns:
        What is registered then.

    Raises:
        ConfigurationError: the program is missing or others could change it, or a file cannot
            be written.
    """
    _check_program(program, system=system)
    for browser, name, file in _places(system, home, browsers):
        if name == WEB_EID_NAME and not web_eid:
            continue
        if _state(file, program) is State.ANOTHER and not replace:
            continue
        _write(file, _manifest(name, program, is_firefox=BROWSERS[browser].is_firefox))
    return registrations(system=system, home=home, program=program, browsers=browsers)


def uninstall(
    *, system: bool, home: Path, program: Path, browsers: tuple[str, ...] = tuple(BROWSERS)
) -> tuple[Registration, ...]:
    """Remove what `install` wrote, and nothing of another program.

    Raises:
        ConfigurationError: a file cannot be removed.
    """
    for _browser, _name, file in _places(system, home, browsers):
        if _state(file, program) in (State.OURS, State.PROGRAM_MISSING):
            try:
                file.unlink()
            except OSError as error:
                raise ConfigurationError(f"{file}: {error.strerror}") from None
    return registrations(system=system, home=home, program=program, browsers=browsers)


def _places(system: bool, home: Path, browsers: tuple[str, ...]) -> Iterator[tuple[str, str, Path]]:
    for browser in browsers:
        where = BROWSERS[browser]
        folder = where.system if system else home / where.user
        for name in (OWN_NAME, WEB_EID_NAME):
            yield browser, name, folder / f"{name}.json"


def _manifest(name: str, program: Path, *, is_firefox: bool) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "name": name,
        "description": "Signs the challenges of websites with the CPS card (cps-auth)",
        "path": str(program),
        "type": "stdio",
    }
    own_only = name == OWN_NAME
    if is_firefox:
        return manifest | {
            "allowed_extensions": [OWN_FIREFOX] if own_only else list(FIREFOX_EXTENSIONS)
        }
    extensions = (OWN_CHROME,) if own_only else CHROME_EXTENSIONS
    return manifest | {"allowed_origins": [f"chrome-extension://{each}/" for each in extensions]}


def _state(file: Path, program: Path) -> State:
    try:
        with file.open("rb") as opened:
            manifest = json.loads(opened.read(_MAX_MANIFEST_BYTES))
        path = manifest["path"]
    except FileNotFoundError:
        return State.ABSENT
    except (OSError, ValueError, KeyError, TypeError):
        return State.ANOTHER
    if path == str(program) or Path(str(path)).name == PROGRAM:
        return State.OURS if Path(str(path)).exists() else State.PROGRAM_MISSING
    return State.ANOTHER


def _check_program(program: Path, *, system: bool) -> None:
    try:
        status = program.stat()
    except OSError:
        raise ConfigurationError(f"{program}: not installed") from None
    owners = (0,) if system else (0, os.geteuid())
    if status.st_uid not in owners or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ConfigurationError(f"{program}: others could change it")


def _write(file: Path, manifest: dict[str, Any]) -> None:
    """Put the whole file in place at once: a browser never reads half of it."""
    partial = file.with_name(f".{file.name}.new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
        partial.chmod(0o644)
        partial.replace(file)
    except OSError as error:
        raise ConfigurationError(f"{file}: {error.strerror}") from None

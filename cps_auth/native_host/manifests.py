"""Registers the host with browsers: a manifest for each, and the launcher they all name.

Source: "Native messaging", location of the host's manifest, in Chrome's and in Firefox's
documentation for extensions; Debian's chromium looks in /etc/chromium.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cps_auth.errors import ConfigurationError
from cps_auth.files import as_configuration_error, make_folder, replace_file
from cps_auth.native_host.callers import (
    OURS_CHROMIUM,
    OURS_FIREFOX,
    WEB_EID_CHROMIUM,
    WEB_EID_FIREFOX,
    is_chromium_id,
    is_extension_id,
)
from cps_auth.native_host.program import ALLOW

Browser = Literal["chromium", "chrome", "firefox"]
BROWSERS: tuple[Browser, ...] = ("chromium", "chrome", "firefox")

WEB_EID_NAME = "eu.webeid"
"""The host that Web eID's official extension asks for."""

OUR_NAME = "fr.cps_auth.host"
"""The host that our own extension asks for."""

NAMES = (OUR_NAME, WEB_EID_NAME)

_SYSTEM_FOLDERS: dict[Browser, str] = {
    "chromium": "etc/chromium/native-messaging-hosts",
    "chrome": "etc/opt/chrome/native-messaging-hosts",
    "firefox": "usr/lib/mozilla/native-messaging-hosts",
}
_USER_FOLDERS: dict[Browser, str] = {
    "chromium": ".config/chromium/NativeMessagingHosts",
    "chrome": ".config/google-chrome/NativeMessagingHosts",
    "firefox": ".mozilla/native-messaging-hosts",
}
_SYSTEM_LAUNCHER = "usr/lib/cps-auth/native-host"
_USER_LAUNCHER = ".local/lib/cps-auth/native-host"
_DESCRIPTION = "cps-auth: log in with the CPS card"
_PROGRAM_MODE, _FILE_MODE = 0o755, 0o644


@dataclass(frozen=True, slots=True)
class Registration:
    """One manifest.

    Attributes:
        browser: that reads it.
        name: of the host in it.
        path: where it is, or would be.
        state: ours, another program's, broken (ours, and what it starts is gone), or absent.
    """

    browser: Browser
    name: str
    path: Path
    state: Literal["ours", "other", "broken", "absent"]


@dataclass(frozen=True, slots=True)
class Place:
    """The folders of manifests and launcher.

    Attributes:
        base: the root of the system, or the home of one person.
        is_system: for everybody on this computer.
        root: what `base` lies under, for tests and packages; not part of what is written.
    """

    base: Path
    is_system: bool
    root: Path

    @classmethod
    def of_system(cls, root: Path = Path("/")) -> Place:
        """Return the place for everybody on this computer."""
        return cls(root, is_system=True, root=root)

    @classmethod
    def of_user(cls, home: Path, root: Path = Path("/")) -> Place:
        """Return the place for one person."""
        return cls(root / home.relative_to("/"), is_system=False, root=root)

    @property
    def launcher(self) -> Path:
        """Return the program that the manifests name."""
        return self.base / (_SYSTEM_LAUNCHER if self.is_system else _USER_LAUNCHER)

    def manifest(self, browser: Browser, name: str) -> Path:
        """Return where a browser looks for a host."""
        folder = (_SYSTEM_FOLDERS if self.is_system else _USER_FOLDERS)[browser]
        return self.base / folder / f"{name}.json"

    def as_installed(self, path: Path) -> Path:
        """Return a path as it will be named on the running system."""
        return Path("/") / path.relative_to(self.root)


def look(place: Place) -> tuple[Registration, ...]:
    """Return every manifest that this program could have in a place, and what is there.

    Those of one person go before those of the system, so both are told where both are there.
    """
    here = tuple(_look(place, browser, name) for browser in BROWSERS for name in NAMES)
    return here if place.is_system else here + _behind(place)


def _behind(place: Place) -> tuple[Registration, ...]:
    everybody = look(Place.of_system(place.root))
    return tuple(one for one in everybody if one.state != "absent")


def install(
    place: Place, *, browsers: Sequence[Browser], also_allowed: Sequence[str], replace: bool
) -> tuple[Registration, ...]:
    """Write launcher and manifests. All of them or none: conflicts are looked for first.

    Args:
        place: where.
        browsers: which.
        also_allowed: identifiers of further extensions, such as a build of one's own.
        replace: another program's manifest is put aside, until `uninstall`.

    Returns:
        What is registered now.

    Raises:
        ConfigurationError: not an extension's identifier; another program's manifest is there and
            `replace` is not set, also where it is the system's and ours would only go before it;
            a file cannot be written.
    """
    strange = [name for name in also_allowed if not is_extension_id(name)]
    if strange:
        raise ConfigurationError(f"not the identifier of an extension: {', '.join(strange)}")
    found = [one for one in look(place) if one.browser in browsers]
    taken = [str(one.path) for one in found if one.state == "other"]
    if taken and not replace:
        raise ConfigurationError(f"another program is registered: {', '.join(taken)}")
    launcher = str(place.as_installed(place.launcher))
    _write(place.launcher, _launcher_text(also_allowed), _PROGRAM_MODE)
    for one in found:
        if one.path != place.manifest(one.browser, one.name):
            continue  # the system's: browsers look at this person's first
        if one.state == "other":
            one.path.replace(_aside(one.path))
        manifest = _manifest(one.browser, one.name, launcher, also_allowed)
        _write(one.path, json.dumps(manifest, indent=2) + "\n", _FILE_MODE)
    return look(place)


def uninstall(place: Place) -> tuple[Registration, ...]:
    """Remove our manifests and the launcher; what belongs to others stays, or is put back.

    Returns:
        What was removed.

    Raises:
        ConfigurationError: a file cannot be removed.
    """
    ours = tuple(
        one
        for one in look(place)
        if one.state in ("ours", "broken") and one.path == place.manifest(one.browser, one.name)
    )
    try:
        for one in ours:
            one.path.unlink()
            if _aside(one.path).exists():
                _aside(one.path).replace(one.path)
        place.launcher.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
    return ours


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ".before-cps-auth")


def _look(place: Place, browser: Browser, name: str) -> Registration:
    path = place.manifest(browser, name)
    try:
        manifest = json.loads(path.read_bytes())
        target = manifest["path"]
    except FileNotFoundError:
        return Registration(browser, name, path, "absent")
    except (OSError, ValueError, TypeError, KeyError):
        return Registration(browser, name, path, "other")
    if target != str(place.as_installed(place.launcher)):
        return Registration(browser, name, path, "other")
    works = os.access(place.launcher, os.X_OK)
    return Registration(browser, name, path, "ours" if works else "broken")


def _manifest(
    browser: Browser, name: str, launcher: str, also_allowed: Sequence[str]
) -> dict[str, Any]:
    manifest: dict[str, Any] = {
        "name": name,
        "description": _DESCRIPTION,
        "path": launcher,
        "type": "stdio",
    }
    extensions = [*_official_or_ours(browser, name)]
    if browser == "firefox":
        extensions += [one for one in also_allowed if not is_chromium_id(one)]
        return manifest | {"allowed_extensions": extensions}
    extensions += [one for one in also_allowed if is_chromium_id(one)]
    return manifest | {"allowed_origins": [f"chrome-extension://{one}/" for one in extensions]}


def _official_or_ours(browser: Browser, name: str) -> tuple[str, ...]:
    if name == WEB_EID_NAME:
        return WEB_EID_FIREFOX if browser == "firefox" else WEB_EID_CHROMIUM
    return OURS_FIREFOX if browser == "firefox" else OURS_CHROMIUM


def _launcher_text(also_allowed: Sequence[str]) -> str:
    """Return the launcher: this very interpreter, closed to the environment's Python settings."""
    options = _allow(also_allowed)
    command = shlex.join([sys.executable, "-I", "-m", "cps_auth.native_host", *options])
    lines = ("#!/bin/sh", "# Started by browsers; written by `cps-auth browser install`.")
    return "\n".join((*lines, f'exec {command} "$@"', ""))


def _allow(also_allowed: Sequence[str]) -> Iterator[str]:
    for extension in also_allowed:
        yield from (ALLOW, extension)


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file in whole: a browser that looks meanwhile sees the old one or the new one."""
    with as_configuration_error(path):
        make_folder(path.parent)
        replace_file(path, text.encode(), mode=mode)

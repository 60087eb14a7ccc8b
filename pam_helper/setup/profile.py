"""Switches the card login on and off wherever the password is asked for: pam-auth-update(8)."""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path

from cps_auth.errors import ConfigurationError
from cps_auth.files import as_configuration_error, replace_file
from pam_helper.daemon.services import seat_services
from pam_helper.setup import stack_trial

TOOL = Path("/usr/sbin/pam-auth-update")
PROFILES = Path("/usr/share/pam-configs")
CARD, CARD_REQUIRED = "cps-auth", "cps-auth-required"
"""The package's profile, and ours beside it where no password counts in some services."""
MODULE = "pam_cps.so"
COMMON_AUTH = "common-auth"
_OWN_STACKS = frozenset(("cps-auth", "cps-auth-or-password"))
STACK_FOLDERS = (Path("/etc/pam.d"), Path("/usr/lib/pam.d"))
_WITHIN_S = 120.0


def installed_services() -> tuple[str, ...]:
    """Return the login services that this PC has, in alphabetical order."""
    found = {path.name for folder in STACK_FOLDERS for path in folder.glob("*")}
    return tuple(sorted(found & seat_services() - {COMMON_AUTH}))


def under(root: Path, path: Path) -> Path:
    """Return where a file of the system is when another folder stands for /."""
    return root / path.relative_to("/")


def services_that_use_us(root: Path = Path("/")) -> set[str]:
    """Return the PAM services that name our stacks or module.

    Args:
        root: the folder that stands for /.
    """
    found = set()
    for path in under(root, STACK_FOLDERS[0]).glob("*"):
        if path.name in _OWN_STACKS or not path.is_file():
            continue
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:  # one that this user may not read
            continue
        used = [line for line in lines if not line.lstrip().startswith("#")]
        if any("cps-auth" in line or MODULE in line for line in used):
            found.add(path.name)
    return found


def required_profile(services: tuple[str, ...]) -> bytes:
    """Return the profile that ends in a refusal for some services, directly after the card's."""
    return (
        "Name: CPS card: services in which no password counts\n"
        "Default: no\nPriority: 299\nAuth-Type: Primary\nAuth:\n"
        f"\t[success=1 default=ignore] pam_succeed_if.so quiet service notin {':'.join(services)}\n"
        "\trequisite pam_deny.so\n"
    ).encode()


def is_required(services: tuple[str, ...], root: Path = Path("/")) -> bool:
    """Return whether exactly these services end in a refusal here.

    Args:
        services: all of them.
        root: the folder that stands for /.
    """
    path = under(root, PROFILES) / CARD_REQUIRED
    if not services:
        return not path.exists()
    with contextlib.suppress(OSError):
        return path.read_bytes() == required_profile(services) and all(
            line.strip() in _common_auth_lines(root)
            for line in path.read_text().split("Auth:\n")[1].splitlines()
        )
    return False


def switch_on(required: tuple[str, ...]) -> None:
    """Try the lines that ask for the card aside, then use them; the logins change last.

    Args:
        required: services in which no password counts.

    Raises:
        ConfigurationError: the lines are not safe, or the tool did not use them; then they are
            switched off again.
    """
    stack_trial.try_lines(_lines_of(CARD))
    path = PROFILES / CARD_REQUIRED
    if required:
        with as_configuration_error(path):
            replace_file(path, required_profile(required))
    elif path.exists():
        _run("--package", "--remove", CARD_REQUIRED)
        path.unlink()
    try:
        _run("--enable", CARD, *([CARD_REQUIRED] if required else []))
    finally:
        if not _is_on() or not is_required(required):
            switch_off()
    if not _is_on():
        raise ConfigurationError(
            "pam-auth-update leaves common-auth as it is: it was changed by hand"
        )


def switch_off() -> None:
    """Use neither profile any more.

    Raises:
        ConfigurationError: the tool failed, or left them in use.
    """
    _run("--package", "--remove", CARD, CARD_REQUIRED)
    (PROFILES / CARD_REQUIRED).unlink(missing_ok=True)
    if _is_on():
        raise ConfigurationError("pam-auth-update left the profile in use")


def _is_on() -> bool:
    return any(MODULE in line for line in _common_auth_lines())


def _common_auth_lines(root: Path = Path("/")) -> list[str]:
    """Return the lines of common-auth as a profile has them."""
    lines = (under(root, STACK_FOLDERS[0]) / COMMON_AUTH).read_text(errors="replace").splitlines()
    return [line.removeprefix("auth").strip() for line in lines if line.startswith("auth")]


def _lines_of(profile: str) -> list[str]:
    try:
        text = (PROFILES / profile).read_text()
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
    return [line.strip() for line in text.split("Auth:\n")[1].splitlines()]


def _run(*arguments: str) -> None:
    environment = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            [str(TOOL), *arguments],
            env={"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"), **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"pam-auth-update: {error}") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace")[:500]
        raise ConfigurationError(f"pam-auth-update ended with {done.returncode}: {said}")

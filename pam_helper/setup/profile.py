"""Switches our profile of pam-auth-update(8) on and off, with no other trace on the system.

debconf works on private copies of its database meanwhile: the tool keeps its own record of
profiles in /var/lib/pam, and debconf's backups would be the one thing that stays different.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from cps_auth.errors import ConfigurationError

TOOL = "usr/sbin/pam-auth-update"
PROFILE_NAME = "cps-auth"
_WITHIN_S = 120.0
_COMMON_AUTH = "etc/pam.d/common-auth"
_DEBCONF = """Config: configdb
Templates: templatedb

Name: configdb
Driver: File
Filename: {0}/config.dat

Name: templatedb
Driver: File
Filename: {0}/templates.dat
"""


def is_there(root: Path) -> bool:
    """Whether the system has pam-auth-update (Debian and its descendants)."""
    return (root / TOOL).is_file()


def is_on(root: Path) -> bool:
    """Whether our profile is part of the system's logins."""
    with contextlib.suppress(OSError):
        text = (root / _COMMON_AUTH).read_text()
        return "pam_cps.so" in text or "cps-auth-pam" in text
    return False


def preview(root: Path, profile: bytes) -> str:
    """Return the change of common-auth as a unified diff, made in a private copy.

    Args:
        root: "/" or the root folder of another system.
        profile: our profile's content.

    Raises:
        ConfigurationError: the tool cannot be run or does not use the profile.
    """
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name)
        for folder in ("etc/pam.d", "var/lib/pam", "usr/share/pam-configs"):
            if (root / folder).is_dir():
                shutil.copytree(root / folder, copy / folder, symlinks=True)
        (copy / "usr/share/pam-configs" / PROFILE_NAME).write_bytes(profile)
        _run(root, Path("/"), "--root", name, "--enable", PROFILE_NAME)
        if not is_on(copy):
            raise ConfigurationError(
                "pam-auth-update leaves common-auth as it is: it was changed by hand"
            )
        before = (root / _COMMON_AUTH).read_text().splitlines(keepends=True)
        after = (copy / _COMMON_AUTH).read_text().splitlines(keepends=True)
    return "".join(difflib.unified_diff(before, after, f"/{_COMMON_AUTH}", f"/{_COMMON_AUTH}"))


def switch_on(root: Path) -> None:
    """Use our profile, which is in its place.

    Raises:
        ConfigurationError: the tool failed; what it had changed is switched off again.
    """
    try:
        _run(root, root, "--enable", PROFILE_NAME)
    finally:
        if not is_on(root):
            switch_off(root)
    if not is_on(root):
        raise ConfigurationError("pam-auth-update did not use the profile")


def switch_off(root: Path) -> None:
    """Use our profile no more; it is still in its place.

    Raises:
        ConfigurationError: the tool failed, or left the profile in use.
    """
    _run(root, root, "--package", "--remove", PROFILE_NAME)
    if is_on(root):
        raise ConfigurationError("pam-auth-update left the profile in use")


def _run(tool_root: Path, chroot: Path, *arguments: str) -> None:
    """Run the tool in a system, or (for a private copy) this system's tool on that."""
    with _private_debconf(tool_root, chroot) as environment:
        command = [f"/{TOOL}", *arguments]
        if chroot != Path("/"):
            command = ["chroot", str(chroot), *command]
        try:
            done = subprocess.run(  # noqa: S603 - fixed words, no shell
                command,
                env=environment,
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


@contextlib.contextmanager
def _private_debconf(root: Path, chroot: Path) -> Iterator[Mapping[str, str]]:
    """Copy debconf's database, and give the environment in which it uses the copy."""
    with tempfile.TemporaryDirectory(dir=chroot / "tmp", prefix="cps-auth-") as name:
        folder = Path(name)
        for database in ("config.dat", "templates.dat"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(root / "var/cache/debconf" / database, folder / database)
        inside = Path("/", folder.relative_to(chroot))
        (folder / "debconf.conf").write_text(_DEBCONF.format(inside))
        yield {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "DEBCONF_SYSTEMRC": str(inside / "debconf.conf"),
        }

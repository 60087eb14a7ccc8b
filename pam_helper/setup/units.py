"""Switches our units off before they are taken away: what `systemctl enable` left is a link."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from cps_auth.errors import ConfigurationError

UNITS = ("cps-auth.socket", "cps-auth.service")
UNIT_FOLDER = "etc/systemd/system"
_RUNNING = Path("/run/systemd/system")  # sd_booted(3)
_WITHIN_S = 60.0


def enabled_links(root: Path) -> list[Path]:
    """Return the links by which a system starts our units."""
    # Not globbed: a glob leaves out a link whose end is below another root.
    folders = sorted((root / UNIT_FOLDER).glob("*.wants"))
    links = (folder / unit for folder in folders for unit in UNITS)
    return [link for link in links if link.is_symlink()]


def switch_off(root: Path) -> None:
    """Stop what runs on this system, and start it no more on any.

    Args:
        root: "/" or the root folder of another system.

    Raises:
        ConfigurationError: systemd did not, or a link cannot be removed.
    """
    if root == Path("/"):
        _systemctl("disable", "--now", *UNITS)
    try:
        for link in enabled_links(root):
            link.unlink()
            with contextlib.suppress(OSError):  # in use by others
                link.parent.rmdir()
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from None


def forget(root: Path) -> None:
    """Have systemd read its units again, now that ours are gone.

    Raises:
        ConfigurationError
    """
    if root == Path("/"):
        _systemctl("daemon-reload")


def _systemctl(*arguments: str) -> None:
    """Ask systemd, where it runs."""
    if not _RUNNING.is_dir():
        return
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            ["systemctl", *arguments],  # noqa: S607 - root's PATH
            capture_output=True,
            timeout=_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"systemctl: {error}") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace")[:300]
        raise ConfigurationError(f"systemctl {arguments[0]}: {said}")

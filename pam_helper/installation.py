"""Puts the PAM side, the service and the settings on a system, and takes exactly them away.

It does not touch any existing PAM service: an administrator includes /etc/pam.d/cps-auth where
it is wanted. A file that somebody changed is neither overwritten nor removed.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cps_auth.errors import ConfigurationError

SHARE = Path(__file__).parent / "share"


@dataclass(frozen=True, slots=True)
class InstalledFile:
    """One file of the installation.

    Attributes:
        place: absolute path on the system.
        content: what it holds as we install it.
        mode: permission bits.
        is_settings: the administrator's own once it is there; another content is fine.
    """

    place: str
    content: bytes
    mode: int = 0o644
    is_settings: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done, or would be."""

    what: str  # "create", "remove", "keep"
    place: str
    why: str = ""


def installed_files(python: str = sys.executable) -> tuple[InstalledFile, ...]:
    """Return every file of the installation.

    Args:
        python: the interpreter in which this package is installed.
    """
    unit = (SHARE / "systemd" / "cps-auth.service").read_text().replace("@PYTHON@", python)
    return (
        InstalledFile(
            "/usr/lib/cps-auth/cps-auth-pam", (SHARE / "cps-auth-pam").read_bytes(), 0o755
        ),
        InstalledFile("/etc/pam.d/cps-auth", (SHARE / "pam.d" / "cps-auth").read_bytes()),
        InstalledFile("/etc/systemd/system/cps-auth.service", unit.encode()),
        InstalledFile(
            "/etc/cps-auth/config.toml", (SHARE / "config.toml").read_bytes(), is_settings=True
        ),
    )


def install(root: Path, *, dry_run: bool) -> list[Step]:
    """Create what is missing. All is checked first: nothing is done if anything is in the way.

    Args:
        root: "/" or the root folder of another system.
        dry_run: only say what would be done.

    Returns:
        The steps, in order.

    Raises:
        ConfigurationError: a file is there with another content, or cannot be written.
    """
    steps = [_install_step(root, file) for file in installed_files()]
    if not dry_run:
        for file, step in zip(installed_files(), steps, strict=True):
            if step.what == "create":
                _create(_below(root, file.place), file)
    return steps


def uninstall(root: Path, *, dry_run: bool) -> list[Step]:
    """Remove what `install` created and nobody changed, and the folders that are empty then.

    Args:
        root: "/" or the root folder of another system.
        dry_run: only say what would be done.

    Returns:
        The steps, in order.

    Raises:
        ConfigurationError: a file cannot be read or removed.
    """
    steps = [step for file in installed_files() for step in _removal_steps(root, file)]
    if not dry_run:
        with _as_configuration_error(root):
            for step in steps:
                if step.what == "remove":
                    _below(root, step.place).unlink()
            for file in installed_files():
                with contextlib.suppress(OSError):  # in use by others, or not there
                    _own_folder(root, file).rmdir()
    return steps


def _below(root: Path, place: str) -> Path:
    return root / place.lstrip("/")


def _own_folder(root: Path, file: InstalledFile) -> Path:
    """Return the file's folder where it is ours; a folder that is not there otherwise."""
    folder = _below(root, file.place).parent
    return folder if folder.name == "cps-auth" else folder / "cps-auth"


def _install_step(root: Path, file: InstalledFile) -> Step:
    with _as_configuration_error(root):
        there = _content(_below(root, file.place))
    if there is None:
        return Step("create", file.place)
    if there == file.content or file.is_settings:
        return Step("keep", file.place, "is there")
    raise ConfigurationError(f"{file.place} is there with another content; nothing was done")


def _removal_steps(root: Path, file: InstalledFile) -> Iterator[Step]:
    with _as_configuration_error(root):
        there = _content(_below(root, file.place))
    if there == file.content:
        yield Step("remove", file.place)
    elif there is not None:
        yield Step("keep", file.place, "was changed")


def _content(path: Path) -> bytes | None:
    """Return a file's content, None where there is nothing; a symbolic link is not ours."""
    if path.is_symlink():
        raise ConfigurationError(f"{path} is a symbolic link; nothing was done")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _create(path: Path, file: InstalledFile) -> None:
    with _as_configuration_error(path):
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as new:
            try:
                new.write(file.content)
                new.flush()
                os.fchmod(new.fileno(), file.mode)
                os.fsync(new.fileno())
                Path(new.name).rename(path)
            except BaseException:
                Path(new.name).unlink()
                raise


@contextlib.contextmanager
def _as_configuration_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or path
        raise ConfigurationError(f"{where}: {error.strerror}") from None

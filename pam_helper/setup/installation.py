"""Puts the PAM side, the service and the settings on a system, and takes exactly them away.

All is planned and checked first. Files come before anything that uses them, and every one is
whole or not there: whatever an interruption leaves, the PAM services of the system are as they
were. A file that somebody changed is neither overwritten nor removed.
"""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cps_auth.errors import ConfigurationError
from cps_auth.files import as_configuration_error, unfinished
from pam_helper.setup.manifest import PLACE, Manifest, read_manifest, sha256_hex, write_manifest
from pam_helper.setup.system_files import InstalledFile

_SUFFIX = "~"
"""Of a file that is not whole yet: neither PAM nor pam-auth-update reads such a name."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was done, or would be."""

    what: str  # "create", "update", "remove", "keep"
    place: str
    why: str = ""
    diff: str = ""  # unified, for text


def plan(root: Path, files: Sequence[InstalledFile]) -> list[Step]:
    """Return what `install` would do; nothing is changed.

    Raises:
        ConfigurationError: a file is in the way, or unreadable.
    """
    manifest = read_manifest(root)
    return [_install_step(root, file, manifest) for file in files]


def install(
    root: Path, files: Sequence[InstalledFile], after_step: Callable[[str], None] = lambda _: None
) -> list[Step]:
    """Write what is missing or older. All is checked first.

    Args:
        root: "/" or the root folder of another system.
        files: from `planned_files`.
        after_step: is told the name of each step that is on disk.

    Returns:
        The steps, in order.

    Raises:
        ConfigurationError: a file is in the way, or cannot be written.
    """
    steps = plan(root, files)
    new = [file for file, step in zip(files, steps, strict=True) if step.what != "keep"]
    if not new:
        return steps
    with as_configuration_error(root):
        manifest = _begin(root, new)
        for file in new:
            after_step(f"about to write {file.place}")
            _write(below(root, file.place), file)
            after_step(f"wrote {file.place}")
    manifest.files |= {file.place: (sha256_hex(file.content),) for file in new}
    write_manifest(root, manifest)
    return steps


def _begin(root: Path, new: Sequence[InstalledFile]) -> Manifest:
    """Write down what will be there, then make its folders."""
    own = below(root, str(Path(PLACE).parent))
    own.mkdir(mode=0o700, parents=True, exist_ok=True)
    manifest = read_manifest(root)
    for file in new:
        earlier = manifest.files.get(file.place, ())
        manifest.files[file.place] = (*earlier, sha256_hex(file.content))
    places = {str(folder) for file in new for folder in Path(file.place).parents}
    missing = sorted(place for place in places if not below(root, place).exists())
    manifest.folders = tuple(dict.fromkeys((*manifest.folders, *missing)))
    write_manifest(root, manifest)
    for place in missing:
        below(root, place).mkdir(mode=0o755)
    return manifest


def uninstall(
    root: Path, *, dry_run: bool = False, after_step: Callable[[str], None] = lambda _: None
) -> list[Step]:
    """Remove what `install` wrote and nobody changed, and the folders that it made.

    Args:
        root: "/" or the root folder of another system.
        dry_run: only say what would be done.
        after_step: as for `install`.

    Returns:
        The steps, in order.

    Raises:
        ConfigurationError: a file cannot be read or removed.
    """
    manifest = read_manifest(root)
    steps = [step for place in manifest.files for step in _removal_steps(root, place, manifest)]
    if not dry_run:
        with as_configuration_error(root):
            _remove(root, steps, manifest, after_step)
    return steps


def below(root: Path, place: str) -> Path:
    """Return where a place of a system is, seen from here."""
    return root / place.lstrip("/")


def _install_step(root: Path, file: InstalledFile, manifest: Manifest) -> Step:
    with as_configuration_error(root):
        there = _content(below(root, file.place))
    if there is None:
        return Step("create", file.place, diff=_diff(file.place, b"", file.content))
    if there == file.content or file.is_settings:
        return Step("keep", file.place, "is there")
    if manifest.wrote(file.place, there):
        return Step("update", file.place, diff=_diff(file.place, there, file.content))
    raise ConfigurationError(f"{file.place} is there with another content; nothing was done")


def _diff(place: str, before: bytes, after: bytes) -> str:
    """Return a unified diff, or the size of what is no text."""
    try:
        old, new = before.decode().splitlines(True), after.decode().splitlines(True)
    except UnicodeDecodeError:
        return f"{len(after)} bytes, SHA-256 {sha256_hex(after)}\n"
    return "".join(difflib.unified_diff(old, new, place if before else "/dev/null", place))


def _removal_steps(root: Path, place: str, manifest: Manifest) -> Iterator[Step]:
    with as_configuration_error(root):
        there = _content(below(root, place))
    if there is None:
        return
    if manifest.wrote(place, there):
        yield Step("remove", place)
    else:
        yield Step("keep", place, "was changed")


def _remove(
    root: Path, steps: list[Step], manifest: Manifest, after_step: Callable[[str], None]
) -> None:
    for place in manifest.files:
        with contextlib.suppress(FileNotFoundError):
            _partial(below(root, place)).unlink()
    for step in steps:
        if step.what == "remove":
            below(root, step.place).unlink()
            after_step(f"removed {step.place}")
    for folder in sorted(manifest.folders, reverse=True):
        with contextlib.suppress(OSError):  # in use by others, or not there
            below(root, folder).rmdir()
    manifest_place = below(root, PLACE)
    for path in (*unfinished(manifest_place), manifest_place):
        path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # holds what was enrolled, or is not there
        manifest_place.parent.rmdir()


def _partial(path: Path) -> Path:
    return path.with_name(path.name + _SUFFIX)


def _content(path: Path) -> bytes | None:
    """Return a file's content, None where there is nothing; a symbolic link is not ours."""
    if path.is_symlink():
        raise ConfigurationError(f"{path} is a symbolic link; nothing was done")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write(path: Path, file: InstalledFile) -> None:
    new = _partial(path)
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as writing:
        writing.write(file.content)
        writing.flush()
        os.fchmod(descriptor, file.mode)
        os.fsync(descriptor)
    new.replace(path)

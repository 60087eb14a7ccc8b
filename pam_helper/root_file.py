"""Small files of root's that are replaced whole: the old content or the new one, never half."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from cps_auth.errors import ConfigurationError


def replace_file(
    path: Path, content: bytes, mode: int = 0o600, *, outlives_power: bool = True
) -> None:
    """Put a whole new file in the old one's place.

    Args:
        path: the file; its folder exists.
        content: all of it.
        mode: permission bits.
        outlives_power: whether it is on disk before it is seen, which a busy disk makes long.

    Raises:
        ConfigurationError: it cannot be written; the old one is there, as it was.
    """
    new = unfinished(path)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(new, flags, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if outlives_power:
                os.fsync(file.fileno())
        new.replace(path)
        if outlives_power:
            _sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise ConfigurationError(f"{path}: {error.strerror}") from None


def unfinished(path: Path) -> Path:
    """Return where the new content of a file is until it is whole; a power cut may leave it."""
    return path.with_name(f".{path.name}.new")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Keep every other process out while a file is read, changed and replaced.

    The lock is a file beside it that only root can open, and that is gone afterwards.

    Args:
        path: the file; its folder exists.

    Raises:
        ConfigurationError: the lock cannot be taken.
    """
    place = path.with_name(f".{path.name}.lock")
    lock = _locked(place)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            place.unlink()
        os.close(lock)


def _locked(place: Path) -> int:
    """Return the locked descriptor of the file that is in place, not of one that was unlinked."""
    while True:
        lock = -1
        try:
            lock = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            if os.fstat(lock).st_nlink:
                return lock
        except OSError as error:
            if lock >= 0:
                os.close(lock)
            raise ConfigurationError(f"{place}: {error.strerror}") from None
        os.close(lock)

"""Files that decide who gets in: their owner and mode, how they are read, replaced and locked."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cps_auth.errors import ConfigurationError

FileVersion = tuple[int, ...]
"""Times of change, size and inode of a file; empty for none, which is never current."""


def ownership_fault(status: os.stat_result) -> str | None:
    """Return how somebody else than root and this process's user could have written a file.

    Args:
        status: of the file or folder itself.

    Returns:
        Technical words, None where nobody could.
    """
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return "not a regular file"
    if status.st_uid not in (0, os.geteuid()):
        return f"owned by uid {status.st_uid}, not by root"
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return "writable by group or others"
    return None


def is_protected(path: Path, *, writable: bool = False) -> bool:
    """Return whether nobody but root or this process's user could have written a file.

    Args:
        path: a regular file or a folder; a symbolic link is not followed.
        writable: whether we have to own it, too.
    """
    try:
        status = path.lstat()
    except OSError:
        return False
    is_ours = status.st_uid == os.geteuid() or not writable
    return is_ours and ownership_fault(status) is None


def read_protected(path: Path, max_bytes: int) -> bytes:
    """Read a file that decides about trust or accounts.

    Args:
        path: the file.
        max_bytes: the most that it may hold.

    Returns:
        Its bytes.

    Raises:
        FileNotFoundError: there is none.
        ConfigurationError: not a regular file, owned by another than root or this process's
            user, writable by group or others, too long, or unreadable.
    """
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            check_protected(path, status)
            # One byte more than it has, or may have: a buffer as long as the limit takes time
            content = file.read(min(status.st_size, max_bytes) + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        cause = "not-readable" if isinstance(error, PermissionError) else ""
        raise ConfigurationError(f"{path}: {error.strerror}", cause) from None
    if len(content) > max_bytes:
        raise ConfigurationError(f"{path}: longer than {max_bytes} bytes")
    if len(content) > status.st_size:
        raise ConfigurationError(f"{path}: written to while it was read")
    return content


def check_protected(path: Path, status: os.stat_result) -> None:
    """Refuse a file that somebody else than root and this process's user could have written.

    Args:
        path: for the words of the refusal.
        status: of the file.

    Raises:
        ConfigurationError: somebody could, or it is not a regular file.
    """
    fault = ownership_fault(status) if stat.S_ISREG(status.st_mode) else "not a regular file"
    if fault is not None:
        raise ConfigurationError(f"{path}: {fault}", "others-could-write")


def replace_file(
    path: Path, content: bytes, *more: Iterable[bytes], mode: int = 0o644, durable: bool = True
) -> None:
    """Replace a file whole: a reader sees the old one or the new one, even after a crash.

    Args:
        path: in a folder that exists.
        content, more: what it will hold.
        mode: permission bits, whatever the umask.
        durable: whether it is on disk before it is seen, which takes long on a busy disk.

    Raises:
        OSError: it could not be written; the old one is still there.
    """
    import tempfile  # here: who only reads does without what it imports

    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            for parts in more:
                file.writelines(parts)
            file.flush()
            os.fchmod(file.fileno(), mode)
            if durable:
                os.fsync(file.fileno())
        Path(name).replace(path)
        if durable:
            _sync_folder(path.parent)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def write_protected(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Replace a file that only its owner may read: accounts, codes, who opened which session.

    Args:
        path, content, durable: as for `replace_file`.

    Raises:
        ConfigurationError: it could not be written; the old one is still there.
    """
    with as_configuration_error(path):
        replace_file(path, content, mode=0o600, durable=durable)


def unfinished(path: Path) -> list[Path]:
    """Return what `replace_file` left beside a file when the power went in the middle."""
    return sorted(path.parent.glob(f".{path.name}.*.new"))


def make_folder(folder: Path, mode: int = 0o755) -> None:
    """Make a folder, and those above it, with this mode whatever the umask.

    Args:
        folder: one that exists is left as it is.
        mode: permission bits.

    Raises:
        OSError: it cannot be made.
    """
    if folder.is_dir():
        return
    make_folder(folder.parent, mode)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
        folder.chmod(mode)


@contextmanager
def locked(path: Path, *, stays: bool = False) -> Iterator[None]:
    """Keep other processes of this user out of a block; waits for them.

    Args:
        path: of the lock, made if it is not there and gone afterwards. Only its owner can open
            it: whoever can read a file can lock it for ever.
        stays: whether the file is left there, which makes the next lock cheaper.

    Raises:
        OSError: it cannot be made or opened.
    """
    handle = _lock(path)
    try:
        yield
    finally:
        if not stays:
            with contextlib.suppress(OSError):
                path.unlink()
        os.close(handle)


@contextmanager
def locked_for_update(path: Path) -> Iterator[None]:
    """Keep other processes out while a file is read, changed and replaced.

    Args:
        path: the file; the lock is beside it.

    Raises:
        ConfigurationError: the lock cannot be taken.
    """
    with contextlib.ExitStack() as held:
        with as_configuration_error(path):
            held.enter_context(locked(path.with_name(f".{path.name}.lock")))
        yield


@contextmanager
def as_configuration_error(path: Path) -> Iterator[None]:
    """Turn the system's refusal inside a block into one that names the file.

    Raises:
        ConfigurationError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise ConfigurationError(f"{error.filename or path}: {error.strerror}") from None


def version_of(path: str | Path) -> FileVersion:
    """Return what changes when a file does; empty when it is not there."""
    try:
        status = os.stat(path)  # noqa: PTH116, a third of the time of Path.stat, each judgement
    except OSError:
        return ()
    return (status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock(path: Path) -> int:
    """Return the locked descriptor of the file that is in place, not of one that was unlinked."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(handle, 0o600)
            fcntl.flock(handle, fcntl.LOCK_EX)
            if os.fstat(handle).st_nlink:
                return handle
        except OSError:
            os.close(handle)
            raise
        os.close(handle)

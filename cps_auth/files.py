"""Files that decide about trust: who could have written them, and how they are replaced."""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def is_protected(path: Path, *, writable: bool = False) -> bool:
    """Return whether nobody but root or this process's user could have written this.

    Args:
        path: a regular file or a folder; a symbolic link is not followed.
        writable: whether we have to own it, too.
    """
    try:
        status = path.lstat()
    except OSError:
        return False
    owners = (os.geteuid(),) if writable else (0, os.geteuid())
    is_plain = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    open_to_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return is_plain and status.st_uid in owners and not open_to_others


def replace_file(path: Path, content: bytes, *more: Iterable[bytes]) -> None:
    """Write a file so that a reader sees the old one or the new one, whole, even after a crash.

    Args:
        path: in a folder that exists.
        content, more: what it will hold; readable by everybody.

    Raises:
        OSError: it could not be written; the old one is still there.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            for parts in more:
                file.writelines(parts)
            os.fchmod(file.fileno(), 0o644)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep other processes of this user from what is done meanwhile; waits for them.

    Args:
        path: of the lock, made if it is not there. Only its owner can open it: whoever can read
            a file can lock it for ever.

    Raises:
        OSError: it cannot be made or opened.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(handle, 0o600)
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

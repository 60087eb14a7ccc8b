"""The head of an audit journal: its own note of it, and what its last file says."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from cps_auth.audit.chain import BEGINNING, digest_of, next_key, read_line

HEAD = "head.json"

_TAIL_BYTES = 16 * 1024  # a line is under 4 KB


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """The journal's own note of its end: written after the lines are on disk.

    Attributes:
        n: of the last line.
        digest: of that whole line.
        key_hex: of line `n + 1`; empty while the journal is not sealed.
    """

    n: int = 0
    digest: str = BEGINNING
    key_hex: str = ""


def journal_files(folder: Path) -> list[Path]:
    """Return the files of a journal, oldest first."""
    return sorted(folder.glob("audit-*.jsonl"))


def read_head(folder: Path) -> Head | None:
    """Return a journal's note of its end; None where it is gone, or unreadable."""
    try:
        return msgspec.json.decode((folder / HEAD).read_bytes(), type=Head)
    except (OSError, msgspec.MsgspecError):
        return None


def last_line(file: Path) -> bytes:
    """Return the last whole line of a file, empty when there is none."""
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - _TAIL_BYTES))
        lines = opened.read().split(b"\n")
    return lines[-2] if len(lines) > 1 else b""


def cut_torn_line(file: Path) -> tuple[int, bytes]:
    """Cut off a last line that has no end. Return its size and the last whole line."""
    with file.open("r+b") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - _TAIL_BYTES))
        lines = opened.read().split(b"\n")
        torn_bytes = len(lines[-1])
        if torn_bytes:
            opened.truncate(size - torn_bytes)
    return torn_bytes, lines[-2] if len(lines) > 1 else b""


def follow(noted: Head, last: bytes) -> Head:
    """Return the end of a journal whose note may be older: keys are made up to it."""
    try:
        n = read_line(last).line.n
    except ValueError:  # verification tells; writing goes on behind it
        return Head(noted.n + 1, digest_of(last), noted.key_hex)
    key = bytes.fromhex(noted.key_hex)
    for _ in range(noted.n, n) if key else ():
        key = next_key(key)
    return Head(n, digest_of(last), key.hex())


def synchronise(file: Path) -> None:
    """Wait until a file's lines are on the disk."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)

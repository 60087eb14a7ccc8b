"""The index of a list on disk: built once, mapped by every process, never parsed again.

    magic | length of the header, 4 bytes | header, JSON | records, sorted

It holds only lists whose signature was verified, and names the key that did it. Who could
write an index could make revoked cards valid: one that others than root or this process's user
could have written is not looked at.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import msgspec

from cps_auth.files import FileVersion, is_protected, replace_file
from cps_auth.pki.revocation.crl_entries import DATE_WIDTH, Entries
from cps_auth.pki.revocation.crl_header import Form

FOLDER = "index"
"""Below the folder of the lists."""

_MAGIC = b"CPSCRL01"
_HEADER_MAX_BYTES = 64 * 1024


class Header(msgspec.Struct, frozen=True):
    """What an index says of its list.

    Attributes:
        source: version of the list's file when it was read.
        key_sha256_hex: of the SubjectPublicKeyInfo that verified the signature.
    """

    source: FileVersion
    key_sha256_hex: str
    form: Form
    count: int
    serial_width: int
    numbers: tuple[str | None, str | None] = (None, None)  # of up to 20 octets: not for JSON


def write_index(file: Path, header: Header, entries: Entries) -> bool:
    """Write an index next to its list, if the folder is ours. Return whether it was written.

    Args:
        file: of the list.
        header: with the key that verified the list.
        entries: of the list.
    """
    folder = file.parent / FOLDER
    try:
        if not is_protected(file.parent, writable=True):
            return False
        folder.mkdir(mode=0o755, exist_ok=True)
        if not is_protected(folder, writable=True):
            return False
        text = msgspec.json.encode(_without_numbers(header))
        start = _MAGIC + len(text).to_bytes(4, "big") + text
        size = entries.count * (entries.serial_width + DATE_WIDTH + 1)
        records = entries.block[entries.offset : entries.offset + size]
        replace_file(index_path(file), start, [records])
    except OSError:
        return False  # full, read-only: it only costs time
    return True


def open_index(file: Path, version: FileVersion) -> tuple[Header, Entries] | None:
    """Map the index of a list, None when there is none that may be believed.

    Args:
        file: of the list.
        version: of the list's file now; an index of another one is out of date.
    """
    path = index_path(file)
    if not is_protected(path.parent) or not is_protected(path):
        return None
    try:
        with path.open("rb") as opened:
            start = opened.read(len(_MAGIC) + 4)
            length = int.from_bytes(start[len(_MAGIC) :], "big")
            if not start.startswith(_MAGIC) or length > _HEADER_MAX_BYTES:
                return None
            header = msgspec.json.decode(opened.read(length), type=Header)
            if header.source != version:
                return None
            return _with_numbers(header), _map(opened.fileno(), header, len(start) + length)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None


def index_path(file: Path) -> Path:
    """Return where the index of a list is."""
    return file.parent / FOLDER / f"{file.name}.index"


def _map(handle: int, header: Header, offset: int) -> Entries:
    size = header.count * (header.serial_width + DATE_WIDTH + 1)
    if header.count < 0 or header.serial_width < 1 or os.fstat(handle).st_size != offset + size:
        raise ValueError("index: size")
    mapped = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
    mapped.madvise(mmap.MADV_RANDOM)  # a search touches few pages: don't read others ahead
    return Entries(mapped, offset, header.count, header.serial_width)


def _without_numbers(header: Header) -> Header:
    number, base = header.form.number, header.form.base_number
    texts = tuple(None if value is None else str(value) for value in (number, base))
    form = msgspec.structs.replace(header.form, number=None, base_number=None)
    return msgspec.structs.replace(header, form=form, numbers=texts)


def _with_numbers(header: Header) -> Header:
    number, base = (None if text is None else int(text) for text in header.numbers)
    form = msgspec.structs.replace(header.form, number=number, base_number=base)
    return msgspec.structs.replace(header, form=form)

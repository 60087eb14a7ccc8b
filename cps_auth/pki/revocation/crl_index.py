"""The index of a CRL on disk: built once, mapped by every process, never parsed again.

    magic | length of the header, 4 bytes | header, JSON | records, sorted

It holds only CRLs whose signature was verified, and names the key that did it. Who could
write an index could make revoked cards valid: one that others than root or this process's user
could have written is not looked at.
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path

import msgspec

from cps_auth.files import FileVersion, is_protected, make_folder, replace_file
from cps_auth.pki.revocation.crl_entries import DATE_WIDTH, Entries
from cps_auth.pki.revocation.crl_header import CrlHeader

FOLDER = "index"
"""Below the folder of the CRLs."""

_MAGIC = b"CPSCRL02"
_HEADER_MAX_BYTES = 64 * 1024


class IndexHeader(msgspec.Struct, frozen=True):
    """Header of an index.

    Attributes:
        source: version of the CRL's file when it was read.
        key_sha256_hex: of the SubjectPublicKeyInfo that verified the signature.
    """

    source: FileVersion
    key_sha256_hex: str
    crl: CrlHeader
    count: int
    serial_width: int
    numbers: tuple[str | None, str | None] = (None, None)  # of up to 20 octets: not for JSON


def write_index(file: Path, header: IndexHeader, entries: Entries) -> bool:
    """Write an index next to its CRL, if the folder is ours. Return whether it was written.

    Args:
        file: of the CRL.
        header: with the key that verified the CRL.
        entries: of the CRL.
    """
    folder = file.parent / FOLDER
    try:
        if not is_protected(file.parent, writable=True):
            return False
        make_folder(folder)
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


def open_index(file: Path, version: FileVersion) -> tuple[IndexHeader, Entries] | None:
    """Map the index of a CRL, None when there is none that may be believed.

    Args:
        file: of the CRL.
        version: of the CRL's file now; an index of another one is out of date.
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
            header = msgspec.json.decode(opened.read(length), type=IndexHeader)
            if header.source != version:
                return None
            return _with_numbers(header), _map(opened.fileno(), header, len(start) + length)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None


def index_path(file: Path) -> Path:
    """Return where the index of a CRL is."""
    return file.parent / FOLDER / f"{file.name}.index"


def _map(handle: int, header: IndexHeader, offset: int) -> Entries:
    size = header.count * (header.serial_width + DATE_WIDTH + 1)
    if header.count < 0 or header.serial_width < 1 or os.fstat(handle).st_size != offset + size:
        raise ValueError("index: size")
    mapped = mmap.mmap(handle, 0, access=mmap.ACCESS_READ)
    mapped.madvise(mmap.MADV_RANDOM)  # a search touches few pages: don't read others ahead
    return Entries(mapped, offset, header.count, header.serial_width)


def _without_numbers(header: IndexHeader) -> IndexHeader:
    number, base = header.crl.number, header.crl.base_number
    texts = tuple(None if value is None else str(value) for value in (number, base))
    crl = msgspec.structs.replace(header.crl, number=None, base_number=None)
    return msgspec.structs.replace(header, crl=crl, numbers=texts)


def _with_numbers(header: IndexHeader) -> IndexHeader:
    number, base = (None if text is None else int(text) for text in header.numbers)
    crl = msgspec.structs.replace(header.crl, number=number, base_number=base)
    return msgspec.structs.replace(header, crl=crl)

"""Files of a card: whole ones by READ BINARY, with as few commands as the card bears.

First the short way: READ BINARY until what was announced has come. Where the card refuses, the way
of ANS's own module: ask for the file's size first, then for E7 bytes at a time.

How much there is, the file's control parameters or its DER say: a card may answer less than was
asked and mean no end by it. Every read is bounded: no file is longer than `MAX_FILE_BYTES`,
whatever the card says.
"""

from __future__ import annotations

from typing import Final

from cps_auth.card.native.apdu import OK, READ_BINARY
from cps_auth.card.native.driver import CardDriver
from cps_auth.card.native.tlv import announced_length, is_whole, read_all
from cps_auth.der import SEQUENCE
from cps_auth.errors import CardMisbehaved

MAX_FILE_BYTES: Final = 0x4000
"""Larger than any file of a CPS; a certificate has about 2000 bytes."""

_SIZE: Final = 0x80  # in file control parameters: number of data bytes
_END_OF_FILE: Final = 0x6282  # end reached before the bytes asked for
_OUTSIDE: Final = 0x6B00  # the offset is at the end or beyond
_WHOLE, _CAREFUL = 256, 0xE7  # bytes per READ BINARY; ANS's module asks for at most E7
_MOST_READS: Final = 160  # of one file: at least some 16 bytes each, of a certificate


def read_file(
    driver: CardDriver,
    path: bytes,
    *,
    offset: int = 0,
    length: int | None = None,
    by_size: bool = False,
) -> bytes:
    """Return the content of a transparent file, unverified.

    Args:
        driver: of a card held exclusively.
        path: from the MF, 3F00 included.
        offset: first byte wanted.
        length: bytes wanted at most, None for all.
        by_size: ask for its size first: it is not of data objects, so nothing else tells its end.

    Raises:
        CardMisbehaved: it is not there, cannot be read, or is larger than a card file.
        CardRemoved, ReaderServiceLost: from the transport.
    """
    if by_size:
        most = _smaller(_size(driver, path), offset, length)
        return _content(driver, offset, most, _CAREFUL, is_object=False)
    return _read(driver, path, offset, length, is_object=False)


def read_object(
    driver: CardDriver, path: bytes, *, offset: int = 0, length: int | None = None
) -> bytes:
    """Return the SEQUENCE that a file begins with, without what pads the file.

    Content that begins otherwise comes whole. Arguments and errors as `read_file`.
    """
    return _read(driver, path, offset, length, is_object=True)


def read_current(driver: CardDriver, offset: int, length: int) -> bytes:
    """Return bytes of the file that was selected last, unverified.

    Raises:
        CardMisbehaved: there are none.
        CardRemoved, ReaderServiceLost: from the transport.
    """
    return _content(driver, offset, length, _WHOLE, is_object=False)


def _read(
    driver: CardDriver, path: bytes, offset: int, length: int | None, *, is_object: bool
) -> bytes:
    try:
        most = _smaller(_quick_size(driver, path), offset, length)
        return _content(driver, offset, most, _WHOLE, is_object=is_object)
    except CardMisbehaved:
        most = _smaller(_size(driver, path), offset, length)
        return _content(driver, offset, most, _CAREFUL, is_object=is_object)


def _quick_size(driver: CardDriver, path: bytes) -> int | None:
    """Select a file; return its size where that costs nothing more, as under T=1."""
    if driver.transport.protocol == 0 and not driver.is_careful:
        driver.select(path)
        return None
    return _size(driver, path)


def _size(driver: CardDriver, path: bytes) -> int:
    what = f"SELECT {path.hex().upper()}"
    templates = read_all(driver.describe(path).require_ok(what))
    is_template = templates and templates[0].tag == driver.dialect.template_tag
    size = templates[0].child(_SIZE) if is_template else None
    if size is None:
        raise CardMisbehaved(f"{what}: no file size")
    if int.from_bytes(size.value, "big") > MAX_FILE_BYTES:
        raise CardMisbehaved(f"{what}: file larger than a card file")
    return int.from_bytes(size.value, "big")


def _content(
    driver: CardDriver, offset: int, most: int | None, chunk: int, *, is_object: bool
) -> bytes:
    content = b""
    end, is_announced = (MAX_FILE_BYTES, False) if most is None else (most, True)
    for _ in range(_MOST_READS):
        if len(content) >= end:
            break
        wanted = min(chunk, end - len(content))
        part, is_end = _read_binary(driver, offset + len(content), wanted)
        content += part
        announced = announced_length(content, SEQUENCE) if is_object else None
        if announced is not None:
            end, is_announced = min(end, announced), True
        is_short = len(part) < wanted
        if is_end or (is_short and not is_announced and is_whole(content)):
            return content[:end]
        driver.is_careful = driver.is_careful or is_short  # it answers less than is asked
    if len(content) < end or (not is_announced and end == MAX_FILE_BYTES):
        raise CardMisbehaved("READ BINARY: file larger than a card file, or read in crumbs")
    return content[:end]


def _read_binary(driver: CardDriver, offset: int, wanted: int) -> tuple[bytes, bool]:
    """Return what the card answers, and whether it says that the file ends there."""
    response = driver.send(driver.command(READ_BINARY, offset >> 8, offset & 0xFF, le=wanted))
    if offset and not response.data and response.status in (_OUTSIDE, _END_OF_FILE):
        return b"", True
    if response.status not in (OK, _END_OF_FILE) or not (response.data or response.status == OK):
        response.require_ok("READ BINARY")
    if len(response.data) > wanted:
        raise CardMisbehaved("READ BINARY answered more than was asked")
    return response.data, response.status == _END_OF_FILE or not response.data


def _smaller(size: int | None, offset: int, length: int | None) -> int | None:
    """Return how many bytes to read at most, None when neither file nor caller says."""
    left = None if size is None else max(0, size - offset)
    known = [bytes_ for bytes_ in (left, length) if bytes_ is not None]
    return min(known) if known else None

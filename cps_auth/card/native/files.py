"""Files of a card: SELECT and READ BINARY, with as few commands as the card bears.

First the short way: SELECT that asks for nothing, READ BINARY until an answer is shorter than
asked. Where the card refuses either, the way of ANS's own module: ask for the file's size first.

Every read is bounded: no file is longer than `MAX_FILE_BYTES`, whatever the card says.
"""

from __future__ import annotations

from cps_auth.card.native.apdu import Command, exchange
from cps_auth.card.native.asn1 import SEQUENCE
from cps_auth.card.native.dialect import Dialect
from cps_auth.card.native.tlv import announced_length, read_all
from cps_auth.card.port import Transport
from cps_auth.errors import CardMisbehaved

MAX_FILE_BYTES = 0x4000
"""Larger than any file of a CPS; a certificate has about 2000 bytes."""

_READ_BINARY = 0xB0  # ISO/IEC 7816-4:2005 section 7.2.3
_SHORT_IDENTIFIER = 0x80  # P1: the low bits are a short EF identifier
_SIZE = 0x80  # in file control parameters: number of data bytes
_MORE_WAITS = 0x61  # SW1 under T=0: there is data that nobody need fetch
_END_OF_FILE = 0x6282  # end reached before the bytes asked for
_OUTSIDE = 0x6B00  # the offset is at the end or beyond
_NOT_HERE = frozenset({0x6A82, 0x6E00})  # no such file; no such application: not the way of asking
_WHOLE, _CAREFUL = 256, 0xE7  # bytes per READ BINARY; ANS's module asks for at most E7


class CardFiles:
    """The file system of a card whose transport is held exclusively."""

    def __init__(self, transport: Transport, dialect: Dialect) -> None:
        self._transport = transport
        self._dialect = dialect
        self._reads_short = self._selects_silently = True  # until the card refuses

    def select(self, path: bytes) -> None:
        """Make a DF or EF current.

        Args:
            path: from the MF, 3F00 included.

        Raises:
            CardMisbehaved: it is not there.
            CardRemoved, ReaderServiceLost: from the transport.
        """
        if self._selects_silently:
            status = exchange(self._transport, self._dialect.select(path)).status
            if status.is_ok or status.sw1 == _MORE_WAITS:
                return
            if status.value in _NOT_HERE:
                raise CardMisbehaved(_select(path), str(status))
        exchange(self._transport, self._dialect.describe(path)).require_ok(_select(path))
        self._selects_silently = False

    def read(self, path: bytes, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return the content of a transparent file, unverified.

        Args:
            path: from the MF, 3F00 included.
            offset: first byte wanted.
            length: bytes wanted at most, None for all.

        Raises:
            CardMisbehaved: it is not there, cannot be read, or is larger than a card file.
            CardRemoved, ReaderServiceLost: from the transport.
        """
        return self._read(path, offset, length, is_object=False)

    def read_object(self, path: bytes, *, offset: int = 0, length: int | None = None) -> bytes:
        """Return the SEQUENCE that a file begins with, without what pads the file.

        Content that begins otherwise comes whole. Arguments and errors as `read`.
        """
        return self._read(path, offset, length, is_object=True)

    def read_short(self, identifier: int, length: int) -> bytes | None:
        """Return the first bytes of a file of the current DF, unverified.

        Args:
            identifier: short EF identifier, 1 to 30.
            length: bytes wanted at most, up to 256.

        Returns:
            What there is; None when the card does not read files this way.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """
        if not self._reads_short:
            return None
        p1 = _SHORT_IDENTIFIER | identifier
        response = exchange(self._transport, self._command(p1, 0, length))
        if not response.status.is_ok and response.status.value != _END_OF_FILE:
            self._reads_short = False
            return None
        return response.data[:length]

    def read_current(self, offset: int, length: int) -> bytes:
        """Return bytes of the file that was selected last, unverified.

        Raises:
            CardMisbehaved: there are none.
            CardRemoved, ReaderServiceLost: from the transport.
        """
        return self._content(offset, length, _WHOLE, is_object=False)

    def _read(self, path: bytes, offset: int, length: int | None, *, is_object: bool) -> bytes:
        try:
            most, chunk = self._quick_size(path), _WHOLE
            return self._content(offset, _smaller(most, offset, length), chunk, is_object=is_object)
        except CardMisbehaved:
            most, chunk = self._size(path), _CAREFUL
            return self._content(offset, _smaller(most, offset, length), chunk, is_object=is_object)

    def _quick_size(self, path: bytes) -> int | None:
        """Select a file; return its size where that costs nothing more, as under T=1."""
        if self._transport.protocol == 0:
            self.select(path)
            return None
        return self._size(path)

    def _size(self, path: bytes) -> int:
        what = _select(path)
        response = exchange(self._transport, self._dialect.describe(path))
        templates = read_all(response.require_ok(what))
        is_template = templates and templates[0].tag == self._dialect.template_tag
        size = templates[0].child(_SIZE) if is_template else None
        if size is None:
            raise CardMisbehaved(f"{what}: no file size")
        if int.from_bytes(size.value, "big") > MAX_FILE_BYTES:
            raise CardMisbehaved(f"{what}: file larger than a card file")
        return int.from_bytes(size.value, "big")

    def _content(self, offset: int, most: int | None, chunk: int, *, is_object: bool) -> bytes:
        content = b""
        end = MAX_FILE_BYTES if most is None else most
        while len(content) < end:
            wanted = min(chunk, end - len(content))
            part = self._read_binary(offset + len(content), wanted)
            if is_object and not content:
                end = min(end, announced_length(part, SEQUENCE) or end)
            content += part
            if len(part) < wanted:
                return content[:end]
        if most is None and end == MAX_FILE_BYTES:
            raise CardMisbehaved("READ BINARY: file larger than a card file")
        return content[:end]

    def _read_binary(self, offset: int, wanted: int) -> bytes:
        response = exchange(self._transport, self._command(offset >> 8, offset & 0xFF, wanted))
        status = response.status.value
        if offset and not response.data and status in (_OUTSIDE, _END_OF_FILE):
            return b""
        if status != _END_OF_FILE or not response.data:
            response.require_ok("READ BINARY")
        if len(response.data) > wanted:
            raise CardMisbehaved("READ BINARY answered more than was asked")
        return response.data

    def _command(self, p1: int, p2: int, wanted: int) -> Command:
        return Command(self._dialect.cla, _READ_BINARY, p1, p2, le=wanted)


def _select(path: bytes) -> str:
    return f"SELECT {path.hex().upper()}"


def _smaller(size: int | None, offset: int, length: int | None) -> int | None:
    """Return how many bytes to read at most, None when neither file nor caller says."""
    left = None if size is None else max(0, size - offset)
    known = [bytes_ for bytes_ in (left, length) if bytes_ is not None]
    return min(known) if known else None

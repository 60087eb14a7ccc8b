"""Files of a card: SELECT by path and READ BINARY, the way ANS's own module does it.

Every read is bounded: whatever the card says of a file's size, no more than `MAX_FILE_BYTES`
is asked for, and an answer shorter than asked ends the file.
"""

from __future__ import annotations

from cps_auth.card.apdu import Command, exchange
from cps_auth.card.port import Transport
from cps_auth.card.tlv import read_all
from cps_auth.errors import CardMisbehaved

MAX_FILE_BYTES = 0x4000
"""Larger than any file of a CPS; a certificate has about 2000 bytes."""

_SELECT, _READ_BINARY = 0xA4, 0xB0  # ISO/IEC 7816-4:2005 sections 7.1.1 and 7.2.3
_BY_PATH = 0x09  # P1: path from the current DF; the cards take one that starts with 3F00
_RETURN_FCP, _RETURN_NOTHING = 0x04, 0x0C  # P2
_FCP = 0x62  # ISO/IEC 7816-4:2005 section 5.3.3
_FCP_SIZE = 0x80  # number of data bytes in the file
_END_OF_FILE = 0x6282  # end reached before the bytes asked for
_CHUNK = 0xE7  # what ANS's module asks for at most


class CardFiles:
    """The file system of a card whose transport is held exclusively."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def select(self, path: bytes) -> None:
        """Make a DF current.

        Args:
            path: from the MF, 3F00 included.

        Raises:
            CardMisbehaved: it is not there.
            CardRemoved, ReaderServiceLost: from the transport.
        """
        command = Command(0x00, _SELECT, _BY_PATH, _RETURN_NOTHING, path)
        exchange(self._transport, command).require_ok(f"SELECT {path.hex().upper()}")

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
        end = self._size(path)
        if length is not None:
            end = min(end, offset + length)
        content = b""
        while offset + len(content) < end:
            at = offset + len(content)
            wanted = min(_CHUNK, end - at)
            chunk = self._read_binary(at, wanted)
            content += chunk
            if len(chunk) < wanted:
                break
        return content

    def _size(self, path: bytes) -> int:
        what = f"SELECT {path.hex().upper()}"
        command = Command(0x00, _SELECT, _BY_PATH, _RETURN_FCP, path, le=256)
        templates = read_all(exchange(self._transport, command).require_ok(what))
        size = templates[0].child(_FCP_SIZE) if templates and templates[0].tag == _FCP else None
        if size is None:
            raise CardMisbehaved(f"{what}: no file size")
        if int.from_bytes(size.value, "big") > MAX_FILE_BYTES:
            raise CardMisbehaved(f"{what}: file larger than a card file")
        return int.from_bytes(size.value, "big")

    def _read_binary(self, offset: int, wanted: int) -> bytes:
        command = Command(0x00, _READ_BINARY, offset >> 8, offset & 0xFF, le=wanted)
        response = exchange(self._transport, command)
        if response.status.value != _END_OF_FILE:
            response.require_ok("READ BINARY")
        if len(response.data) > wanted:
            raise CardMisbehaved("READ BINARY answered more than was asked")
        return response.data

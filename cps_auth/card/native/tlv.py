"""A strict, bounded reader of BER-TLV data objects (ISO/IEC 7816-4:2005 section 5.2.2), and of
the few ASN.1 values that the directory files of a card are made of (ITU-T X.690).

Definite lengths only, tags of at most three bytes, nothing that runs past its container.
Cards pad their files, so bytes 00 and FF between data objects are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cps_auth.der import data_object_at
from cps_auth.errors import CardMisbehaved

INTEGER, BIT_STRING, OCTET_STRING = 0x02, 0x03, 0x04
UTF8_STRING, SEQUENCE = 0x0C, 0x30

MAX_BYTES = 0x8000
"""No file or answer of ours is longer: READ BINARY addresses 15 bits."""

_PADDING = (0x00, 0xFF)


@dataclass(frozen=True, slots=True)
class Tlv:
    """One data object: its tag as a number (0x30, 0x7F48, 0xBF8101) and its value."""

    tag: int
    value: bytes

    def children(self) -> tuple[Tlv, ...]:
        """Return the data objects inside a constructed one.

        Raises:
            CardMisbehaved: the value is not a sequence of data objects.
        """
        return read_all(self.value)

    def child(self, tag: int) -> Tlv | None:
        """Return the first data object inside that has this tag, or None.

        Raises:
            CardMisbehaved: the value is not a sequence of data objects.
        """
        return find(self.children(), tag)


def find(objects: tuple[Tlv, ...], tag: int) -> Tlv | None:
    """Return the first of `objects` that has this tag, or None."""
    return next((found for found in objects if found.tag == tag), None)


def read_all(unverified: bytes) -> tuple[Tlv, ...]:
    """Return the data objects that follow one another in `unverified`.

    Raises:
        CardMisbehaved: not BER-TLV, or longer than a card can hold.
    """
    if len(unverified) > MAX_BYTES:
        raise CardMisbehaved("BER-TLV longer than a card file")
    return tuple(_objects(unverified))


def read_first(unverified: bytes) -> tuple[Tlv, int]:
    """Return the data object at the start and the number of bytes that it takes.

    Raises:
        CardMisbehaved: no whole data object is there.
    """
    try:
        found = data_object_at(unverified, 0, len(unverified))
    except ValueError as error:
        raise CardMisbehaved(str(error)) from None
    if found.end > len(unverified):
        raise CardMisbehaved("BER-TLV length beyond the end")
    return Tlv(found.tag, unverified[found.content : found.end]), found.end


def announced_length(unverified: bytes, tag: int) -> int | None:
    """Return how long the data object is that begins here; None when none of this tag does."""
    try:
        found = data_object_at(unverified, 0, len(unverified))
    except ValueError:
        return None
    return found.end if found.tag == tag else None


def is_whole(unverified: bytes) -> bool:
    """Return whether data objects, and what pads them, end just where the bytes do."""
    try:
        read_all(unverified)
    except CardMisbehaved:
        return False
    return True


def _objects(unverified: bytes) -> Iterator[Tlv]:
    at = 0
    while at < len(unverified):
        if unverified[at] in _PADDING:
            at += 1
            continue
        found, taken = read_first(unverified[at:])
        at += taken
        yield found


# --- ASN.1 values ----------------------------------------------------------------


def required(objects: tuple[Tlv, ...], tag: int) -> Tlv:
    """Return the first of `objects` that has this tag.

    Raises:
        CardMisbehaved: there is none.
    """
    found = find(objects, tag)
    if found is None:
        raise CardMisbehaved(f"PKCS#15 object without its element {tag:02X}")
    return found


def value(objects: tuple[Tlv, ...], tag: int) -> bytes:
    """Return the bytes of the first of `objects` that has this tag, empty when there is none."""
    found = find(objects, tag)
    return found.value if found else b""


def text(objects: tuple[Tlv, ...], tag: int) -> str:
    """Return the text of the first of `objects` that has this tag, empty when there is none."""
    return value(objects, tag).decode("utf-8", "replace").strip("\x00 ")


def integer(tlv: Tlv) -> int:
    """Return an INTEGER of at most four octets.

    Raises:
        CardMisbehaved: it is empty, or longer.
    """
    if not 1 <= len(tlv.value) <= 4:
        raise CardMisbehaved("PKCS#15 integer of an unexpected size")
    return int.from_bytes(tlv.value, "big", signed=True)


def bits(tlv: Tlv) -> frozenset[int]:
    """Return the positions that are set in a BIT STRING; bit 0 is the first (X.690 section 8.6).

    The octet that counts unused bits is not looked at: on real cards it is not reliable.
    """
    return frozenset(
        8 * index + bit
        for index, octet in enumerate(tlv.value[1:5])
        for bit in range(8)
        if octet & 0x80 >> bit
    )

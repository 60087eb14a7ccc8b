"""A strict, bounded reader of BER-TLV data objects (ISO/IEC 7816-4:2005 section 5.2.2).

Definite lengths only, tags of at most three bytes, nothing that runs past its container.
Cards pad their files, so bytes 00 and FF between data objects are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cps_auth.errors import CardMisbehaved

MAX_BYTES = 0x8000
"""No file or answer of ours is longer: READ BINARY addresses 15 bits."""

_MAX_TAG_BYTES = 3
_MAX_LENGTH_BYTES = 3  # after the byte that announces them
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
    tag, at = _tag(unverified, 0)
    length, at = _length(unverified, at)
    if at + length > len(unverified):
        raise CardMisbehaved("BER-TLV length beyond the end")
    return Tlv(tag, unverified[at : at + length]), at + length


def announced_length(unverified: bytes, tag: int) -> int | None:
    """Return how long the data object is that begins here; None when none of this tag does."""
    try:
        found, at = _tag(unverified, 0)
        length, at = _length(unverified, at)
    except CardMisbehaved:
        return None
    return at + length if found == tag else None


def _objects(unverified: bytes) -> Iterator[Tlv]:
    at = 0
    while at < len(unverified):
        if unverified[at] in _PADDING:
            at += 1
            continue
        found, taken = read_first(unverified[at:])
        at += taken
        yield found


def _byte(unverified: bytes, at: int) -> int:
    if at >= len(unverified):
        raise CardMisbehaved("BER-TLV cut short")
    return unverified[at]


def _tag(unverified: bytes, at: int) -> tuple[int, int]:
    tag = _byte(unverified, at)
    if tag & 0x1F != 0x1F:
        return tag, at + 1
    for taken in range(2, _MAX_TAG_BYTES + 1):
        following = _byte(unverified, at + taken - 1)
        tag = tag << 8 | following
        if not following & 0x80:
            return tag, at + taken
    raise CardMisbehaved("BER-TLV tag of more than three bytes")


def _length(unverified: bytes, at: int) -> tuple[int, int]:
    first = _byte(unverified, at)
    if first < 0x80:
        return first, at + 1
    count = first & 0x7F
    if not 1 <= count <= _MAX_LENGTH_BYTES:
        raise CardMisbehaved("BER-TLV length form not allowed")
    if at + 1 + count > len(unverified):
        raise CardMisbehaved("BER-TLV cut short")
    return int.from_bytes(unverified[at + 1 : at + 1 + count], "big"), at + 1 + count

"""A strict, bounded reader of BER-TLV data objects (ISO/IEC 7816-4:2005 section 5.2.2).

Definite lengths only, tags of at most three bytes, nothing that runs past its container.
Cards pad their files, so bytes 00 and FF between data objects are skipped.
"""

from __future__ import annotations

from dataclasses import dataclass

from cps_auth.der import data_object_at, data_objects
from cps_auth.errors import CardMisbehaved

MAX_BYTES = 0x8000
"""No file or answer of ours is longer: READ BINARY addresses 15 bits."""

_PADDING = b"\x00\xff"


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
        return next((found for found in self.children() if found.tag == tag), None)


def read_all(unverified: bytes) -> tuple[Tlv, ...]:
    """Return the data objects that follow one another in `unverified`.

    Raises:
        CardMisbehaved: not BER-TLV, or longer than a card can hold.
    """
    if len(unverified) > MAX_BYTES:
        raise CardMisbehaved("BER-TLV longer than a card file")
    try:
        found = data_objects(unverified, _PADDING)
    except ValueError as error:
        raise CardMisbehaved(str(error)) from None
    return tuple(Tlv(one.tag, unverified[one.content : one.end]) for one in found)


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

"""The few ASN.1 values that the directory files of a card are made of (ITU-T X.690)."""

from __future__ import annotations

from cps_auth.card.native.tlv import Tlv, find
from cps_auth.errors import CardMisbehaved

INTEGER, BIT_STRING, OCTET_STRING = 0x02, 0x03, 0x04
UTF8_STRING, SEQUENCE = 0x0C, 0x30


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

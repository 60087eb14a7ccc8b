"""Walks DER and the BER-TLV of cards, one element at a time, without recursion.

DER is strict (X.690 sections 8.1 and 10.1): tags of one byte, lengths in their shortest form. The
data objects of a card (ISO/IEC 7816-4:2005 section 5.2.2) have tags of up to three bytes, and
lengths in any definite form. Nothing may run past its container in either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING = 0x01, 0x02, 0x03, 0x04
OBJECT_IDENTIFIER, ENUMERATED, UTF8_STRING, SEQUENCE = 0x06, 0x0A, 0x0C, 0x30
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
"""Tags of X.680 section 8.6."""

_TAG_GOES_ON = 0x1F
_TAG_MAX_BYTES = 3
_LENGTH_MAX_BYTES = 4  # after the byte that announces them


class Element(NamedTuple):
    """The place of one element inside the bytes that were walked."""

    tag: int
    start: int  # of its header
    content: int  # of its content
    end: int


def element_at(data: bytes, position: int, limit: int) -> Element:
    """Read the header of the DER element that starts here and must end before `limit`.

    Raises:
        ValueError: not DER, or longer than the room that there is.
    """
    content, end = content_of(data, position, limit)
    return Element(data[position], position, content, end)


def content_of(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """Return where the content of the DER element that starts here begins and ends.

    Raises:
        ValueError: as `element_at`.
    """
    if position + 2 > limit:
        raise ValueError("DER: truncated")
    if data[position] & _TAG_GOES_ON == _TAG_GOES_ON:
        raise ValueError("DER: a tag of several bytes")
    length, content = _length_at(data, position + 1, limit)
    if content > position + 2 and length >> max(7, 8 * (content - position - 3)) == 0:
        raise ValueError("DER: length not minimal")
    if content + length > limit:
        raise ValueError("DER: truncated")
    return content, content + length


def data_object_at(data: bytes, position: int, limit: int) -> Element:
    """Read the header of a card's data object; it may announce more than there is.

    Raises:
        ValueError: not BER-TLV as ISO/IEC 7816-4 has it.
    """
    tag, at = data[position] if position < limit else 0, position + 1
    if tag & _TAG_GOES_ON == _TAG_GOES_ON:
        for at in range(position + 1, min(limit, position + _TAG_MAX_BYTES)):
            tag = tag << 8 | data[at]
            if not data[at] & 0x80:
                break
        else:
            raise ValueError("BER-TLV: tag cut short, or of more than three bytes")
        at += 1
    length, content = _length_at(data, at, limit)
    return Element(tag, position, content, content + length)


def descend(data: bytes, *path: int) -> Element | None:
    """Return the data object that a path of tags leads to, None where there is none.

    Args:
        data: a sequence of a card's data objects, unverified.
        path: tags, from the outermost.

    Raises:
        ValueError: not BER-TLV, or a data object on the way that runs past its container.
    """
    position, limit, found = 0, len(data), None
    for tag in path:
        while position < limit:
            found = data_object_at(data, position, limit)
            if found.end > limit:
                raise ValueError("BER-TLV: longer than its container")
            if found.tag == tag:
                break
            position = found.end
        else:
            return None
        position, limit = found.content, found.end
    return found


def data_objects(data: bytes, padding: bytes = b"") -> list[Element]:
    """Return the data objects of a card that follow one another to the end.

    Args:
        data: all of them.
        padding: octets that may stand between them.

    Raises:
        ValueError: not BER-TLV as ISO/IEC 7816-4 has it, or longer than the room that there is.
    """
    found, at = [], 0
    while at < len(data):
        if data[at] in padding:
            at += 1
            continue
        element = data_object_at(data, at, len(data))
        if element.end > len(data):
            raise ValueError("BER-TLV: length beyond the end")
        found.append(element)
        at = element.end
    return found


def _length_at(data: bytes, at: int, limit: int) -> tuple[int, int]:
    """Return a length in definite form, and where its content begins."""
    if at >= limit:
        raise ValueError("truncated")
    count = data[at] & 0x7F
    if data[at] < 0x80:
        return count, at + 1
    if not 1 <= count <= _LENGTH_MAX_BYTES or at + 1 + count > limit:
        raise ValueError("length cut short, or in a form that is not allowed")
    return int.from_bytes(data[at + 1 : at + 1 + count], "big"), at + 1 + count


def elements(data: bytes, start: int, end: int) -> Iterator[Element]:
    """Yield the elements between two positions, one after the other.

    Raises:
        ValueError: not DER.
    """
    while start < end:
        element = element_at(data, start, end)
        yield element
        start = element.end


def inside(data: bytes, element: Element) -> Iterator[Element]:
    """Yield the elements inside a constructed one.

    Raises:
        ValueError: not DER.
    """
    return elements(data, element.content, element.end)

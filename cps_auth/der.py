"""Walks strict DER, one element at a time, without recursion. X.690 sections 8.1 and 10.1."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING = 0x01, 0x02, 0x03, 0x04
OBJECT_IDENTIFIER, ENUMERATED, SEQUENCE = 0x06, 0x0A, 0x30
UTC_TIME, GENERALIZED_TIME = 0x17, 0x18
"""Tags of X.680 section 8.6."""


class Element(NamedTuple):
    """Where one element is inside the bytes that were walked."""

    tag: int
    start: int  # of its header
    content: int  # of its content
    end: int


def element_at(data: bytes, position: int, limit: int) -> Element:
    """Read the header of the element that starts here and must end before `limit`.

    Raises:
        ValueError: not DER, or longer than the room that there is.
    """
    content, end = content_of(data, position, limit)
    return Element(data[position], position, content, end)


def content_of(data: bytes, position: int, limit: int) -> tuple[int, int]:
    """Return where the content of the element that starts here begins and ends.

    Raises:
        ValueError: as `element_at`.
    """
    content = position + 2
    if content > limit:
        raise ValueError("DER: truncated")
    if data[position] & 0x1F == 0x1F:
        raise ValueError("DER: a tag of several bytes")
    length = data[position + 1]
    if length > 0x7F:
        count = length & 0x7F
        if not 1 <= count <= 4 or content + count > limit:
            raise ValueError("DER: length")
        length = int.from_bytes(data[content : content + count], "big")
        if length < 0x80 or length >> (8 * (count - 1)) == 0:
            raise ValueError("DER: length not minimal")
        content += count
    end = content + length
    if end > limit:
        raise ValueError("DER: truncated")
    return content, end


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

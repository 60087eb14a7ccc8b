"""DER as a tree that can be changed and written again. Own code: the product's reader is tested."""

from __future__ import annotations

from dataclasses import dataclass

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID, ENUMERATED = 0x01, 0x02, 0x03, 0x04, 0x06, 0x0A
UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET = 0x17, 0x18, 0x30, 0x31
TEXTS = (0x0C, 0x13, 0x14, 0x16, 0x1E)
_WRAPPED = (BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, ENUMERATED, SEQUENCE, *TEXTS)


@dataclass
class Node:
    """One element.

    Attributes:
        content: of a primitive element without others inside.
        children: of a constructed one, or of a string that wraps an element.
        prefix: what stands before the children, such as the unused bits of a BIT STRING.
        header: tag and length as they are to be written, right or wrong; None: as DER has it.
    """

    tag: int
    content: bytes = b""
    children: list[Node] | None = None
    prefix: bytes = b""
    header: bytes | None = None

    def der(self) -> bytes:
        """Return the element as bytes, lengths mended."""
        content = self.content
        if self.children is not None:
            content = self.prefix + b"".join(child.der() for child in self.children)
        return (header(self.tag, len(content)) if self.header is None else self.header) + content

    def walk(self) -> list[Node]:
        """Return this element and all inside, outer ones first."""
        found = [self]
        for child in self.children or ():
            found += child.walk()
        return found

    def copy(self) -> Node:
        """Return a copy that shares nothing."""
        children = None if self.children is None else [child.copy() for child in self.children]
        return Node(self.tag, self.content, children, self.prefix, self.header)


def header(tag: int, size: int) -> bytes:
    """Return tag and length (X.690 section 8.1.3)."""
    if size < 0x80:
        return bytes([tag, size])
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length


def tlv(tag: int, content: bytes) -> bytes:
    """Return one element."""
    return header(tag, len(content)) + content


def parse(data: bytes) -> Node:
    """Return the one element that these bytes are.

    Raises:
        ValueError: it is not DER.
    """
    node, end = _parse(data, 0, len(data))
    if end != len(data):
        raise ValueError("trailing bytes")
    return node


def _parse(data: bytes, start: int, limit: int) -> tuple[Node, int]:
    if limit - start < 2 or data[start] & 0x1F == 0x1F:
        raise ValueError("not an element")
    tag, size, content = data[start], data[start + 1], start + 2
    if size > 0x7F:
        count = size & 0x7F
        if not 1 <= count <= 3 or content + count > limit:
            raise ValueError("length")
        size = int.from_bytes(data[content : content + count], "big")
        content += count
    end = content + size
    if end > limit or header(tag, size) != data[start:content]:
        raise ValueError("length")
    if tag & 0x20:
        return Node(tag, children=_parse_all(data, content, end)), end
    return _parse_string(tag, data[content:end]), end


def _parse_all(data: bytes, start: int, end: int) -> list[Node]:
    found = []
    while start < end:
        node, start = _parse(data, start, end)
        found.append(node)
    return found


def _parse_string(tag: int, content: bytes) -> Node:
    """Return a primitive element; one that wraps another element keeps it as a child."""
    prefix = content[:1] if tag == BIT_STRING else b""
    inner = content[len(prefix) :]
    if tag in (BIT_STRING, OCTET_STRING) and inner and inner[0] in _WRAPPED:
        try:
            return Node(tag, children=[parse(inner)], prefix=prefix)
        except ValueError:
            pass
    return Node(tag, content)

"""BER-TLV as the card writes and reads it (ISO/IEC 7816-4:2013 section 5.2.2), definite lengths.

Written apart from the product's own parser on purpose: one checks the other.
"""

from __future__ import annotations


def tlv(tag: int, *values: bytes) -> bytes:
    """Return one TLV: `tag` (as it is written, such as 0xBF81), and its values joined."""
    value = b"".join(values)
    return tag.to_bytes((tag.bit_length() + 7) // 8 or 1) + _length(len(value)) + value


def _length(size: int) -> bytes:
    if size < 0x80:
        return bytes([size])
    octets = size.to_bytes((size.bit_length() + 7) // 8)
    return bytes([0x80 | len(octets)]) + octets


def split_tlvs(data: bytes) -> list[tuple[int, bytes]]:
    """Return the (tag, value) pairs of one-byte tags and one-byte lengths in `data`.

    Command data fields of a CPS hold no others.

    Raises:
        ValueError: `data` is not such a sequence.
    """
    found: list[tuple[int, bytes]] = []
    while data:
        if len(data) < 2 or len(data) < 2 + data[1]:
            raise ValueError("truncated TLV")
        end = 2 + data[1]
        found.append((data[0], data[2:end]))
        data = data[end:]
    return found


def utf8(text: str) -> bytes:
    """Return a UTF8String."""
    return tlv(0x0C, text.encode())


def octets(value: bytes) -> bytes:
    """Return an OCTET STRING."""
    return tlv(0x04, value)


def integer(value: int) -> bytes:
    """Return an INTEGER, never negative."""
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1))


def sequence(*values: bytes) -> bytes:
    """Return a SEQUENCE."""
    return tlv(0x30, *values)


def bits(*numbers: int) -> bytes:
    """Return a BIT STRING in which the bits of these numbers are set, bit 0 first (DER)."""
    if not numbers:
        return tlv(0x03, b"\x00")
    size = max(numbers) + 1
    octet_count = (size + 7) // 8
    unused = octet_count * 8 - size
    value = sum(1 << (octet_count * 8 - 1 - number) for number in set(numbers))
    return tlv(0x03, bytes([unused]) + value.to_bytes(octet_count))

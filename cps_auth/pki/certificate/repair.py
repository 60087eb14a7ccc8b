"""Repairs a copy of a certificate for a strict parser, where real cards break the letter.

Five faults, seen on cards in use, are repaired, and no other. The copy is only read: signatures
and fingerprints are those of the bytes as they came.

- names in T61String that are Latin-1, and sets of them out of order: cards of the former CPS PKI
  (X.690 section 11.6; what openssl and browsers make of T61String);
- ECDSA with NULL for its parameters, and BasicConstraints that writes out cA FALSE: Finnish eID
  (RFC 5758 section 3.2; X.690 section 11.5);
- a user notice in VisibleString or IA5String that is Latin-1: the qualifiers of that policy are
  left out, which nobody here reads (RFC 5280 section 4.2.1.4).
"""

from __future__ import annotations

from collections.abc import Iterable

from cps_auth.der import SEQUENCE, Element, element_at, inside
from cps_auth.pki.certificate.names import NAME_MAX_BYTES

_SET, _UTF8_STRING, _T61_STRING, _EXTENSIONS = 0x31, 0x0C, 0x14, 0xA3
_NULL = b"\x05\x00"
_ECDSA = b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03"  # ecdsa-with-SHA2, without its last number
_BASIC_CONSTRAINTS = b"\x06\x03\x55\x1d\x13"
_POLICIES = b"\x06\x03\x55\x1d\x20"
_USER_NOTICE = b"\x06\x08\x2b\x06\x01\x05\x05\x07\x02\x02"
_NOT_A_CA = b"\x04\x05\x30\x03\x01\x01\x00", b"\x04\x02\x30\x00"  # written out, left out


def repaired_copy(der: bytes) -> bytes | None:
    """Return a certificate with those faults repaired; None when those are not its trouble.

    Args:
        der: a certificate.
    """
    try:
        copy = _rebuilt(der)
    except (ValueError, IndexError):  # not even the frame of one, or something after it
        return None
    return None if copy == der else copy


def _rebuilt(der: bytes) -> bytes:
    whole = element_at(der, 0, len(der))
    if whole.end != len(der):
        raise ValueError("certificate: trailing bytes")
    signed, algorithm, signature = inside(der, whole)
    sequences = [part for part in inside(der, signed) if part.tag == SEQUENCE]
    # signature, issuer, validity, subject: RFC 5280 section 4.1
    readers = {sequences[0]: _algorithm, sequences[1]: _name, sequences[3]: _name}
    parts = [
        _extensions(der, part)
        if part.tag == _EXTENSIONS
        else readers.get(part, _as_it_is)(der, part)
        for part in inside(der, signed)
    ]
    # every tag stays as it came: the library is to refuse a wrong one
    rebuilt = [_tlv(signed.tag, parts), _algorithm(der, algorithm), _as_it_is(der, signature)]
    return _tlv(whole.tag, rebuilt)


def _as_it_is(der: bytes, element: Element) -> bytes:
    return der[element.start : element.end]


def _algorithm(der: bytes, element: Element) -> bytes:
    parts = [_as_it_is(der, part) for part in inside(der, element)]
    if len(parts) == 2 and parts[0].startswith(_ECDSA) and parts[1] == _NULL:
        parts.pop()
    return _tlv(element.tag, parts)


def _name(der: bytes, element: Element) -> bytes:
    if element.end - element.start > NAME_MAX_BYTES:
        return _as_it_is(der, element)
    return _tlv(element.tag, [_rdn(der, rdn) for rdn in inside(der, element)])


def _rdn(der: bytes, element: Element) -> bytes:
    if element.tag != _SET:
        return _as_it_is(der, element)
    return _tlv(_SET, sorted(_attribute(der, attribute) for attribute in inside(der, element)))


def _attribute(der: bytes, element: Element) -> bytes:
    parts = list(inside(der, element))
    if len(parts) != 2 or parts[1].tag != _T61_STRING:
        return _as_it_is(der, element)
    text = der[parts[1].content : parts[1].end].decode("latin-1")
    return _tlv(element.tag, [_as_it_is(der, parts[0]), _tlv(_UTF8_STRING, [text.encode()])])


def _extensions(der: bytes, element: Element) -> bytes:
    whole = _as_it_is(der, element)
    if _NOT_A_CA[0] not in whole and _USER_NOTICE not in whole:
        return whole
    (extensions,) = inside(der, element)
    repaired = [_extension(der, extension) for extension in inside(der, extensions)]
    return _tlv(_EXTENSIONS, [_tlv(extensions.tag, repaired)])


def _extension(der: bytes, element: Element) -> bytes:
    parts = [_as_it_is(der, part) for part in inside(der, element)]
    written, left_out = _NOT_A_CA
    if parts[0] == _BASIC_CONSTRAINTS and parts[-1] == written:
        parts[-1] = left_out
    elif parts[0] == _POLICIES:
        parts[-1] = _tlv(parts[-1][0], [_policies(parts[-1])])
    return _tlv(element.tag, parts)


def _policies(octets: bytes) -> bytes:
    (policies,) = inside(octets, element_at(octets, 0, len(octets)))
    return _tlv(policies.tag, [_policy(octets, policy) for policy in inside(octets, policies)])


def _policy(der: bytes, element: Element) -> bytes:
    """Return a policy, without its qualifiers when one is a user notice outside ASCII."""
    identifier, *qualifiers = (_as_it_is(der, part) for part in inside(der, element))
    odd = any(_USER_NOTICE in each and not each.isascii() for each in qualifiers)
    return _tlv(element.tag, [identifier, *([] if odd else qualifiers)])


def _tlv(tag: int, parts: Iterable[bytes]) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content

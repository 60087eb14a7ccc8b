"""Reads what is a holder's own in a certificate, in the one shape that it has on nearly every card.

For those shapes the result is what the library makes of them; a test holds the two together.
Anything else is not read here: None is for whoever asks the library.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from cryptography import x509
from cryptography.x509.oid import NameOID, ObjectIdentifier

from cps_auth.der import OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE
from cps_auth.pki.certificate.parts import Attribute

_SET, _UTF8_STRING, _PRINTABLE_STRING = 0x31, 0x0C, 0x13
_PRINTABLE = re.compile(rb"[0-9A-Za-z '()+,./:=?-]+")  # X.680 section 41.4

_ATTRIBUTES = {
    bytes([OBJECT_IDENTIFIER, 3, 0x55, 0x04, last]): oid  # id-at of X.520
    for last, oid in {
        3: NameOID.COMMON_NAME,
        4: NameOID.SURNAME,
        5: NameOID.SERIAL_NUMBER,
        7: NameOID.LOCALITY_NAME,
        8: NameOID.STATE_OR_PROVINCE_NAME,
        10: NameOID.ORGANIZATION_NAME,
        11: NameOID.ORGANIZATIONAL_UNIT_NAME,
        12: NameOID.TITLE,
        42: NameOID.GIVEN_NAME,
    }.items()
}

_SHA1_BYTES = 20
_KEY_IDENTIFIER = bytes.fromhex("301d0603551d0e04160414")  # an extension, up to the SHA-1
_ALTERNATIVE_NAME = bytes.fromhex("0603551d11")
_UPN_FORM = b"\x30%c\x06\x03\x55\x1d\x11\x04%c\x30%c\xa0%c" + (
    b"\x06\x0a\x2b\x06\x01\x04\x01\x82\x37\x14\x02\x03\xa0%c\x0c%c"
)  # one inside the other, for their sizes
_UPN_AT = 29  # bytes, of its text in the extension


def read_own_rdn(rdn: bytes) -> tuple[Attribute, ...] | None:
    """Return the attributes of an RDN of names in UTF8String or PrintableString.

    Args:
        rdn: one element of a distinguished name.
    """
    if len(rdn) < 2 or rdn[0] != _SET or rdn[1] != len(rdn) - 2 or rdn[1] > 0x7F:
        return None
    found, at, before = [], 2, b""
    while at < len(rdn):
        attribute = _read_attribute(rdn[at:])
        if attribute is None:
            return None
        length, oid, value = attribute
        whole = rdn[at : at + length]
        if whole <= before:  # X.690 section 11.6, or twice the same
            return None
        found.append((oid, value))
        at, before = at + length, whole
    return tuple(found) or None


def _read_attribute(rest: bytes) -> tuple[int, ObjectIdentifier, str] | None:
    """Return the length of the first attribute, and what it says."""
    if len(rest) < 10 or rest[0] != SEQUENCE or rest[1] > 0x7F or len(rest) < 2 + rest[1]:
        return None
    oid, tag, end = _ATTRIBUTES.get(rest[2:7]), rest[7], 2 + rest[1]
    value = rest[9:end]
    if oid is None or not value or rest[8] != len(value):
        return None
    if tag == _PRINTABLE_STRING and _PRINTABLE.fullmatch(value):
        return end, oid, value.decode("ascii")
    if tag == _UTF8_STRING:
        try:
            return end, oid, value.decode()
        except UnicodeDecodeError:
            return None
    return None


def kind_of_own(extension: bytes) -> type[x509.ExtensionType] | None:
    """Return which one it is if it is a key identifier, or a principal name alone; not critical.

    Args:
        extension: one element of the extensions.
    """
    size = len(extension) - 2
    if extension.startswith(_KEY_IDENTIFIER) and size == len(_KEY_IDENTIFIER) + _SHA1_BYTES - 2:
        return x509.SubjectKeyIdentifier
    if not _UPN_AT - 2 < size <= 0x7F or not extension.startswith(_ALTERNATIVE_NAME, 2):
        return None
    sizes = size, size - 7, size - 9, size - 11, size - 25, size - 27
    if extension[:_UPN_AT] != _UPN_FORM % sizes:
        return None
    try:
        extension[_UPN_AT:].decode()
    except UnicodeDecodeError:
        return None
    return x509.SubjectAlternativeName


def read_private(
    extension: bytes, private: Mapping[bytes, ObjectIdentifier]
) -> tuple[ObjectIdentifier, bytes] | None:
    """Return the OID and the value of an extension that is not critical.

    Args:
        extension: one element of the extensions.
        private: those that the library takes as they are, by the DER of their OID.
    """
    size = len(extension) - 2
    if not 7 < size <= 0x7F or extension[0] != SEQUENCE or extension[1] != size:
        return None
    oid_end = 4 + extension[3]
    oid = private.get(extension[2:oid_end])
    if oid is None or size < oid_end:
        return None
    if extension[oid_end] != OCTET_STRING or extension[oid_end + 1] != size - oid_end:
        return None
    return oid, extension[oid_end + 2 :]


def oid_of(extension: bytes) -> bytes:
    """Return the DER of an extension's OID; of one with a long length, something else."""
    return extension[2 : 4 + extension[3]]

"""Names and extensions that are read without the library: which shapes, to the byte."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from cps_auth.pki.certificate.own_parts import kind_of_own, read_own_rdn, read_private
from hardware_mocks.card.ber import tlv

ODD = x509.ObjectIdentifier("1.2.250.1.71.1.2.99")


@pytest.mark.parametrize(
    ("rdn_hex", "attributes"),
    [
        ("310b3009060355040 30c024142", ((NameOID.COMMON_NAME, "AB"),)),
        ("310b300906035504031302 4142", ((NameOID.COMMON_NAME, "AB"),)),
        ("310b30090603550403130241 5f", None),  # no underscore in a PrintableString
        ("310b300906035504030c02 ff41", None),  # not UTF-8
        ("310b300906035504030c03 4142", None),  # longer than there is room for
        ("310b300906035504030c01 4142", None),  # shorter
        ("310930070603550403 0c00", None),  # empty
        ("310b300906035504991302 4142", None),  # another attribute
        ("310b310906035504031302 4142", None),  # a SET for a SEQUENCE
        ("300b300906035504031302 4142", None),  # a SEQUENCE for the SET
        ("310a300906035504031302 4142", None),  # the SET is shorter
        ("310c300906035504031302 4142", None),  # or longer
        ("310b300a06035504031302 4142", None),
        ("310b300906035504031402 4142", None),  # T61String
        ("3103300100", None),
        ("3100", None),
        ("31", None),
        ("", None),
        ("31818b" + "3009060355040 30c024142" * 3, None),
    ],
)
def test_rdns_that_are_read_here(rdn_hex: str, attributes: tuple[object, ...] | None) -> None:
    """Exactly one shape; anything else is for the library."""
    assert read_own_rdn(bytes.fromhex(rdn_hex.replace(" ", ""))) == attributes


GIVEN, NAME = bytes.fromhex("3009060355042a0c024142"), bytes.fromhex("300906035504030c024142")


def test_rdns_of_several_attributes() -> None:
    """Sorted as DER sorts a set, and none twice (X.690 section 11.6)."""
    assert read_own_rdn(tlv(0x31, NAME + GIVEN)) == (
        (NameOID.COMMON_NAME, "AB"),
        (NameOID.GIVEN_NAME, "AB"),
    )
    assert read_own_rdn(tlv(0x31, GIVEN + NAME)) is None
    assert read_own_rdn(tlv(0x31, NAME + NAME)) is None


def _own_name(text: bytes) -> bytes:
    name = tlv(0xA0, UPN_DER + tlv(0xA0, tlv(0x0C, text)))
    return tlv(0x30, bytes.fromhex("0603551d11") + tlv(0x04, tlv(0x30, name)))


UPN_DER = bytes.fromhex("060a2b060104018237140203")
IDENTIFIER = bytes.fromhex("301d0603551d0e04160414") + bytes(20)


@pytest.mark.parametrize(
    ("extension", "kind"),
    [
        (IDENTIFIER, x509.SubjectKeyIdentifier),
        (IDENTIFIER + b"\0", None),
        (IDENTIFIER[:-1], None),
        (_own_name(b"8999@carte-cps.fr"), x509.SubjectAlternativeName),
        (_own_name("é@a.fr".encode()), x509.SubjectAlternativeName),
        (_own_name(b"\xff@a.fr"), None),
        (_own_name(b""), None),
        (_own_name(b"a" * 100), x509.SubjectAlternativeName),
        (_own_name(b"a" * 101), None),  # its length takes two bytes
        (_own_name(b"a@b")[:-1], None),
        (_own_name(b"a@b") + b"c", None),
        (_own_name(b"a@b").replace(b"\x0c\x03", b"\x13\x03"), None),  # PrintableString
        (_own_name(b"a@b").replace(UPN_DER, UPN_DER[:-1] + b"\x04"), None),
        (b"", None),
    ],
)
def test_extensions_that_are_read_here(
    extension: bytes, kind: type[x509.ExtensionType] | None
) -> None:
    """Exactly two shapes of those that the library knows."""
    assert kind_of_own(extension) is kind


ODD_DER = bytes.fromhex("06082a817a0147010263")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (ODD_DER + b"\x04\x02\x05\x00", b"\x05\x00"),
        (ODD_DER + b"\x04\x00", b""),
        (ODD_DER + b"\x01\x01\xff\x04\x02\x05\x00", None),  # critical
        (ODD_DER + b"\x04\x03\x05\x00", None),
        (ODD_DER + b"\x04\x01\x05\x00", None),
        (ODD_DER + b"\x03\x02\x05\x00", None),
        (ODD_DER + b"\x04", None),
        (ODD_DER, None),
        (bytes.fromhex("0603551d0e04020400"), None),  # one that the library knows
        (b"\x06\x7f", None),
    ],
)
def test_private_extensions_that_are_read_here(body: bytes, value: bytes | None) -> None:
    """Not critical, short, and of a kind that the library does not look into."""
    read = read_private(tlv(0x30, body), {ODD_DER: ODD})
    assert read == (None if value is None else (ODD, value))
    assert read_private(tlv(0x31, body), {ODD_DER: ODD}) is None

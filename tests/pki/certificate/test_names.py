"""Names of authorities and of distribution points, as they are compared."""

from __future__ import annotations

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from cps_auth.pki.certificate.names import general_name_key, name_key


def _name(text: str, oid: x509.ObjectIdentifier = NameOID.COMMON_NAME) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text)])


def test_case_and_spaces_do_not_count() -> None:
    """RFC 5280 section 7.1; another letter, or another attribute, is another name."""
    assert name_key(_name("AC  Fort ")) == name_key(_name("ac fort"))
    assert name_key(_name("AC Fort")) != name_key(_name("AC Forte"))
    assert name_key(_name("AC Fort")) != name_key(_name("AC Fort", NameOID.ORGANIZATION_NAME))


def test_bits_are_compared_as_they_are() -> None:
    """A unique identifier is a BIT STRING: no text, and no reason to fail."""
    oid, kind = NameOID.X500_UNIQUE_IDENTIFIER, _ASN1Type.BitString
    one, other = (x509.Name([x509.NameAttribute(oid, bits, kind)]) for bits in (b"\x01", b"\x02"))
    assert name_key(one) == name_key(one) != name_key(other)
    assert name_key(one) != name_key(_name("01"))


def test_directory_names_are_compared_as_names() -> None:
    """A distribution point's directory name matches as an issuer's does; an address to the byte."""
    one, other = (x509.DirectoryName(_name(text)) for text in ("AC Fort", "ac  fort"))
    assert general_name_key(one) == general_name_key(other)
    low, high = (x509.UniformResourceIdentifier(f"http://crl.example/{x}") for x in ("a", "A"))
    assert general_name_key(low) != general_name_key(high)

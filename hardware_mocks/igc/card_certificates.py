"""Certificates of cards, shaped like those of the IGC-Santé."""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from hardware_mocks.igc.certificates import (
    SITE,
    Authority,
    CertificateRequest,
    ExtensionItem,
    crl_points,
    directory,
    issued_by,
    key_usage,
    point,
    policies,
)
from hardware_mocks.personas import Persona

OID_CARD_TYPE = x509.ObjectIdentifier("1.2.250.1.71.1.2.2")
OID_CARD_ID = x509.ObjectIdentifier("1.2.250.1.71.1.2.3")
OID_CATEGORY = x509.ObjectIdentifier("1.2.250.1.71.1.2.5")
OID_PROFESSION = x509.ObjectIdentifier("1.2.250.1.71.1.2.7")
OID_SPECIALITY = x509.ObjectIdentifier("1.2.250.1.71.4.2.5")
OID_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
# The policy of production cards is not published; their arc is 1.2.250.1.213.1.7.1.
OID_POLICY = x509.ObjectIdentifier("1.2.250.1.213.1.7.1.1.1.1.1")
CARD_ISSUER = "8025000001"  # GIP-CPS, ISO/IEC 7812

CATEGORY_CARD = 0x00
CATEGORY_TEST_CARD = 0x80


class CertificateUse(enum.Enum):
    """Which of a card's two certificates."""

    AUTHENTICATION = "authentication"
    SIGNATURE = "signature"


def card_request(
    persona: Persona,
    use: CertificateUse,
    key: RSAPrivateKey,
    issuer: Authority,
    *,
    not_before: datetime,
    not_after: datetime,
    issuer_file: str = "ACI-FO-PP",
    category: int = CATEGORY_CARD,
) -> CertificateRequest:
    """Return the request of a persona's authentication or signature certificate."""
    extensions: tuple[ExtensionItem, ...] = (
        (x509.BasicConstraints(ca=False, path_length=None), False),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (issued_by(issuer), False),
        *_use_extensions(persona, use),
        (policies(OID_POLICY), False),
        (crl_points(issuer_file, issuer.certificate.subject), False),
        (x509.FreshestCRL([point(directory(issuer.certificate.subject, "delta"))]), False),
        (_information_access(issuer_file), False),
        *_private_extensions(persona, category),
    )
    serial = int.from_bytes(bytes([0x40 | os.urandom(1)[0] >> 2]) + os.urandom(15), "big")
    return CertificateRequest(
        card_subject(persona), key.public_key(), not_before, not_after, serial, extensions
    )


def card_subject(persona: Persona) -> x509.Name:
    """Return C, ST, O, OU, T and a last RDN of several values, as on IGC-Santé cards."""
    single = (
        (NameOID.COUNTRY_NAME, "FR"),
        (NameOID.STATE_OR_PROVINCE_NAME, persona.locality),
        (NameOID.ORGANIZATION_NAME, persona.organisation),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, persona.structure_id),
        (NameOID.TITLE, persona.title),
    )
    last = (
        (NameOID.GIVEN_NAME, persona.given_name),
        (NameOID.COMMON_NAME, persona.ps_idnat),
        (NameOID.SURNAME, persona.surname),
    )
    rdns = [
        x509.RelativeDistinguishedName([x509.NameAttribute(oid, value)])
        for oid, value in single
        if value
    ]
    names = [x509.NameAttribute(oid, value) for oid, value in last if value]
    return x509.Name([*rdns, x509.RelativeDistinguishedName(names)])


def _use_extensions(persona: Persona, use: CertificateUse) -> tuple[ExtensionItem, ...]:
    if use is CertificateUse.SIGNATURE:
        return (
            (key_usage("content_commitment"), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False),
        )
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SMARTCARD_LOGON]
    upn = x509.OtherName(OID_UPN, _der(0x0C, f"{persona.ps_idnat}@carte-cps.invalid".encode()))
    return (
        (key_usage("digital_signature"), True),
        (x509.ExtendedKeyUsage(usages), False),
        (x509.SubjectAlternativeName([upn]), False),
    )


def _private_extensions(persona: Persona, category: int) -> Iterable[ExtensionItem]:
    card_id = f"{CARD_ISSUER}/{persona.card_number}".encode()
    yield private_extension(OID_CATEGORY, 0x04, bytes([category]))
    yield private_extension(OID_CARD_TYPE, 0x02, bytes([persona.card_type]))
    yield private_extension(OID_CARD_ID, 0x13, card_id)
    if persona.profession_code is not None:
        yield private_extension(OID_PROFESSION, 0x02, bytes([persona.profession_code]))
    if persona.speciality is not None:
        speciality = _der(0x0C, persona.speciality.encode())
        yield private_extension(OID_SPECIALITY, 0x30, speciality)


def private_extension(oid: x509.ObjectIdentifier, tag: int, content: bytes) -> ExtensionItem:
    """Return a non-critical extension whose value is one short DER element."""
    return x509.UnrecognizedExtension(oid, _der(tag, content)), False


def _der(tag: int, content: bytes) -> bytes:
    if len(content) > 127:
        raise ValueError("short lengths only (X.690 section 8.1.3.4)")
    return bytes([tag, len(content)]) + content


def _information_access(issuer_file: str) -> x509.AuthorityInformationAccess:
    places = (
        (AuthorityInformationAccessOID.OCSP, "http://ocsp.invalid"),
        (AuthorityInformationAccessOID.CA_ISSUERS, f"{SITE}/AC/{issuer_file}.cer"),
    )
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in places]
    )

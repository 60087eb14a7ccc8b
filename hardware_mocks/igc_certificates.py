"""Certificates and CRLs shaped like those of the IGC-Santé: pure builders, no state.

The shapes were read from the production CAs of 2013 and from published ANS TEST certificates.
Whatever could pass for the real thing is replaced: names say FICTIVE, and every address
ends in .invalid (RFC 6761 section 6.4).
"""

from __future__ import annotations

import dataclasses
import enum
import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import (
    CertificateIssuerPrivateKeyTypes,
    CertificatePublicKeyTypes,
)
from cryptography.x509.oid import (
    AuthorityInformationAccessOID,
    ExtendedKeyUsageOID,
    NameOID,
)

from hardware_mocks.personas import Persona

SITE = "http://igc-sante.invalid"
OID_CARD_TYPE = x509.ObjectIdentifier("1.2.250.1.71.1.2.2")
OID_CARD_ID = x509.ObjectIdentifier("1.2.250.1.71.1.2.3")
OID_CATEGORY = x509.ObjectIdentifier("1.2.250.1.71.1.2.5")
OID_PROFESSION = x509.ObjectIdentifier("1.2.250.1.71.1.2.7")
OID_SPECIALITY = x509.ObjectIdentifier("1.2.250.1.71.4.2.5")
OID_UPN = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")
# The policy of production cards is not published; their arc is 1.2.250.1.213.1.7.1.
OID_POLICY = x509.ObjectIdentifier("1.2.250.1.213.1.7.1.1.1.1.1")
OID_ANY_POLICY = x509.ObjectIdentifier("2.5.29.32.0")
CARD_ISSUER = "8025000001"  # GIP-CPS, ISO/IEC 7812

CATEGORY_CARD = 0x00
CATEGORY_TEST_CARD = 0x80

ExtensionItem = tuple[x509.ExtensionType, bool]


class CertificateUse(enum.Enum):
    """Which of a card's two certificates."""

    AUTHENTICATION = "authentication"
    SIGNATURE = "signature"


@dataclass(frozen=True)
class Authority:
    """A CA: its certificate and its key."""

    certificate: x509.Certificate
    key: RSAPrivateKey

    @property
    def der(self) -> bytes:
        """Return the certificate as DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)


@dataclass(frozen=True)
class CertificateRequest:
    """All that a certificate says, apart from who issued it; tests change it at will."""

    subject: x509.Name
    public_key: CertificatePublicKeyTypes
    not_before: datetime
    not_after: datetime
    serial: int
    extensions: tuple[ExtensionItem, ...]

    def without(self, *oids: x509.ObjectIdentifier) -> CertificateRequest:
        """Return the same request without the extensions of these identifiers."""
        kept = tuple(item for item in self.extensions if item[0].oid not in oids)
        return dataclasses.replace(self, extensions=kept)

    def having(self, extension: x509.ExtensionType, *, critical: bool) -> CertificateRequest:
        """Return the same request with this extension, in place of one of the same identifier."""
        rest = self.without(extension.oid)
        return dataclasses.replace(rest, extensions=(*rest.extensions, (extension, critical)))


@dataclass(frozen=True, slots=True)
class Revocation:
    """One line of a CRL."""

    serial: int
    revoked_at: datetime
    reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise


def sign_certificate(
    request: CertificateRequest,
    issuer_name: x509.Name,
    issuer_key: CertificateIssuerPrivateKeyTypes,
) -> x509.Certificate:
    """Return the certificate that this issuer makes of the request, with SHA-256."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(request.subject)
        .issuer_name(issuer_name)
        .public_key(request.public_key)
        .serial_number(request.serial)
        .not_valid_before(request.not_before)
        .not_valid_after(request.not_after)
    )
    for extension, critical in request.extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, hashes.SHA256())


def ca_name(common_name: str) -> x509.Name:
    """Return the name of a CA: C, O, OU, OU, CN as in the real hierarchy."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "AGENCE FICTIVE"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "0002 000000000"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "IGC-SANTE FICTIVE"),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def ca_request(
    common_name: str,
    key: RSAPrivateKey,
    *,
    not_before: datetime,
    not_after: datetime,
    issuer_key: RSAPrivateKey,
    issuer_common_name: str,
    path_length: int | None = None,
    crl_file: str | None = None,
) -> CertificateRequest:
    """Return the request of a CA; `crl_file` names the CRL of its issuer, None for a root."""
    extensions: tuple[ExtensionItem, ...] = (
        (x509.BasicConstraints(ca=True, path_length=path_length), True),
        (key_usage("key_cert_sign", "crl_sign"), True),
        (_policies(OID_ANY_POLICY), False),
        *(((_crl_points(crl_file, ca_name(issuer_common_name)), False),) if crl_file else ()),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
    )
    serial = int.from_bytes(b"\x11\x20" + os.urandom(16), "big")
    return CertificateRequest(
        ca_name(common_name), key.public_key(), not_before, not_after, serial, extensions
    )


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
        (_policies(OID_POLICY), False),
        (_crl_points(issuer_file, issuer.certificate.subject), False),
        (x509.FreshestCRL([_point(_directory(issuer.certificate.subject, "delta"))]), False),
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


def issued_by(issuer: Authority) -> x509.AuthorityKeyIdentifier:
    """Return the authority key identifier that points at this CA's key."""
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())


def key_usage(*bits: str) -> x509.KeyUsage:
    """Return the KeyUsage with just these bits, named as in `x509.KeyUsage`."""
    every = (
        "digital_signature",
        "content_commitment",
        "key_encipherment",
        "data_encipherment",
        "key_agreement",
        "key_cert_sign",
        "crl_sign",
        "encipher_only",
        "decipher_only",
    )
    return x509.KeyUsage(**{bit: bit in bits for bit in every})


def sign_crl(
    issuer: Authority,
    revoked: Iterable[Revocation],
    *,
    this_update: datetime,
    next_update: datetime,
    number: int,
    signing_key: RSAPrivateKey | None = None,
    extra: Iterable[ExtensionItem] = (),
) -> bytes:
    """Return a CRL of this issuer as DER, signed by `signing_key` if that is given."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(this_update)
        .next_update(next_update)
        .add_extension(issued_by(issuer), critical=False)
        .add_extension(x509.CRLNumber(number), critical=False)
    )
    for extension, critical in extra:
        builder = builder.add_extension(extension, critical=critical)
    for line in revoked:
        builder = builder.add_revoked_certificate(_revoked_certificate(line))
    crl = builder.sign(signing_key or issuer.key, hashes.SHA256())
    return crl.public_bytes(serialization.Encoding.DER)


def _revoked_certificate(line: Revocation) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder().serial_number(line.serial).revocation_date(line.revoked_at)
    )
    if line.reason is not None:
        builder = builder.add_extension(x509.CRLReason(line.reason), critical=False)
    return builder.build()


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


def _policies(policy: x509.ObjectIdentifier) -> x509.CertificatePolicies:
    return x509.CertificatePolicies([x509.PolicyInformation(policy, [f"{SITE}/PC"])])


def _crl_points(crl_file: str, issuer: x509.Name) -> x509.CRLDistributionPoints:
    return x509.CRLDistributionPoints(
        [_point(f"{SITE}/CRL/{crl_file}.crl"), _point(_directory(issuer, "certificate"))]
    )


def _directory(issuer: x509.Name, list_kind: str) -> str:
    """Return an LDAP address as long as the real ones: certificates are over 2 KB for it."""
    name = ",".join(reversed([rdn.rfc4514_string() for rdn in issuer.rdns])).replace(" ", "%20")
    query = f"{list_kind}revocationlist;binary?base?objectClass=pkiCA"
    return f"ldap://annuaire-igc.invalid/{name}?{query}"


def _point(url: str) -> x509.DistributionPoint:
    return x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)


def _information_access(issuer_file: str) -> x509.AuthorityInformationAccess:
    places = (
        (AuthorityInformationAccessOID.OCSP, "http://ocsp.invalid"),
        (AuthorityInformationAccessOID.CA_ISSUERS, f"{SITE}/AC/{issuer_file}.cer"),
    )
    return x509.AuthorityInformationAccess(
        [x509.AccessDescription(oid, x509.UniformResourceIdentifier(url)) for oid, url in places]
    )

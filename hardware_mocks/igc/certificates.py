"""Certificates shaped like those of the IGC-Santé: the parts that CAs and cards share.

The shapes were read from the production CAs of 2013 and from published ANS TEST certificates.
Whatever could pass for the real thing is replaced: names say FICTIVE, and every address
ends in .invalid (RFC 6761 section 6.4).
"""

from __future__ import annotations

import dataclasses
import os
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
    NameOID,
)

SITE = "http://igc-sante.invalid"
OID_ANY_POLICY = x509.ObjectIdentifier("2.5.29.32.0")
ExtensionItem = tuple[x509.ExtensionType, bool]


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
        (policies(OID_ANY_POLICY), False),
        *(((crl_points(crl_file, ca_name(issuer_common_name)), False),) if crl_file else ()),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
    )
    serial = int.from_bytes(b"\x11\x20" + os.urandom(16), "big")
    return CertificateRequest(
        ca_name(common_name), key.public_key(), not_before, not_after, serial, extensions
    )


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


def policies(policy: x509.ObjectIdentifier) -> x509.CertificatePolicies:
    """Return the policy and the address of its text."""
    return x509.CertificatePolicies([x509.PolicyInformation(policy, [f"{SITE}/PC"])])


def crl_points(crl_file: str, issuer: x509.Name) -> x509.CRLDistributionPoints:
    """Return where the CRL of an issuer is, over http and in the directory."""
    return x509.CRLDistributionPoints(
        [point(f"{SITE}/CRL/{crl_file}.crl"), point(directory(issuer, "certificate"))]
    )


def directory(issuer: x509.Name, list_kind: str) -> str:
    """Return an LDAP address as long as the real ones: certificates are over 2 KB for it."""
    name = ",".join(reversed([rdn.rfc4514_string() for rdn in issuer.rdns])).replace(" ", "%20")
    query = f"{list_kind}revocationlist;binary?base?objectClass=pkiCA"
    return f"ldap://annuaire-igc.invalid/{name}?{query}"


def point(url: str) -> x509.DistributionPoint:
    """Return one distribution point."""
    return x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)

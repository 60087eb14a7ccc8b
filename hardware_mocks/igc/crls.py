"""CRLs shaped like those of the IGC-Santé."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from hardware_mocks.igc.certificates import Authority, ExtensionItem, issued_by


@dataclass(frozen=True, slots=True)
class Revocation:
    """One line of a CRL."""

    serial: int
    revoked_at: datetime
    reason: x509.ReasonFlags | None = x509.ReasonFlags.key_compromise
    extra: tuple[ExtensionItem, ...] = ()


def sign_crl(
    issuer: Authority,
    revoked: Iterable[Revocation],
    *,
    this_update: datetime,
    next_update: datetime,
    number: int | None,
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
    )
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
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
    for extension, critical in line.extra:
        builder = builder.add_extension(extension, critical=critical)
    return builder.build()

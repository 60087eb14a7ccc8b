"""OCSP answers of the fake IGC-Santé, sound or spoiled. The library dates them: now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp


@dataclass(frozen=True)
class OcspResponder:
    """The signer of OCSP answers: an authority, or its delegate."""

    certificate: x509.Certificate
    key: CertificateIssuerPrivateKeyTypes


def ocsp_answer(
    about: x509.Certificate,
    issuer: x509.Certificate,
    responder: OcspResponder,
    *,
    status: ocsp.OCSPCertStatus = ocsp.OCSPCertStatus.GOOD,
    this_update: datetime | None = None,
    next_update: datetime | None = None,
    revoked_at: datetime | None = None,
    nonce: bytes | None = None,
    sent_along: tuple[x509.Certificate, ...] = (),
    by_name: bool = False,
) -> bytes:
    """Return an answer as DER.

    Args:
        about, issuer: the certificate asked about, and the authority in its CertID.
        responder: who signs.
        status: good, revoked or unknown.
        this_update: now when None.
        next_update: none is written when None.
        revoked_at: `this_update` when None.
        nonce: sent back when given.
        sent_along: certificates put into the answer.
        by_name: the responder is named, not identified by its key.
    """
    since = this_update or datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    is_revoked = status is ocsp.OCSPCertStatus.REVOKED
    encoding = ocsp.OCSPResponderEncoding.NAME if by_name else ocsp.OCSPResponderEncoding.HASH
    builder = (
        ocsp.OCSPResponseBuilder()
        .add_response(
            cert=about,
            issuer=issuer,
            algorithm=hashes.SHA1(),  # noqa: S303, names the issuer
            cert_status=status,
            this_update=since,
            next_update=next_update,
            revocation_time=(revoked_at or since) if is_revoked else None,
            revocation_reason=x509.ReasonFlags.key_compromise if is_revoked else None,
        )
        .responder_id(encoding, responder.certificate)
    )
    if sent_along:
        builder = builder.certificates(list(sent_along))
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.sign(responder.key, hashes.SHA256()).public_bytes(Encoding.DER)

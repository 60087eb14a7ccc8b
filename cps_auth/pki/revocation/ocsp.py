"""OCSP: asks whether one certificate is revoked, and judges the answer. No network here."""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID, SignatureAlgorithmOID

from cps_auth.der import BIT_STRING, element_at, inside
from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.parse import group_extensions
from cps_auth.pki.certificate.signature import signed_parts, verify_signature
from cps_auth.pki.chain.issuer import Issuer, has_unknown_critical, is_issued_by, is_strong_key
from cps_auth.pki.revocation.ocsp_form import has_critical_inside, has_sound_size
from cps_auth.pki.revocation.policy import RevocationPolicy

RESPONSE_MAX_BYTES = 64 * 1024
NONCE_BYTES = 32  # RFC 8954 section 2.1

_HASHES = ("sha1", "sha256", "sha384", "sha512")  # of a CertID: a name, not a proof
_SCHEMES: Mapping[x509.ObjectIdentifier, Callable[[hashes.HashAlgorithm], object]] = {
    SignatureAlgorithmOID.RSA_WITH_SHA256: lambda _hash: padding.PKCS1v15(),
    SignatureAlgorithmOID.RSA_WITH_SHA384: lambda _hash: padding.PKCS1v15(),
    SignatureAlgorithmOID.RSA_WITH_SHA512: lambda _hash: padding.PKCS1v15(),
    SignatureAlgorithmOID.ECDSA_WITH_SHA256: ec.ECDSA,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384: ec.ECDSA,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512: ec.ECDSA,
}


class OcspProblem(enum.StrEnum):
    """Reasons for which an OCSP answer is no evidence: RevocationUnknown.why."""

    MALFORMED = "ocsp-malformed"
    NOT_SUCCESSFUL = "ocsp-not-successful"
    OTHER_CERTIFICATE = "ocsp-other-certificate"
    SEVERAL = "ocsp-several"
    UNAUTHORISED = "ocsp-unauthorised-responder"
    BAD_SIGNATURE = "ocsp-bad-signature"
    UNKNOWN_EXTENSION = "ocsp-unknown-extension"
    NONCE = "ocsp-nonce"
    NOT_YET_VALID = "ocsp-not-yet-valid"
    STALE = "ocsp-stale"
    RESPONDER_UNCHECKED = "ocsp-responder-unchecked"
    UNKNOWN = "ocsp-unknown"


class OcspRefused(Exception):
    """An answer is no evidence; `problem` says why."""

    def __init__(self, problem: OcspProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem


@dataclass(frozen=True)
class Question:
    """An OCSP request, and the nonce that has to come back."""

    der: bytes
    nonce: bytes


@dataclass(frozen=True)
class Answer:
    """An OCSP response. `nonce` is that of the request, None when none was sent (stapled)."""

    unverified_der: bytes
    nonce: bytes | None


class OcspSource(Protocol):
    """Source of answers: the network (`cps_auth.pki.upkeep.fetch`), or somebody who has one."""

    def answers(self, child: x509.Certificate, issuer: x509.Certificate) -> Iterable[Answer]:
        """Return answers about a certificate, none when nobody answered."""


@dataclass(frozen=True)
class OcspEvidence:
    """A judged answer.

    Attributes:
        revoked: since when and why; None when the certificate is good.
        responder: its own certificate, which may be revoked; None when the issuer answered.
    """

    this_update: datetime
    next_update: datetime
    revoked: tuple[datetime, str] | None
    responder: ParsedCertificate | None


def make_question(child: x509.Certificate, issuer: x509.Certificate) -> Question:
    """Return a new question about one certificate.

    Source: RFC 6960 section 4.1; the CertID hashes are SHA-1, which every responder knows.
    """
    nonce = os.urandom(NONCE_BYTES)
    request = (
        ocsp.OCSPRequestBuilder()
        .add_certificate(child, issuer, hashes.SHA1())  # noqa: S303, names the issuer
        .add_extension(x509.OCSPNonce(nonce), critical=False)
        .build()
    )
    return Question(request.public_bytes(Encoding.DER), nonce)


def judge_answer(
    answer: Answer,
    child: x509.Certificate,
    issuer: Issuer,
    *,
    at: datetime,
    policy: RevocationPolicy,
) -> OcspEvidence:
    """Return what an answer proves about a certificate.

    Args:
        answer: as it came.
        child, issuer: neighbours in a verified chain.
        at: the moment of judgement, aware UTC.
        policy: nonce, freshness, clock.

    Raises:
        OcspRefused: it proves nothing.

    Source: RFC 6960 sections 3.2, 4.2.2.2 and 4.4.1.
    """
    try:
        return _judge(answer, child, issuer, at, policy)
    except OcspRefused:
        raise
    except Exception:  # the library documents no closed list, and reads lazily
        raise OcspRefused(OcspProblem.MALFORMED) from None


def _judge(
    answer: Answer, child: x509.Certificate, issuer: Issuer, at: datetime, policy: RevocationPolicy
) -> OcspEvidence:
    if len(answer.unverified_der) > RESPONSE_MAX_BYTES:
        raise OcspRefused(OcspProblem.MALFORMED)
    response = ocsp.load_der_ocsp_response(answer.unverified_der)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise OcspRefused(OcspProblem.NOT_SUCCESSFUL)
    if not has_sound_size(answer.unverified_der):
        raise OcspRefused(OcspProblem.MALFORMED)
    responder = _responder(response, issuer, at)
    if not _is_signed(response, issuer.x509 if responder is None else responder.x509):
        raise OcspRefused(OcspProblem.BAD_SIGNATURE)
    revoking = _revoking(response, child, issuer)
    if revoking is not None:
        # It counts without nonce, late, under a slow clock and with what nobody understands.
        since = revoking.revocation_time_utc or revoking.this_update_utc
        reason = revoking.revocation_reason
        revoked = since, reason.value if reason else "unspecified"
        return OcspEvidence(revoking.this_update_utc, at, revoked, responder)
    _check_extensions(response, answer.nonce, policy)
    single = _only_good(response, child, issuer)
    this_update = single.this_update_utc
    until = single.next_update_utc or this_update + policy.answer_max_age
    if until < this_update:
        raise OcspRefused(OcspProblem.MALFORMED)
    if max(this_update, response.produced_at_utc) > at + policy.clock_skew:
        raise OcspRefused(OcspProblem.NOT_YET_VALID)
    if at > until:
        raise OcspRefused(OcspProblem.STALE)
    return OcspEvidence(this_update, until, None, responder)


def _revoking(
    response: ocsp.OCSPResponse, child: x509.Certificate, issuer: Issuer
) -> ocsp.OCSPSingleResponse | None:
    """Return what revokes the certificate, None when nothing that can be read does."""
    try:
        return next(
            single
            for single in response.responses
            if single.certificate_status is ocsp.OCSPCertStatus.REVOKED
            and _is_about(single, child, issuer)
        )
    except Exception:  # the library documents no closed list, and reads lazily
        return None


def _only_good(
    response: ocsp.OCSPResponse, child: x509.Certificate, issuer: Issuer
) -> ocsp.OCSPSingleResponse:
    """Return the one "good" about the certificate; of several nobody knows which counts."""
    about = [single for single in response.responses if _is_about(single, child, issuer)]
    if not about:
        raise OcspRefused(OcspProblem.OTHER_CERTIFICATE)
    if len(about) > 1:
        raise OcspRefused(OcspProblem.SEVERAL)
    if about[0].certificate_status is not ocsp.OCSPCertStatus.GOOD:
        raise OcspRefused(OcspProblem.UNKNOWN)
    return about[0]


def _responder(
    response: ocsp.OCSPResponse, issuer: Issuer, at: datetime
) -> ParsedCertificate | None:
    """Return the delegated responder's certificate, None when the issuer answered itself."""
    name, key_hash = response.responder_name, response.responder_key_hash
    for certificate in (issuer.x509, *response.certificates):
        is_named = (
            key_hash == _key_hash(certificate, "sha1")
            if name is None
            else (certificate.subject == name)
        )
        if is_named and certificate is issuer.x509:
            return None
        responder = _delegated(certificate, issuer, at) if is_named else None
        if responder is not None:
            return responder
    raise OcspRefused(OcspProblem.UNAUTHORISED)


def _delegated(
    certificate: x509.Certificate, issuer: Issuer, at: datetime
) -> ParsedCertificate | None:
    """Return a certificate that the issuer itself made for signing answers, else None."""
    parts = signed_parts(certificate.public_bytes(Encoding.DER))
    if not is_issued_by(certificate, parts, issuer):
        return None  # nothing else is looked into before
    dates = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    extensions = group_extensions(certificate.extensions)
    responder = ParsedCertificate(certificate, (), extensions, *dates)  # its name says nothing
    extended = extensions.known.get(x509.ExtendedKeyUsage)
    usage = extensions.known.get(x509.KeyUsage)
    is_delegated = (
        extended is not None
        and ExtendedKeyUsageOID.OCSP_SIGNING in extended
        and (usage is None or usage.digital_signature)
        and responder.not_before <= at <= responder.not_after
        and is_strong_key(certificate)
        and not has_unknown_critical(responder)
    )
    return responder if is_delegated else None


def _is_signed(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    algorithm = response.signature_hash_algorithm
    make_scheme = _SCHEMES.get(response.signature_algorithm_oid)
    if make_scheme is None or algorithm is None:
        return False
    key, signed = signer.public_key(), response.tbs_response_bytes
    return verify_signature(key, response.signature, signed, make_scheme(algorithm), algorithm)


def _check_extensions(
    response: ocsp.OCSPResponse, nonce: bytes | None, policy: RevocationPolicy
) -> None:
    found = None
    for extension in response.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            found = extension.value.nonce
        elif extension.critical:
            raise OcspRefused(OcspProblem.UNKNOWN_EXTENSION)
    if has_critical_inside(response.tbs_response_bytes):
        raise OcspRefused(OcspProblem.UNKNOWN_EXTENSION)
    if nonce is not None and found != nonce and (found is not None or policy.nonce_required):
        raise OcspRefused(OcspProblem.NONCE)


def _is_about(single: ocsp.OCSPSingleResponse, child: x509.Certificate, issuer: Issuer) -> bool:
    name = single.hash_algorithm.name
    return (
        name in _HASHES
        and single.serial_number == child.serial_number
        and single.issuer_name_hash == hashlib.new(name, issuer.name_der).digest()
        and single.issuer_key_hash == _key_hash(issuer.x509, name)
    )


def _key_hash(certificate: x509.Certificate, algorithm: str) -> bytes:
    """Hash the public key's bits, without tag, length and unused bits (RFC 6960, 4.1.1)."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whole = element_at(spki, 0, len(spki))
    bits = next(part for part in inside(spki, whole) if part.tag == BIT_STRING)
    return hashlib.new(algorithm, spki[bits.content + 1 : bits.end]).digest()

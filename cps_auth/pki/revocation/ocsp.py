"""OCSP: asks whether one certificate is revoked, and judges the answer. No network here."""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Iterable
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
from cps_auth.pki.certificate.frame import frame_or_none
from cps_auth.pki.certificate.parts import extension_of
from cps_auth.pki.chain.authority_paths import has_unknown_critical
from cps_auth.pki.chain.issuer_checks import is_strong_key
from cps_auth.pki.chain.signatures import is_issued_by, verify_bytes
from cps_auth.pki.revocation.ocsp_form import has_critical_inside, has_sound_size
from cps_auth.pki.revocation.policy import RevocationPolicy

RESPONSE_MAX_BYTES = 64 * 1024
NONCE_BYTES = 32  # RFC 8954 section 2.1

_HASHES = ("sha1", "sha256", "sha384", "sha512")  # of a CertID: a name, not a proof
_RSA = (
    SignatureAlgorithmOID.RSA_WITH_SHA256,
    SignatureAlgorithmOID.RSA_WITH_SHA384,
    SignatureAlgorithmOID.RSA_WITH_SHA512,
)
_ECDSA = (
    SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    SignatureAlgorithmOID.ECDSA_WITH_SHA384,
    SignatureAlgorithmOID.ECDSA_WITH_SHA512,
)


class OcspDoubt(enum.Enum):
    """Why an answer is no evidence; the value is `why` of RevocationUnknown."""

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
    """An answer is no evidence; `doubt` says why."""

    def __init__(self, doubt: OcspDoubt) -> None:
        super().__init__(doubt.value)
        self.doubt = doubt


@dataclass(frozen=True)
class Question:
    """What is sent, and the nonce that has to come back."""

    der: bytes
    nonce: bytes


@dataclass(frozen=True)
class Answer:
    """What came back. `nonce` is that of the question, None when none was asked (stapled)."""

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
        responder: its own certificate; None when the issuer answered itself. Whether that
            one is revoked is still to be asked, unless it says that nobody need ask.
    """

    this_update: datetime
    next_update: datetime
    revoked: tuple[datetime, str] | None
    responder: x509.Certificate | None


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
    issuer: x509.Certificate,
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
        raise OcspRefused(OcspDoubt.MALFORMED) from None


def _judge(
    answer: Answer,
    child: x509.Certificate,
    issuer: x509.Certificate,
    at: datetime,
    policy: RevocationPolicy,
) -> OcspEvidence:
    if len(answer.unverified_der) > RESPONSE_MAX_BYTES:
        raise OcspRefused(OcspDoubt.MALFORMED)
    response = ocsp.load_der_ocsp_response(answer.unverified_der)
    if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        raise OcspRefused(OcspDoubt.NOT_SUCCESSFUL)
    if not has_sound_size(answer.unverified_der):
        raise OcspRefused(OcspDoubt.MALFORMED)
    responder = _responder(response, issuer, at)
    signer = responder or issuer
    if not _is_signed(response, signer):
        raise OcspRefused(OcspDoubt.BAD_SIGNATURE)
    _check_extensions(response, answer.nonce, policy)
    single, revoked = _only_answer(response, child, issuer)
    until = single.next_update_utc or single.this_update_utc + policy.answer_max_age
    if until < single.this_update_utc:
        raise OcspRefused(OcspDoubt.MALFORMED)
    if max(single.this_update_utc, response.produced_at_utc) > at + policy.clock_skew:
        raise OcspRefused(OcspDoubt.NOT_YET_VALID)
    if revoked is None and at > until:
        raise OcspRefused(OcspDoubt.STALE)
    return OcspEvidence(single.this_update_utc, until, revoked, responder)


def _only_answer(
    response: ocsp.OCSPResponse, child: x509.Certificate, issuer: x509.Certificate
) -> tuple[ocsp.OCSPSingleResponse, tuple[datetime, str] | None]:
    """Return what is said about the certificate, and since when and why it is revoked.

    Of several answers about it one that revokes counts; otherwise nobody knows which does.
    """
    about = [single for single in response.responses if _is_about(single, child, issuer)]
    if not about:
        raise OcspRefused(OcspDoubt.OTHER_CERTIFICATE)
    revoking = [one for one in about if one.certificate_status is ocsp.OCSPCertStatus.REVOKED]
    if len(about) > 1 and not revoking:
        raise OcspRefused(OcspDoubt.SEVERAL)
    single = (revoking or about)[0]
    return single, _revoked(single)


def _responder(
    response: ocsp.OCSPResponse, issuer: x509.Certificate, at: datetime
) -> x509.Certificate | None:
    """Return the delegated responder's certificate, None when the issuer answered itself."""
    name, key_hash = response.responder_name, response.responder_key_hash
    for certificate in (issuer, *response.certificates):
        is_named = (
            key_hash == _key_hash(certificate, "sha1")
            if name is None
            else (certificate.subject == name)
        )
        if is_named and certificate is issuer:
            return None
        if is_named and _is_delegated(certificate, issuer, at):
            return certificate
    raise OcspRefused(OcspDoubt.UNAUTHORISED)


def _is_delegated(responder: x509.Certificate, issuer: x509.Certificate, at: datetime) -> bool:
    """Return whether the issuer itself made this certificate for signing answers."""
    der = responder.public_bytes(Encoding.DER)
    if not is_issued_by(responder, der, frame_or_none(der), issuer):
        return False  # nothing else is looked into before
    extended = extension_of(responder, x509.ExtendedKeyUsage)
    usage = extension_of(responder, x509.KeyUsage)
    return (
        extended is not None
        and ExtendedKeyUsageOID.OCSP_SIGNING in extended
        and (usage is None or usage.digital_signature)
        and responder.not_valid_before_utc <= at <= responder.not_valid_after_utc
        and is_strong_key(responder)
        and not has_unknown_critical(responder)
    )


def needs_no_check(responder: x509.Certificate) -> bool:
    """Return whether a responder's certificate says not to ask whether it is revoked."""
    return extension_of(responder, x509.OCSPNoCheck) is not None


def _is_signed(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    oid, algorithm = response.signature_algorithm_oid, response.signature_hash_algorithm
    scheme: padding.PKCS1v15 | ec.ECDSA
    if oid in _RSA:
        scheme = padding.PKCS1v15()
    elif oid in _ECDSA and algorithm is not None:
        scheme = ec.ECDSA(algorithm)
    else:
        return False
    key, signed = signer.public_key(), response.tbs_response_bytes
    return verify_bytes(key, response.signature, signed, scheme, algorithm)


def _check_extensions(
    response: ocsp.OCSPResponse, nonce: bytes | None, policy: RevocationPolicy
) -> None:
    found = None
    for extension in response.extensions:
        if isinstance(extension.value, x509.OCSPNonce):
            found = extension.value.nonce
        elif extension.critical:
            raise OcspRefused(OcspDoubt.UNKNOWN_EXTENSION)
    if has_critical_inside(response.tbs_response_bytes):
        raise OcspRefused(OcspDoubt.UNKNOWN_EXTENSION)
    if nonce is not None and found != nonce and (found is not None or policy.nonce_required):
        raise OcspRefused(OcspDoubt.NONCE)


def _is_about(
    single: ocsp.OCSPSingleResponse, child: x509.Certificate, issuer: x509.Certificate
) -> bool:
    name = single.hash_algorithm.name
    return (
        name in _HASHES
        and single.serial_number == child.serial_number
        and single.issuer_name_hash == hashlib.new(name, issuer.subject.public_bytes()).digest()
        and single.issuer_key_hash == _key_hash(issuer, name)
    )


def _key_hash(certificate: x509.Certificate, algorithm: str) -> bytes:
    """Hash the public key's bits, without tag, length and unused bits (RFC 6960, 4.1.1)."""
    spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whole = element_at(spki, 0, len(spki))
    bits = next(part for part in inside(spki, whole) if part.tag == BIT_STRING)
    return hashlib.new(algorithm, spki[bits.content + 1 : bits.end]).digest()


def _revoked(single: ocsp.OCSPSingleResponse) -> tuple[datetime, str] | None:
    if single.certificate_status is ocsp.OCSPCertStatus.GOOD:
        return None
    if single.certificate_status is not ocsp.OCSPCertStatus.REVOKED:
        raise OcspRefused(OcspDoubt.UNKNOWN)
    reason, since = single.revocation_reason, single.revocation_time_utc
    return since or single.this_update_utc, reason.value if reason else "unspecified"

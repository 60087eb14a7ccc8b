"""Verifies what a CA signed: certificates, lists and answers, with a key that is kept ready."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cps_auth.pki.certificate.frame import Frame, frame_of, frame_or_none
from cps_auth.pki.certificate.names import NAME_MAX_BYTES, name_key, shown_name
from cps_auth.pki.certificate.parts import extension_of
from cps_auth.pki.chain.issuer_checks import policies_of

STRONG_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

_Padding = padding.PKCS1v15 | padding.PSS | ec.ECDSA


@dataclass(frozen=True, eq=False)
class Signer:
    """A CA certificate, with what is asked of it again and again."""

    key: CertificatePublicKeyTypes
    key_sha256_hex: str  # of its SubjectPublicKeyInfo
    name_key: str
    name_der: bytes
    shown_name: str
    key_identifier: bytes | None
    may_sign_lists: bool
    not_before: datetime
    not_after: datetime
    policies: frozenset[str]  # that it asserts, dotted


_SIGNERS: dict[int, tuple[x509.Certificate, Signer]] = {}
_SIGNERS_MAX = 256
"""By identity: hashing a certificate costs as much as all else that is asked of it."""


def signer_of(authority: x509.Certificate) -> Signer:
    """Return what is needed of a CA to verify its signatures; made once per certificate."""
    found = _SIGNERS.get(id(authority))
    if found is not None and found[0] is authority:
        return found[1]
    if len(_SIGNERS) >= _SIGNERS_MAX:
        _SIGNERS.clear()
    signer = _make_signer(authority)
    _SIGNERS[id(authority)] = (authority, signer)
    return signer


def _make_signer(authority: x509.Certificate) -> Signer:
    key = authority.public_key()
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    subject = extension_of(authority, x509.SubjectKeyIdentifier)
    usage = extension_of(authority, x509.KeyUsage)
    return Signer(
        key=key,
        key_sha256_hex=hashlib.sha256(spki).hexdigest(),
        name_key=name_key(authority.subject),
        name_der=authority.subject.public_bytes(),
        shown_name=shown_name(authority.subject),
        key_identifier=None if subject is None else subject.digest,
        may_sign_lists=usage is not None and usage.crl_sign,
        not_before=authority.not_valid_before_utc,
        not_after=authority.not_valid_after_utc,
        policies=policies_of(authority),
    )


def issuer_key(child: x509.Certificate, der: bytes) -> str | None:
    """Return the `name_key` of a certificate's issuer, None when it cannot be read.

    Args:
        child: what was parsed.
        der: the bytes that it was parsed from.
    """
    try:
        if len(frame_of(der).issuer_der) > NAME_MAX_BYTES:
            return None
        return name_key(child.issuer)
    except Exception:  # the library reads it now, and documents no closed list
        return None


def is_issued_by(
    child: x509.Certificate, der: bytes, frame: Frame | None, issuer: x509.Certificate
) -> bool:
    """Return whether a certificate names this issuer and is signed with its key.

    Args:
        child: what was parsed.
        der: the bytes that it was parsed from.
        frame: of them, None when they have none that could be signed.
        issuer: a CA.
    """
    if frame is None:
        return False
    signer = signer_of(issuer)
    if frame.issuer_der != signer.name_der and issuer_key(child, der) != signer.name_key:
        return False
    return _is_signed(child, der, frame, signer.key)


def is_signed_with(
    signed: x509.Certificate | x509.CertificateRevocationList,
    der: bytes,
    key: CertificatePublicKeyTypes,
) -> bool:
    """Return whether this key made the signature of a certificate or list.

    Args:
        signed: what was parsed.
        der: the bytes that it was parsed from.
        key: of the issuer.
    """
    frame = frame_or_none(der)
    return frame is not None and _is_signed(signed, der, frame, key)


def _is_signed(
    signed: x509.Certificate | x509.CertificateRevocationList,
    der: bytes,
    frame: Frame,
    key: CertificatePublicKeyTypes,
) -> bool:
    try:
        scheme = signed.signature_algorithm_parameters
        algorithm = signed.signature_hash_algorithm
        content = memoryview(der)[frame.start : frame.end]
        return verify_bytes(key, signed.signature, content, scheme, algorithm)
    except Exception:  # an algorithm or key that the library does not know signs nothing
        return False


def verify_bytes(
    key: CertificatePublicKeyTypes,
    signature: bytes,
    content: bytes | memoryview,
    scheme: object,
    algorithm: hashes.HashAlgorithm | None,
) -> bool:
    """Return whether a signature is good and of a kind that we accept.

    RSA of PKCS #1 v1.5, RSA-PSS with one hash and a salt of its length, ECDSA; SHA-256 to 512.
    """
    if algorithm is None or not isinstance(algorithm, STRONG_HASHES):
        return False
    try:
        if isinstance(key, rsa.RSAPublicKey) and _is_sound_rsa(scheme, algorithm):
            key.verify(signature, content, scheme, algorithm)  # type: ignore[arg-type]
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(scheme, ec.ECDSA):
            key.verify(signature, content, ec.ECDSA(algorithm))
        else:
            return False
    except InvalidSignature:
        return False
    return True


def _is_sound_rsa(scheme: object, algorithm: hashes.HashAlgorithm) -> bool:
    if isinstance(scheme, padding.PKCS1v15):
        return True
    return (
        isinstance(scheme, padding.PSS)
        and scheme.mgf._algorithm.name == algorithm.name
        and scheme._salt_length == algorithm.digest_size
    )


def has_strong_hash(signed: x509.Certificate | x509.CertificateRevocationList) -> bool:
    """Return whether the signature is over SHA-256 or better."""
    try:
        return isinstance(signed.signature_hash_algorithm, STRONG_HASHES)
    except Exception:  # an algorithm that the library does not know
        return False

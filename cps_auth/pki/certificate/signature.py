"""Signatures over certificates, CRLs and OCSP answers: what was signed, and by which key."""

from __future__ import annotations

from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

from cps_auth.der import BIT_STRING, SEQUENCE, element_at, inside

STRONG_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


class SignedParts(NamedTuple):
    """The signed bytes of a certificate or CRL, and the issuer's name in them."""

    signed_der: bytes
    issuer_der: bytes


def signed_parts(der: bytes) -> SignedParts | None:
    """Return what a certificate or CRL has signed; None when nobody can have signed it.

    Args:
        der: of it, as it came.

    Source: RFC 5280 sections 4.1.1 and 5.1.1: three parts, the algorithm of the signature equal
        inside and outside, and a signature of whole bytes.
    """
    try:
        whole = element_at(der, 0, len(der))
        signed, algorithm, signature = inside(der, whole)
        sequences = (part for part in inside(der, signed) if part.tag == SEQUENCE)
        inner, issuer = next(sequences), next(sequences)
    except (ValueError, IndexError, StopIteration):
        return None
    is_same = der[inner.start : inner.end] == der[algorithm.start : algorithm.end]
    is_whole = (
        signature.tag == BIT_STRING and der[signature.content : signature.content + 1] == b"\0"
    )
    if not is_same or not is_whole or whole.end != len(der):
        return None
    return SignedParts(der[signed.start : signed.end], der[issuer.start : issuer.end])


def is_signed_with(
    signed: x509.Certificate | x509.CertificateRevocationList,
    parts: SignedParts | None,
    key: CertificatePublicKeyTypes,
) -> bool:
    """Return whether this key made the signature of a certificate or CRL.

    Args:
        signed: what was parsed.
        parts: of the bytes that it was parsed from.
        key: of the issuer.
    """
    if parts is None:
        return False
    try:
        scheme = signed.signature_algorithm_parameters
        algorithm = signed.signature_hash_algorithm
        return verify_signature(key, signed.signature, parts.signed_der, scheme, algorithm)
    except Exception:  # an algorithm or key that the library does not know signs nothing
        return False


def verify_signature(
    key: CertificatePublicKeyTypes,
    signature: bytes,
    content: bytes,
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
    """Return whether an RSA scheme is one of RFC 4055 section 3.1, with the salt it recommends."""
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

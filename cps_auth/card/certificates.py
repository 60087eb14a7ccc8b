"""Certificates as a driver needs them: made for authentication, valid now, did its key sign.

It decides nothing about trust: a login judges the certificate and verifies the signature itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID

from cps_auth.errors import NoAuthenticationCertificate, SeveralCertificates
from cps_auth.model import CardSignature, SignatureAlgorithm

_CERTIFICATES_KEPT: Final = 64
_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    x509.InvalidVersion,
)


def choose_certificate(unverified_ders: Iterable[bytes], at: datetime) -> bytes:
    """Return the authentication certificate among those of a card.

    Its purpose decides, never its label or identifier. Of several, as after a renewal, it is the
    one valid now; if none is, the one that ended last, which whoever judges it will say.

    Args:
        unverified_ders: the certificates, DER.
        at: now, aware.

    Raises:
        NoAuthenticationCertificate: none is made for authentication.
        SeveralCertificates: more than one is, and is valid now.
    """
    found = {der: None for der in unverified_ders if is_for_authentication(der)}
    valid = [der for der in found if is_valid(der, at)]
    if len(valid) > 1:
        raise SeveralCertificates
    if not found:
        raise NoAuthenticationCertificate
    return valid[0] if valid else max(found, key=lambda der: _load(der).not_valid_after_utc)


def is_for_authentication(unverified_der: bytes) -> bool:
    """Return whether an RSA certificate is made for authentication.

    digitalSignature without nonRepudiation, and clientAuth (RFC 5280 sections 4.2.1.3 and
    4.2.1.12).
    """
    try:
        certificate = _load(unverified_der)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
        extended = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        is_rsa = isinstance(certificate.public_key(), RSAPublicKey)
    except _UNREADABLE:
        return False
    return (
        is_rsa
        and usage.digital_signature
        and not usage.content_commitment
        and ExtendedKeyUsageOID.CLIENT_AUTH in extended
    )


def is_valid(unverified_der: bytes, at: datetime) -> bool:
    """Return whether a certificate's validity includes a moment; False for what cannot be read."""
    try:
        certificate = _load(unverified_der)
        start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except _UNREADABLE:
        return False
    return start <= at <= end


def is_signature_of(unverified_der: bytes, message: bytes, signature: CardSignature) -> bool:
    """Return whether a certificate's RSA key made this signature; False for what is no such key."""
    scheme: padding.PKCS1v15 | padding.PSS = padding.PKCS1v15()
    if signature.algorithm is SignatureAlgorithm.PS256:
        scheme = padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
    try:
        key = _load(unverified_der).public_key()
        if not isinstance(key, RSAPublicKey):
            return False
        key.verify(signature.value, message, scheme, SHA256())
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def rsa_modulus(unverified_der: bytes) -> bytes:
    """Return the modulus of the key of a certificate for authentication, big-endian."""
    key = _load(unverified_der).public_key()
    if not isinstance(key, RSAPublicKey):  # `is_for_authentication` lets only RSA through
        raise TypeError
    modulus = key.public_numbers().n
    return modulus.to_bytes((modulus.bit_length() + 7) // 8, "big")


@lru_cache(_CERTIFICATES_KEPT)
def _load(unverified_der: bytes) -> x509.Certificate:
    return x509.load_der_x509_certificate(unverified_der)

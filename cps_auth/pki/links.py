"""What holds one certificate or list to the key that signed it."""

from __future__ import annotations

from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

RSA_MIN_BITS = 2048
RSA_MAX_BITS = 8192  # larger ones only cost time
EC_MIN_BITS = 256
"""Sizes: NIST SP 800-57 part 1, table 2, 112 bits of security and more."""

_STRONG_HASHES = (hashes.SHA256, hashes.SHA384, hashes.SHA512)


def extension_of(
    certificate: x509.Certificate | x509.CertificateRevocationList, kind: type[_Extension]
) -> _Extension | None:
    """Return the extension of this kind, None when there is none."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def is_strong_key(certificate: x509.Certificate) -> bool:
    """Return whether the certified key is of a kind and size that we accept."""
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return RSA_MIN_BITS <= key.key_size <= RSA_MAX_BITS
    return isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= EC_MIN_BITS


def identifies(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether the child's authority key identifier is the issuer's subject key identifier.

    Both have to be there: RFC 5280 sections 4.2.1.1 and 4.2.1.2.
    """
    authority = extension_of(child, x509.AuthorityKeyIdentifier)
    subject = extension_of(issuer, x509.SubjectKeyIdentifier)
    if authority is None or subject is None:
        return False
    return authority.key_identifier == subject.digest


def is_signed_by(child: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Return whether the issuer's name and key are those under which the child was signed."""
    try:
        child.verify_directly_issued_by(issuer)
    except Exception:  # wrong signature, wrong key type, unknown algorithm: not signed by it
        return False
    return True


def has_strong_hash(signed: x509.Certificate | x509.CertificateRevocationList) -> bool:
    """Return whether the signature is over SHA-256 or better."""
    try:
        return isinstance(signed.signature_hash_algorithm, _STRONG_HASHES)
    except UnsupportedAlgorithm:
        return False


def allows_client_auth(usage: x509.ExtendedKeyUsage | None) -> bool:
    """Return whether an authority with this extended key usage may issue for client logins."""
    allowing = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    return usage is None or any(oid in usage for oid in allowing)

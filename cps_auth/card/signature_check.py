"""Whether a signature was made by the key of a certificate: for drivers to doubt their card.

It decides nothing: a login verifies by itself, with the certificate that was judged.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256

from cps_auth.model import CardSignature, SignatureAlgorithm

_CERTIFICATES_REMEMBERED: Final = 64


def is_signature_of(unverified_der: bytes, message: bytes, signature: CardSignature) -> bool:
    """Tell whether the certificate's RSA key made this signature; False for what is no such key."""
    scheme: padding.PKCS1v15 | padding.PSS = padding.PKCS1v15()
    if signature.algorithm is SignatureAlgorithm.PS256:
        scheme = padding.PSS(padding.MGF1(SHA256()), SHA256.digest_size)
    try:
        key = public_key_of(unverified_der)
        if not isinstance(key, RSAPublicKey):
            return False
        key.verify(signature.value, message, scheme, SHA256())
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        return False
    return True


@lru_cache(_CERTIFICATES_REMEMBERED)
def public_key_of(unverified_der: bytes) -> PublicKeyTypes:
    """Return the key of a certificate, which is parsed once.

    Raises:
        ValueError, UnsupportedAlgorithm: it cannot be read.
    """
    return x509.load_der_x509_certificate(unverified_der).public_key()

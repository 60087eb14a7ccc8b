"""Checks that a signature over a challenge was made by the key of a judged certificate."""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from cps_auth.errors import BadSignature
from cps_auth.model import CardSignature, Challenge, SignatureAlgorithm

_P256_COORDINATE_BYTES = 32


def check_signature(
    public_key: PublicKeyTypes, challenge: Challenge, signature: CardSignature
) -> None:
    """Check the card's signature over `challenge.message()`.

    Args:
        public_key: of the certificate that was judged, and of no other.
        challenge: the one that was issued for this login.
        signature: what the card returned; RS256 and PS256 for an RSA key, ES256 as the raw
            64 bytes R || S for a P-256 key.

    Raises:
        BadSignature: it does not verify, or algorithm and key do not go together.
    """
    message = challenge.message()
    try:
        match signature.algorithm, public_key:
            case SignatureAlgorithm.RS256, rsa.RSAPublicKey():
                public_key.verify(signature.value, message, padding.PKCS1v15(), hashes.SHA256())
            case SignatureAlgorithm.PS256, rsa.RSAPublicKey():
                pss = padding.PSS(padding.MGF1(hashes.SHA256()), hashes.SHA256.digest_size)
                public_key.verify(signature.value, message, pss, hashes.SHA256())
            case SignatureAlgorithm.ES256, ec.EllipticCurvePublicKey(curve=ec.SECP256R1()):
                der = _dss_signature(signature.value)
                public_key.verify(der, message, ec.ECDSA(hashes.SHA256()))
            case _:
                raise BadSignature
    except InvalidSignature:
        raise BadSignature from None


def _dss_signature(raw: bytes) -> bytes:
    """Turn R || S (RFC 7518 section 3.4) into the DER form that the library takes."""
    if len(raw) != 2 * _P256_COORDINATE_BYTES:
        raise BadSignature
    r, s = raw[:_P256_COORDINATE_BYTES], raw[_P256_COORDINATE_BYTES:]
    return encode_dss_signature(int.from_bytes(r), int.from_bytes(s))

"""Checks that a signature over a challenge was made by the key of a judged certificate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from cps_auth.errors import BadSignature
from cps_auth.model import CardSignature, Challenge, HashName, SignatureAlgorithm

_HASHES: Mapping[HashName, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}

_CURVES: Mapping[SignatureAlgorithm, tuple[str, int]] = {
    SignatureAlgorithm.ES256: ("secp256r1", 32),
    SignatureAlgorithm.ES384: ("secp384r1", 48),
    SignatureAlgorithm.ES512: ("secp521r1", 66),
}
"""Curve, and bytes of R and of S (RFC 7518 section 3.4)."""

_PKCS1: Final = frozenset(
    {SignatureAlgorithm.RS256, SignatureAlgorithm.RS384, SignatureAlgorithm.RS512}
)


def check_signature(
    public_key: PublicKeyTypes, challenge: Challenge, signature: CardSignature
) -> None:
    """Check the card's signature over `challenge.message()`.

    Args:
        public_key: of the certificate that was judged, and of no other.
        challenge: the one that was issued for this login.
        signature: what the card returned; RS… and PS… for an RSA key, ES… as raw R || S for
            a key on the curve of that name.

    Raises:
        BadSignature: it does not verify, or algorithm and key do not go together. Its reason
            is "algorithm-and-key", "signature-length" or "signature".

    Source: RFC 7518 sections 3.3 to 3.5; RFC 8017 section 9.1 for the salt of PSS.
    """
    algorithm = signature.algorithm
    message = challenge.message(algorithm.hash_name)
    try:
        if isinstance(public_key, rsa.RSAPublicKey) and algorithm not in _CURVES:
            _verify_rsa(public_key, message, signature)
        elif isinstance(public_key, ec.EllipticCurvePublicKey) and algorithm in _CURVES:
            _verify_ecdsa(public_key, message, signature)
        else:
            raise BadSignature("algorithm-and-key")
    except InvalidSignature:
        raise BadSignature("signature") from None


def _verify_rsa(key: rsa.RSAPublicKey, message: bytes, signature: CardSignature) -> None:
    if len(signature.value) != (key.key_size + 7) // 8:
        raise BadSignature("signature-length")
    digest = _HASHES[signature.algorithm.hash_name]
    if signature.algorithm in _PKCS1:
        key.verify(signature.value, message, padding.PKCS1v15(), digest)
    else:
        pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
        key.verify(signature.value, message, pss, digest)


def _verify_ecdsa(key: ec.EllipticCurvePublicKey, message: bytes, signature: CardSignature) -> None:
    curve, size = _CURVES[signature.algorithm]
    if key.curve.name != curve:
        raise BadSignature("algorithm-and-key")
    raw = signature.value
    if len(raw) != 2 * size:
        raise BadSignature("signature-length")
    der = encode_dss_signature(int.from_bytes(raw[:size]), int.from_bytes(raw[size:]))
    key.verify(der, message, ec.ECDSA(_HASHES[signature.algorithm.hash_name]))

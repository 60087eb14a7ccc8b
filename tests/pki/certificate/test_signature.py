"""Signatures: kinds that are accepted, and where the signed bytes are."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from cps_auth.pki.certificate.signature import (
    has_strong_hash,
    is_signed_with,
    signed_parts,
    verify_signature,
)
from hardware_mocks.igc.fake_igc import FakeIgcSante

CONTENT = b"what was signed"
SHA1, SHA256, SHA384 = hashes.SHA1(), hashes.SHA256(), hashes.SHA384()  # noqa: S303, refused


@pytest.fixture(scope="module")
def rsa_key(igc: FakeIgcSante) -> rsa.RSAPrivateKey:
    """A key of 2048 bits."""
    return igc.credentials("doctor").authentication_key


def _pss(mgf: hashes.HashAlgorithm, salt: int) -> padding.PSS:
    return padding.PSS(padding.MGF1(mgf), salt)


@pytest.mark.parametrize(
    ("scheme", "algorithm", "accepted"),
    [
        (padding.PKCS1v15(), SHA256, True),
        (padding.PKCS1v15(), hashes.SHA512(), True),
        (padding.PKCS1v15(), SHA1, False),
        (padding.PKCS1v15(), hashes.SHA224(), False),
        (_pss(SHA256, 32), SHA256, True),
        (_pss(SHA384, 48), SHA384, True),
        (_pss(SHA256, 20), SHA256, False),
        (_pss(SHA256, 0), SHA256, False),
        (_pss(SHA384, 32), SHA256, False),
        (_pss(SHA1, 20), SHA1, False),
    ],
)
def test_rsa(
    rsa_key: rsa.RSAPrivateKey, scheme: Any, algorithm: hashes.HashAlgorithm, accepted: bool
) -> None:
    """A genuine signature of a kind that is not accepted is none."""
    signature = rsa_key.sign(CONTENT, scheme, algorithm)
    key = rsa_key.public_key()
    assert verify_signature(key, signature, CONTENT, scheme, algorithm) is accepted
    assert not verify_signature(key, signature, CONTENT + b"x", scheme, algorithm)
    assert not verify_signature(key, signature, CONTENT, None, algorithm)
    assert not verify_signature(key, signature, CONTENT, scheme, None)
    assert not verify_signature(key, signature, CONTENT, ec.ECDSA(algorithm), algorithm)


@pytest.mark.parametrize(("algorithm", "accepted"), [(SHA256, True), (SHA1, False)])
def test_ecdsa(algorithm: hashes.HashAlgorithm, accepted: bool) -> None:
    """The same for elliptic curves; a scheme of RSA is none of theirs."""
    private = ec.generate_private_key(ec.SECP256R1())
    signature = private.sign(CONTENT, ec.ECDSA(algorithm))
    key, scheme = private.public_key(), ec.ECDSA(algorithm)
    assert verify_signature(key, signature, CONTENT, scheme, algorithm) is accepted
    assert not verify_signature(key, signature, CONTENT, padding.PKCS1v15(), algorithm)
    assert not verify_signature(key, signature, CONTENT + b"x", scheme, algorithm)


def test_where_the_signed_bytes_are(igc: FakeIgcSante) -> None:
    """They are the library's; of whatever else could be read otherwise there are none."""
    der = igc.credentials("doctor").authentication_certificate_der
    certificate = x509.load_der_x509_certificate(der)
    parts = signed_parts(der)
    assert parts is not None
    assert parts.signed_der == certificate.tbs_certificate_bytes
    assert parts.issuer_der == certificate.issuer.public_bytes()
    assert der.endswith(b"\x03\x82\x02\x01\x00" + certificate.signature)
    at = len(der) - len(certificate.signature) - 5
    algorithm = bytes.fromhex("300d06092a864886f70d01010b0500")
    assert der.count(algorithm) == 2
    odd = {
        "trailing": der + b"\x00",
        "cut": der[:-1],
        "unused bits": der[: at + 4] + b"\x01" + der[at + 5 :],
        "no bits": der[:at] + b"\x04" + der[at + 1 :],
        "other inside": der.replace(algorithm, algorithm[:-3] + b"\x0c\x05\x00", 1),
        "empty": b"",
        "no certificate": b"\x30\x00",
    }
    for name, changed in odd.items():
        assert signed_parts(changed) is None, name
        issuer = igc.authorities["fort-personnes"].key.public_key()
        assert not is_signed_with(certificate, signed_parts(changed), issuer)
    assert is_signed_with(certificate, parts, igc.authorities["fort-personnes"].key.public_key())
    assert not is_signed_with(certificate, parts, igc.authorities["fort"].key.public_key())
    assert has_strong_hash(certificate)

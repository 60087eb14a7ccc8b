"""Drivers doubt what their card signed."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256

from cps_auth.card.certificates import is_signature_of
from cps_auth.model import CardSignature, SignatureAlgorithm
from hardware_mocks.igc.fake_igc import FakeIgcSante

_PSS = padding.PSS(padding.MGF1(SHA256()), 32)
SCHEMES = {
    SignatureAlgorithm.RS256: padding.PKCS1v15(),
    SignatureAlgorithm.PS256: _PSS,
}


@pytest.mark.parametrize("algorithm", list(SCHEMES))
def test_own_and_others(igc: FakeIgcSante, algorithm: SignatureAlgorithm) -> None:
    """Its own signature is the certificate's; another scheme's, message's or holder's is not."""
    doctor, nurse = igc.credentials("doctor"), igc.credentials("nurse")
    value = doctor.authentication_key.sign(b"message", SCHEMES[algorithm], SHA256())
    signature = CardSignature(algorithm, value)
    own = doctor.authentication_certificate_der
    assert is_signature_of(own, b"message", signature)
    assert not is_signature_of(own, b"another", signature)
    assert not is_signature_of(nurse.authentication_certificate_der, b"message", signature)
    other = next(one for one in SCHEMES if one is not algorithm)
    assert not is_signature_of(own, b"message", CardSignature(other, value))


@pytest.mark.parametrize("value", [b"", bytes(256), bytes(1000)])
@pytest.mark.parametrize("certificate_der", [None, b"", b"0\x03\x02\x01\x05"])
def test_rubbish(igc: FakeIgcSante, value: bytes, certificate_der: bytes | None) -> None:
    """Neither rubbish signatures nor rubbish certificates prove anything."""
    own = igc.credentials("doctor").authentication_certificate_der
    signature = CardSignature(SignatureAlgorithm.RS256, value)
    assert not is_signature_of(certificate_der or own, b"message", signature)

"""OCSP answers that hold more, or other things, than one answer to one question."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from cps_auth.der import SEQUENCE, element_at, inside
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.revocation.ocsp import Answer, OcspRefused, judge_answer
from cps_auth.pki.revocation.policy import REQUIRE
from hardware_mocks.card.ber import tlv
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.igc.ocsp import OcspResponder, ocsp_answer

HOUR = timedelta(hours=1)
GOOD, REVOKED, UNKNOWN = (
    ocsp.OCSPCertStatus.GOOD,
    ocsp.OCSPCertStatus.REVOKED,
    ocsp.OCSPCertStatus.UNKNOWN,
)
_BASIC = bytes.fromhex("06092b0601050507300101")  # id-pkix-ocsp-basic
_SHA256_RSA = bytes.fromhex("300d06092a864886f70d01010b0500")


def _card(igc: FakeIgcSante, name: str = "doctor") -> x509.Certificate:
    return x509.load_der_x509_certificate(igc.credentials(name).authentication_certificate_der)


def _single(igc: FakeIgcSante, about: str = "doctor", **changes: Any) -> bytes:
    """Return one SingleResponse of the issuer."""
    authority = igc.authorities["fort-personnes"]
    values: dict[str, Any] = {"next_update": datetime.now(UTC) + HOUR} | changes
    responder = OcspResponder(authority.certificate, authority.key)
    answer = ocsp_answer(_card(igc, about), authority.certificate, responder, **values)
    data = ocsp.load_der_ocsp_response(answer).tbs_response_bytes
    responses = next(e for e in inside(data, element_at(data, 0, len(data))) if e.tag == SEQUENCE)
    return data[responses.content : responses.end]


def _with_extension(single: bytes, *, critical: bool) -> bytes:
    flag = tlv(0x01, b"\xff") if critical else b""
    extension = tlv(0x30, tlv(0x06, b"\x2a\x03\x04"), flag, tlv(0x04, b"\x05\x00"))
    whole = element_at(single, 0, len(single))
    return tlv(0x30, single[whole.content : whole.end], tlv(0xA1, tlv(0x30, extension)))


def _answer(
    igc: FakeIgcSante,
    *singles: bytes,
    key: RSAPrivateKey | None = None,
    named: RSAPrivateKey | None = None,
    sent_along: bytes = b"",
) -> bytes:
    """Return an answer with these single answers, of the issuer if no key is given.

    Args:
        named: whose key is said to be the responder's; the one that signs when None.
        sent_along: certificates, DER.
    """
    signer = key or igc.authorities["fort-personnes"].key
    public = (named or signer).public_key()
    key_hash = x509.SubjectKeyIdentifier.from_public_key(public).digest
    produced = tlv(0x18, f"{datetime.now(UTC):%Y%m%d%H%M%SZ}".encode())
    data = tlv(0x30, tlv(0xA2, tlv(0x04, key_hash)), produced, tlv(0x30, *singles))
    signature = signer.sign(data, padding.PKCS1v15(), hashes.SHA256())
    certificates = tlv(0xA0, tlv(0x30, sent_along)) if sent_along else b""
    basic = tlv(0x30, data, _SHA256_RSA, tlv(0x03, b"\x00", signature), certificates)
    return tlv(0x30, tlv(0x0A, b"\x00"), tlv(0xA0, tlv(0x30, _BASIC, tlv(0x04, basic))))


def _verdict(igc: FakeIgcSante, answer: bytes) -> str:
    policy = dataclasses.replace(REQUIRE, nonce_required=False)
    issuer = Issuer.of(igc.authorities["fort-personnes"].certificate)
    at = datetime.now(UTC)
    try:
        evidence = judge_answer(Answer(answer, None), _card(igc), issuer, at=at, policy=policy)
    except OcspRefused as refused:
        return refused.problem
    return "good" if evidence.revoked is None else "revoked"


@pytest.mark.parametrize("first", [GOOD, REVOKED, UNKNOWN])
@pytest.mark.parametrize("second", [GOOD, REVOKED, UNKNOWN])
def test_several_answers_about_one_certificate(
    igc: FakeIgcSante, first: ocsp.OCSPCertStatus, second: ocsp.OCSPCertStatus
) -> None:
    """Of two answers one that revokes counts, in any order; otherwise neither does."""
    answer = _answer(igc, *(_single(igc, status=status) for status in (first, second)))
    expected = "revoked" if REVOKED in (first, second) else "ocsp-several"
    assert _verdict(igc, answer) == expected


def test_answers_about_others_too(igc: FakeIgcSante) -> None:
    """Answers about other certificates may be there, whatever they say (RFC 6960, 4.2.2.3)."""
    others = _single(igc, "nurse", status=REVOKED), _single(igc, "pharmacist")
    own = _single(igc)
    for singles in ((own, *others), (*others, own)):
        assert _verdict(igc, _answer(igc, *singles)) == "good"
    assert _verdict(igc, _answer(igc, *others)) == "ocsp-other-certificate"


def test_no_answer_at_all(igc: FakeIgcSante) -> None:
    """An answer about nothing is no evidence."""
    assert _verdict(igc, _answer(igc)) in ("ocsp-malformed", "ocsp-other-certificate")


def test_extension_of_a_single_answer(igc: FakeIgcSante) -> None:
    """A critical one is not understood, in any of them; another may be ignored."""
    own, other = _single(igc), _single(igc, "nurse")
    assert _verdict(igc, _answer(igc, _with_extension(own, critical=False))) == "good"
    for singles in (
        (_with_extension(own, critical=True),),
        (own, _with_extension(other, critical=True)),
    ):
        assert _verdict(igc, _answer(igc, *singles)) == "ocsp-unknown-extension"


def test_next_update_before_this_update(igc: FakeIgcSante) -> None:
    """Dates in the wrong order are refused although the clock's skew would allow both."""
    soon = datetime.now(UTC) + timedelta(minutes=4)
    single = _single(igc, this_update=soon, next_update=soon + HOUR)
    assert _verdict(igc, _answer(igc, single)) == "good"
    later = f"{soon + HOUR:%Y%m%d%H%M%SZ}".encode()
    earlier = f"{soon - timedelta(minutes=2):%Y%m%d%H%M%SZ}".encode()
    assert _verdict(igc, _answer(igc, single.replace(later, earlier))) == "ocsp-malformed"


def test_responder_is_the_one_that_is_named(igc: FakeIgcSante) -> None:
    """A responder whose certificate comes along, and who signs, has to be the one that is named."""
    key = igc.credentials("doctor").authentication_key
    request = igc.request().having(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.OCSP_SIGNING]), critical=False
    )
    responder = igc.issue(request.having(x509.OCSPNoCheck(), critical=False))
    other = igc.credentials("nurse").authentication_key
    single = _single(igc)
    assert _verdict(igc, _answer(igc, single, key=key, sent_along=responder)) == "good"
    answer = _answer(igc, single, key=key, named=other, sent_along=responder)
    assert _verdict(igc, answer) == "ocsp-unauthorised-responder"

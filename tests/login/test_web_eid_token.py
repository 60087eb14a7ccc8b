"""The Web eID token: what is read, what is refused, and what its signature has to be."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from hypothesis import given
from hypothesis import strategies as st

from cps_auth.errors import BadSignature, RequestMalformed
from cps_auth.login.challenge import issue_challenge
from cps_auth.login.proof import check_signature
from cps_auth.login.web_eid import make_token, parse_token
from cps_auth.model import CardSignature, SignatureAlgorithm

GOOD = make_token(
    b"not a certificate, which is not looked at here",
    CardSignature(SignatureAlgorithm.RS256, b"nor a signature"),
    "https://example.test/1.0",
)
AT = datetime(2026, 1, 1, tzinfo=UTC)
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def _token(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode()


def _without(field: str) -> bytes:
    return json.dumps({name: value for name, value in GOOD.items() if name != field}).encode()


def test_a_token_gives_its_proof() -> None:
    """Certificate, algorithm and signature come out as they went in."""
    proof = parse_token(_token())
    assert proof.unverified_certificate_der.startswith(b"not a certificate")
    assert proof.signature == CardSignature(SignatureAlgorithm.RS256, b"nor a signature")


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "web-eid:authenticate-success"},
        {"format": "web-eid:1"},
        {"format": "web-eid:1.1", "unverifiedSigningCertificates": [{"certificate": "AA=="}]},
        {"format": "web-eid:1.1", "supportedSignatureAlgorithms": [{"hashFunction": "SHA-256"}]},
        {"appVersion": None},
    ],
)
def test_what_newer_clients_add_is_ignored(changes: dict[str, Any]) -> None:
    """Unknown fields and later 1.x formats are taken when the fields of 1.0 are there."""
    assert parse_token(_token(**changes)).signature.algorithm is SignatureAlgorithm.RS256


REFUSED = {
    "99 characters": (_token()[:99], "token-length"),
    "10001 characters": (_token(pad="x" * 10_001), "token-length"),
    "truncated": (_token()[:-1], "token-not-json"),
    "text after it": (_token() + b"x", "token-not-json"),
    "an array": (b"[" + _token() + b"]", "token-not-an-object"),
    "a text": (json.dumps("x" * 200).encode(), "token-not-an-object"),
    "a byte order mark": (b"\xef\xbb\xbf" + _token(), "token-not-json"),
    "not UTF-8": (_token()[:-2] + b'\xff"}', "token-not-utf-8"),
    "duplicate field": (_token()[:-1] + b', "format": "web-eid:1.0"}', "token-duplicate-field"),
    "NaN": (_token()[:-1] + b', "a": NaN}', "token-not-a-number"),
    "Infinity": (_token()[:-1] + b', "a": -Infinity}', "token-not-a-number"),
    "a number of 5000 digits": (
        _token()[:-1] + b', "a": ' + b"9" * 5000 + b"}", "token-not-a-number"),
    "deep": (_token()[:-1] + b', "a": ' + b"[" * 3000 + b"]" * 3000 + b"}", "token-too-deep"),
    "lone surrogate": (_token()[:-1] + b', "a": "\\ud800"}', "token-lone-surrogate"),
    "lone surrogate in a name": (_token()[:-1] + b', "\\udc00": 1}', "token-lone-surrogate"),
    "no format": (_without("format"), "token-format-absent"),
    "format of another kind": (_token(format="web-eid:2.0"), "token-format"),
    "format 10": (_token(format="web-eid:10"), "token-format"),
    "format with more after it": (_token(format="web-eid:1.0\n"), "token-format"),
    "a field of 1.1 in 1.0": (
        _token(unverifiedSigningCertificates=[{"certificate": "AA=="}]),
        "token-field-of-later-format",
    ),
    "format as a number": (_token(format=1.0), "token-format-absent"),
    "no certificate": (_without("unverifiedCertificate"), "token-certificate-absent"),
    "empty certificate": (_token(unverifiedCertificate=""), "token-certificate-absent"),
    "certificate not base64": (_token(unverifiedCertificate="a*=="), "token-certificate-base64"),
    "certificate with a line": (_token(unverifiedCertificate="AAAA\n"), "token-certificate-base64"),
    "base64 of the other alphabet": (_token(signature="__-_"), "token-signature-base64"),
    "base64 with loose bits": (_token(signature="AB=="), "token-signature-base64"),
    "base64 beyond ASCII": (_token(signature="é" * 8), "token-signature-base64"),
    "no signature": (_without("signature"), "token-signature-absent"),
    "signature as a list": (_token(signature=["AA=="]), "token-signature-absent"),
    "no algorithm": (_without("algorithm"), "token-algorithm-absent"),
    **{
        f"algorithm {name!r}": (_token(algorithm=name), "token-algorithm")
        for name in ("none", "HS256", "rs256", "RS256 ", "RS256\x00", "RS1", "EdDSA", "ES256K")
    },
    "algorithm empty": (_token(algorithm=""), "token-algorithm-absent"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_t36_t39_a_token_that_breaks_a_rule_is_refused(what: str) -> None:
    """T36, T39: each broken rule is refused under a reason code of its own."""
    token, reason = REFUSED[what]
    with pytest.raises(RequestMalformed) as refusal:
        parse_token(token)
    assert refusal.value.reason == reason


@given(st.binary(min_size=90, max_size=400))
def test_rubbish_is_refused_by_our_own_error(rubbish: bytes) -> None:
    """Whatever comes in, only RequestMalformed leaves."""
    with pytest.raises(RequestMalformed):
        parse_token(rubbish)


@given(st.data())
def test_a_spoiled_token_gives_a_proof_or_our_error(data: st.DataObject) -> None:
    """One byte changed anywhere: read, or refused by RequestMalformed."""
    token = bytearray(_token())
    token[data.draw(st.integers(0, len(token) - 1))] = data.draw(st.integers(0, 255))
    try:
        parse_token(bytes(token))
    except RequestMalformed:
        return


@cache
def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def _key(algorithm: str) -> Any:
    return ec.generate_private_key(CURVES[algorithm]) if algorithm in CURVES else _rsa()


def _sign(key: Any, algorithm: str, origin: str, nonce: str) -> bytes:
    """Sign as the specification says, with nothing of ours."""
    name = "sha" + algorithm[2:]
    message = b"".join(hashlib.new(name, text.encode()).digest() for text in (origin, nonce))
    digest = HASHES[algorithm[2:]]
    if algorithm.startswith("RS"):
        return key.sign(message, padding.PKCS1v15(), digest)
    if algorithm.startswith("PS"):
        return key.sign(message, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size) + s.to_bytes(size)


ALGORITHMS = [algorithm.value for algorithm in SignatureAlgorithm]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_is_verified_over_its_own_hash(name: str) -> None:
    """A signature made by the letter of the specification is accepted, and only as itself."""
    challenge = issue_challenge("https://practice.test", at=AT)
    key = _key(name)
    value = _sign(key, name, challenge.origin, challenge.nonce)
    check_signature(key.public_key(), challenge, CardSignature(SignatureAlgorithm(name), value))
    for other in ALGORITHMS:
        if other != name:
            signature = CardSignature(SignatureAlgorithm(other), value)
            with pytest.raises(BadSignature):  # T37
                check_signature(key.public_key(), challenge, signature)


@pytest.mark.parametrize("name", ["RS256", "PS384", "ES256", "ES512"])
@pytest.mark.parametrize("spoil", [
    lambda value: value[:0], lambda value: value[:-1], lambda value: value + b"\0",
    lambda value: bytes(len(value)), lambda value: b"\xff" * len(value),
    lambda value: bytes([value[0] ^ 1]) + value[1:],
], ids=["empty", "truncated", "longer", "zero", "ones", "one bit"])  # fmt: skip
def test_t38_a_signature_of_the_wrong_form_is_refused(name: str, spoil: Any) -> None:
    """T38: empty, truncated, longer, zero r and s, out of range, or one bit off."""
    challenge = issue_challenge("https://practice.test", at=AT)
    key = _key(name)
    value = spoil(_sign(key, name, challenge.origin, challenge.nonce))
    with pytest.raises(BadSignature):
        check_signature(key.public_key(), challenge, CardSignature(SignatureAlgorithm(name), value))


def test_an_elliptic_key_of_another_curve_is_refused() -> None:
    """T37: ES256 is P-256 and nothing else, however good the signature is."""
    challenge = issue_challenge("https://practice.test", at=AT)
    key = ec.generate_private_key(ec.SECP384R1())
    value = _sign(key, "ES256", challenge.origin, challenge.nonce)
    with pytest.raises(BadSignature, match="algorithm-and-key"):
        check_signature(key.public_key(), challenge, CardSignature(SignatureAlgorithm.ES256, value))


def test_base64_is_that_of_the_standard() -> None:
    """What we make, others read."""
    assert base64.b64decode(GOOD["signature"]) == b"nor a signature"

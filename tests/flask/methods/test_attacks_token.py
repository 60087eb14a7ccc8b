"""Attacks on the Web eID way in, by number: nonce, origin, certificate, signature, body.

Every one of them is refused the same way, which `_refused` checks: one public answer, one
precise audit line, no session, no PIN attempt asked of anybody, and the challenge gone.
"""

from __future__ import annotations

import hashlib
import json
import logging
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from cps_auth.model import CardType
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.flask.conftest import cookie_name

PUBLIC = b'{"refused":true}\n'


@pytest.fixture
def refused(remote, caplog: pytest.LogCaptureFixture) -> Callable[..., None]:
    """Checks that a token is refused, for one reason, and that nothing is left of the attempt."""

    def check(
        token: Any, code: str, *, status: int = 403, visitor: Any = None, **more: Any
    ) -> None:
        who = visitor or remote
        page_token = more.pop("page_token", None) or who.page_token()
        caplog.clear()
        with caplog.at_level(logging.DEBUG):
            answer = who.send(token, page_token, **more)
        assert (answer.status_code, answer.data) == (status, PUBLIC), answer.text
        lines = [r.getMessage() for r in caplog.records if r.name == "cps_auth.audit"]
        assert len(lines) == 1, lines
        assert lines[0].startswith("login refused code="), lines
        assert code in lines[0], lines
        assert "method=web-eid" in lines[0]
        assert not who.is_in()

    return check


def _signed(remote, **changes: Any) -> tuple[dict[str, Any], str]:
    page_token = remote.page_token()
    return remote.answer(remote.challenge(page_token), **changes), page_token


def test_t01_same_token_twice(remote, refused) -> None:
    """T01: the second use of a token opens nothing, in the same browser, right away."""
    token, page_token = _signed(remote)
    assert remote.send(token, page_token).status_code == 200
    remote.client.delete_cookie(cookie_name(remote.client), domain="practice.test")
    refused(token, "challenge-unknown")


def test_t02_nonce_of_another_session(remote, remote_app, remote_visit, refused) -> None:
    """T02: a challenge is good in the browser that asked for it, and nowhere else."""
    token, _ = _signed(remote)
    other = remote_visit(remote_app)
    other.challenge()
    refused(token, "bad-signature", visitor=other)


@pytest.mark.parametrize(("late_s", "accepted"), [(295, True), (301, False)])
def test_t03_unknown_or_expired_nonce(remote, clock, refused, late_s: int, accepted: bool) -> None:
    """T03: five minutes and not a second more; and no challenge at all is refused too."""
    start = clock()
    token, page_token = _signed(remote)
    clock.ahead += timedelta(seconds=late_s) - (clock() - start)
    if accepted:
        assert remote.send(token, page_token).status_code == 200
    else:
        refused(token, "challenge-expired", page_token=page_token)
        refused(token, "challenge-unknown")


def test_t05_a_bad_token_uses_the_challenge_up(remote, refused) -> None:
    """T05: whatever was wrong with the first answer, there is no second one."""
    token, page_token = _signed(remote)
    refused(b"{}", "token-length", page_token=page_token)
    refused(token, "challenge-unknown", page_token=page_token)


@pytest.mark.parametrize("nonce", ["", " ", "A" * 44])
def test_t06_empty_or_invented_nonce(remote, refused, nonce: str) -> None:
    """T06: a signature over something else than the challenge that waits."""
    remote.challenge()
    refused(remote.answer(nonce), "bad-signature")


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.test",
        "http://practice.test",
        "https://practice.test:443",
        "https://practice.test/",
        "https://PRACTICE.test",
        "https://práctice.test",
        "https://xn--prctice-ewa.test",
        "https://practice.test.evil.test",
        "",
    ],
)
def test_t07_signed_for_another_origin(remote, refused, origin: str) -> None:
    """T07: the origin is compared as bytes; nothing is normalised."""
    token, page_token = _signed(remote, origin=origin)
    refused(token, "bad-signature", page_token=page_token)


def test_t08_the_origin_comes_from_the_configuration(remote, refused) -> None:
    """T08: a forged Host or X-Forwarded-Host does not move the origin that is checked."""
    forged = {"X-Forwarded-Host": "evil.test", "Forwarded": "host=evil.test;proto=https"}
    headers = {"Host": "evil.test", **forged}
    page_token = remote.page_token()
    cookie = remote.client.get_cookie(cookie_name(remote.client), domain="practice.test")
    remote.client.set_cookie(
        cookie_name(remote.client), cookie.value, domain="evil.test", secure=True
    )
    asked = remote.open(
        "POST", "/cps/web-eid/challenge", headers={"X-CPS-Token": page_token, **headers}
    )
    token = remote.answer(asked.json["nonce"], origin="https://evil.test")
    refused(token, "bad-signature", page_token=page_token, headers=headers)


def _leaf(remote, der: bytes, key: Any = None, persona: str = "doctor") -> tuple[Any, str]:
    """Return a well-made answer with another certificate, signed by the key that goes with it."""
    page_token = remote.page_token()
    nonce = remote.challenge(page_token)
    token = remote.answer(nonce, persona, unverifiedCertificate=b64encode(der).decode())
    if key is not None:
        origin = "https://practice.test"
        message = b"".join(hashlib.sha256(part.encode()).digest() for part in (origin, nonce))
        value = key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        token["signature"] = b64encode(value).decode()
    return token, page_token


def test_t09_signature_certificate(remote, refused, igc: FakeIgcSante) -> None:
    """T09: the card's signature certificate and key (nonRepudiation) log nobody in."""
    card = igc.credentials("doctor")
    token, page_token = _leaf(remote, card.signature_certificate_der, card.signature_key)
    refused(token, "signature-certificate", page_token=page_token)


@pytest.mark.parametrize(
    ("oid", "code"),
    [
        (ExtensionOID.KEY_USAGE, "leaf-extensions"),
        (ExtensionOID.EXTENDED_KEY_USAGE, "no-client-auth"),
    ],
    ids=["T10", "T11"],
)
def test_t10_t11_purpose_is_missing(
    remote, refused, igc: FakeIgcSante, oid: x509.ObjectIdentifier, code: str
) -> None:
    """T10, T11: no keyUsage, no clientAuth: refused for that."""
    der = igc.issue(igc.request("doctor").without(oid))
    token, page_token = _leaf(remote, der)
    refused(token, code, page_token=page_token)


@pytest.mark.parametrize("authority", ["fort", "fort-personnes"])
def test_t12_ca_certificate_as_leaf(remote, refused, igc: FakeIgcSante, authority: str) -> None:
    """T12: an authority's own certificate and key are not a card."""
    ca = igc.authorities[authority]
    token, page_token = _leaf(remote, ca.der, ca.key)
    refused(token, "code=", page_token=page_token)


def test_t13_wrong_kind_of_card(
    make_app, remote_visit, remote_config, judge: Judge, refused
) -> None:
    """T13: a genuine card of a type that may not log in here, and a TEST card."""
    strict = Judge(judge.trust, judge.crls, frozenset({CardType.CPS}))
    visitor = remote_visit(make_app("strict", remote_config, cards=None, judge=strict))
    for persona, code in (
        ("cpe-nameless", "card-type-not-accepted"),
        ("test-category", "test-category"),
    ):
        page_token = visitor.page_token()
        token = visitor.answer(visitor.challenge(page_token), persona)
        refused(token, code, visitor=visitor, page_token=page_token)


@pytest.mark.parametrize(
    ("days", "code"),
    [((-100, -1), "certificate-expired"), ((1, 100), "certificate-not-yet-valid")],
)
def test_t14_t15_outside_its_dates(remote, refused, igc: FakeIgcSante, days, code: str) -> None:
    """T14, T15: expired, and not yet valid."""
    first, last = (igc.made_at + timedelta(days=day) for day in days)
    issued = igc.issue_leaf("doctor", not_before=first, not_after=last)
    token, page_token = _leaf(remote, issued.der)
    refused(token, code, page_token=page_token)


@pytest.mark.parametrize("after_s", [-1, 1])
def test_t16_no_skew_is_given(remote, remote_app, refused, igc: FakeIgcSante, after_s: int) -> None:
    """T16: the last second of validity still counts, and the one after it does not."""
    end = (datetime.now(UTC) + timedelta(minutes=1)).replace(microsecond=0)
    token, page_token = _leaf(remote, igc.issue_leaf("doctor", not_after=end).der)
    state = remote_app.extensions["cps_login"]
    object.__setattr__(state, "clock", lambda: end + timedelta(seconds=after_s))
    if after_s < 0:
        assert remote.send(token, page_token).status_code == 200
    else:
        refused(token, "certificate-expired", page_token=page_token)


def test_t19_revoked(remote, refused) -> None:
    """T19: on the list (mise en opposition)."""
    token, page_token = _signed(remote, persona="revoked")
    refused(token, "certificate-revoked", page_token=page_token)


def _judge_with(igc: FakeIgcSante, crls: list[bytes]) -> Judge:
    return Judge(igc.trust_store(), CrlStore(crls))


@pytest.mark.parametrize(
    "what",
    ["T20 missing", "T21 past its nextUpdate", "T22 other key", "T23 unknown critical extension"],
)
def test_t20_to_t23_no_good_list(
    make_app, remote_visit, remote_config, igc: FakeIgcSante, refused, what: str
) -> None:
    """T20 to T23: without a good list nobody comes in."""
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    minute = timedelta(minutes=1)
    changes: dict[str, dict[str, Any]] = {
        "T21": {"this_update": igc.made_at - 9 * minute, "next_update": igc.made_at - minute},
        "T22": {"signing_key": igc.authorities["rogue-fort-personnes"].key},
        "T23": {"extra": [(unknown, True)]},
    }
    crls = [der for name, der in igc.crls.items() if name != "ACI-FO-PP"]
    if what[:3] in changes:
        crls.append(igc.crl(**changes[what[:3]]))
    app = make_app("lists", remote_config, cards=None, judge=_judge_with(igc, crls))
    visitor = remote_visit(app)
    page_token = visitor.page_token()
    token = visitor.answer(visitor.challenge(page_token))
    refused(token, "revocation-unknown", visitor=visitor, page_token=page_token)


def test_t24_same_serial_of_another_issuer(
    make_app, remote_visit, remote_config, igc: FakeIgcSante
) -> None:
    """T24: a serial number means something under its own issuer only."""
    leaf = x509.load_der_x509_certificate(igc.credentials("doctor").authentication_certificate_der)
    other = igc.crl("standard-personnes", revoked=[Revocation(leaf.serial_number, igc.made_at)])
    crls = [der for name, der in igc.crls.items() if name != "ACI-ST-PP"] + [other]
    chosen = _judge_with(igc, crls)
    visitor = remote_visit(make_app("serials", remote_config, cards=None, judge=chosen))
    assert visitor.log_in().status_code == 200


def test_t26_same_name_other_key(remote, refused) -> None:
    """T26: issued by somebody who bears the authority's name."""
    token, page_token = _signed(remote, persona="unknown-root")
    refused(token, "untrusted-issuer", page_token=page_token)


def test_t27_issued_by_a_leaf(remote, refused, igc: FakeIgcSante) -> None:
    """T27: a card's key issues no cards."""
    card = igc.credentials("pharmacist")
    der = igc.issue(igc.request("doctor"), signing_key=card.authentication_key)
    token, page_token = _leaf(remote, der)
    refused(token, "untrusted-issuer", page_token=page_token)


def test_t28_issued_by_the_root(remote, refused, igc: FakeIgcSante) -> None:
    """T28: not even the root may issue a card itself."""
    der = igc.issue(igc.request("doctor"), "fort")
    token, page_token = _leaf(remote, der)
    refused(token, "code=", page_token=page_token)


def test_t29_certificates_that_the_client_adds(remote, refused, igc: FakeIgcSante) -> None:
    """T29: an intermediate sent along is ignored, and believed by nobody."""
    rogue = igc.authorities["rogue-fort-personnes"].der
    token, page_token = _signed(remote, persona="unknown-root")
    token["unverifiedIntermediates"] = [b64encode(rogue).decode()]
    refused(token, "untrusted-issuer", page_token=page_token)


def test_t30_self_signed(remote, refused, igc: FakeIgcSante) -> None:
    """T30: signed by its own key, under the authority's name."""
    card = igc.credentials("doctor")
    der = igc.issue(igc.request("doctor"), signing_key=card.authentication_key)
    token, page_token = _leaf(remote, der)
    refused(token, "untrusted-issuer", page_token=page_token)


def test_t31_a_short_key(remote, refused, igc: FakeIgcSante) -> None:
    """T31: RSA of 1024 bits, under a genuine issuer."""
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505  (that is the attack)
    token, page_token = _leaf(remote, _reissued(igc, key.public_key()), key)
    refused(token, "code=", page_token=page_token)


def test_t31_a_weak_hash(remote, refused, igc: FakeIgcSante) -> None:
    """T31: signed by the genuine issuer, over SHA-1."""
    rsa_with = bytes.fromhex("2a864886f70d0101")
    card = igc.credentials("doctor")
    der = card.authentication_certificate_der.replace(rsa_with + b"\x0b", rsa_with + b"\x05")
    tbs = der[4 : 8 + int.from_bytes(der[6:8])]
    value = igc.authorities["fort-personnes"].key.sign(tbs, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
    token, page_token = _leaf(remote, der[: -len(value)] + value)
    refused(token, "code=", page_token=page_token)


def _reissued(igc: FakeIgcSante, public_key: Any) -> bytes:
    """Return the doctor's certificate with another key in it, by the genuine issuer."""
    leaf = x509.load_der_x509_certificate(igc.credentials("doctor").authentication_certificate_der)
    builder = x509.CertificateBuilder(
        leaf.issuer, leaf.subject, public_key, leaf.serial_number,
        leaf.not_valid_before_utc, leaf.not_valid_after_utc, list(leaf.extensions),
    )  # fmt: skip
    signed = builder.sign(igc.authorities["fort-personnes"].key, hashes.SHA256())
    return signed.public_bytes(Encoding.DER)


def test_t32_certificate_swapped(remote, refused, igc: FakeIgcSante) -> None:
    """T32: another valid certificate of somebody, with this signature."""
    der = igc.credentials("pharmacist").authentication_certificate_der
    token, page_token = _signed(remote, unverifiedCertificate=b64encode(der).decode())
    refused(token, "bad-signature", page_token=page_token)


def test_t33_one_bit_of_the_certificate(remote, refused) -> None:
    """T33: the last bit of its signature."""
    token, page_token = _signed(remote)
    der = bytearray(b64decode(token["unverifiedCertificate"]))
    der[-1] ^= 1
    token["unverifiedCertificate"] = b64encode(der).decode()
    refused(token, "untrusted-issuer", page_token=page_token)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda der: der + b"\0",
        lambda der: der[:-1],
        lambda der: b"\x30\x83\x00" + der[2:],
        lambda der: b"\x30\x80" + der[4:] + b"\0\0",
    ],
    ids=["trailing byte", "cut off", "long form length", "indefinite length"],
)
def test_t34_t35_not_der(remote, refused, spoil: Callable[[bytes], bytes]) -> None:
    """T34, T35: trailing bytes, BER lengths: one certificate in DER and nothing else."""
    token, page_token = _signed(remote)
    der = spoil(b64decode(token["unverifiedCertificate"]))
    token["unverifiedCertificate"] = b64encode(der).decode()
    refused(token, "certificate-malformed", page_token=page_token)


@pytest.mark.parametrize("name", ["none", "HS256", "rs256", "", "RS256\x00"])
def test_t36_algorithm_not_on_the_list(remote, refused, name: str) -> None:
    """T36: not an algorithm, or not spelt like one."""
    token, page_token = _signed(remote, algorithm=name)
    refused(token, "token-algorithm", page_token=page_token)


@pytest.mark.parametrize("name", ["PS256", "RS512", "ES256", "RS384"])
def test_t37_algorithm_confusion(remote, refused, name: str) -> None:
    """T37: another padding, another hash, another kind of key than the signature's."""
    token, page_token = _signed(remote, algorithm=name)
    refused(token, "bad-signature", page_token=page_token)


@pytest.mark.parametrize("value", [b"\0", b"\0" * 256, b"\xff" * 256, b"\0" * 64, b"\0" * 257])
def test_t38_signature_of_no_use(remote, refused, value: bytes) -> None:
    """T38: too short, zero, too large, of another kind of key, too long."""
    token, page_token = _signed(remote, signature=b64encode(value).decode())
    refused(token, "bad-signature", page_token=page_token)


def test_t39_bodies_that_are_no_token(remote, refused) -> None:
    """T39: each of them takes the challenge with it."""
    good = json.dumps(remote.answer("x")).encode()
    for body in (good[:-1], b"[" + good + b"]", good + b"x", good[:99], b"x" * 10_001,
                 good[:-1] + b', "format": "web-eid:1.0"}'):  # fmt: skip
        page_token = remote.page_token()
        nonce = remote.challenge(page_token)
        refused(body, "request-malformed", page_token=page_token)
        refused(remote.answer(nonce), "challenge-unknown", page_token=page_token)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"headers": {"Content-Type": "text/plain"}}, "content-type"),
        ({"headers": {"Content-Type": "application/x-www-form-urlencoded"}}, "content-type"),
        ({"headers": {"Content-Encoding": "gzip"}}, "content-type"),
        ({"environ": {"CONTENT_LENGTH": str(65 * 1024)}}, "content-length"),
        ({"environ": {"CONTENT_LENGTH": ""}}, "token-length"),
    ],
)
def test_t40_not_the_body_that_was_announced(remote, refused, more, code: str) -> None:
    """T40: over 64 KB, chunked, another type, compressed: not read."""
    token, page_token = _signed(remote)
    refused(token, code, page_token=page_token, **more)


def test_t40_a_body_that_is_cut_off(remote, refused) -> None:
    """T40: the connection ends before what was announced: the part is not a token."""
    token, page_token = _signed(remote)
    length = len(json.dumps(token).encode()) + 1
    more = {"environ": {"CONTENT_LENGTH": str(length)}}
    refused(token, "body-cut-off", page_token=page_token, **more)


@pytest.mark.parametrize(
    "der",
    [b"\x30\x80" * 3000, b"\x30\x84\xff\xff\xff\xff" + b"\0" * 100, b"\x30\x82\x0b\xb8" * 700],
    ids=["nested", "4 GB", "nested definite"],
)
def test_t51_der_bombs(remote, refused, der: bytes) -> None:
    """T51: deep nesting and lengths that lie cost nothing."""
    token, page_token = _signed(remote, unverifiedCertificate=b64encode(der).decode())
    refused(token, "code=", page_token=page_token)


def test_t37_a_key_of_another_kind(remote, refused, igc: FakeIgcSante) -> None:
    """T37: a certificate for an elliptic key, with a signature that says RS256."""
    der = _reissued(igc, ec.generate_private_key(ec.SECP256R1()).public_key())
    token, page_token = _leaf(remote, der)
    refused(token, "code=", page_token=page_token)


def test_t52_a_giant_key(remote, refused, igc: FakeIgcSante) -> None:
    """T52: RSA beyond 8192 bits is refused before anything is computed with it."""
    modulus = (1 << 9215) | 0x10001
    der = _reissued(igc, rsa.RSAPublicNumbers(65537, modulus).public_key())
    token, page_token = _leaf(remote, der)
    refused(token, "code=", page_token=page_token)


def test_t54_one_answer_for_every_reason(make_app, remote_visit, remote_config) -> None:
    """T54: no account, revoked, malformed, replayed: the same status, headers and words."""
    app = make_app("nobody", remote_config, cards=None, load_account=lambda _: None)
    visitor = remote_visit(app)
    answers = set()
    for spoil in ({}, {"persona": "revoked"}, {"algorithm": "none"}, {"signature": "AAAA"}):
        page_token = visitor.page_token()
        nonce = visitor.challenge(page_token)
        persona = spoil.pop("persona", "doctor")
        answer = visitor.send(visitor.answer(nonce, persona, **spoil), page_token)
        headers = tuple(sorted((k, v) for k, v in answer.headers if k not in ("Date",)))
        answers.add((answer.status_code, answer.data, headers))
    assert len(answers) == 1


def test_t55_no_secret_in_any_log(remote, caplog: pytest.LogCaptureFixture) -> None:
    """T55: certificate, nonce, signature and session identifier are in no line, at any level."""
    with caplog.at_level(logging.DEBUG):
        token, page_token = _signed(remote)
        remote.send(token, page_token)
        remote.send(token, page_token)
    text = caplog.text
    with remote.client.session_transaction(base_url="https://practice.test") as session:
        secrets = [session["_user_id"], token["signature"][:40]]
    secrets.append(token["unverifiedCertificate"][:40])
    assert text
    assert not any(secret in text for secret in secrets)


def _short_lived_issuer(igc: FakeIgcSante) -> x509.Certificate:
    """Return the issuing authority's own certificate, over since yesterday."""
    ca, root = igc.authorities["fort-personnes"].certificate, igc.authorities["fort"]
    yesterday = igc.made_at - timedelta(days=1)
    return x509.CertificateBuilder(
        ca.issuer, ca.subject, ca.public_key(), ca.serial_number + 1,
        ca.not_valid_before_utc, yesterday, list(ca.extensions),
    ).sign(root.key, hashes.SHA256())  # fmt: skip


def test_t17_the_authority_has_expired(
    make_app, remote_visit, remote_config, igc: FakeIgcSante, judge: Judge, refused
) -> None:
    """T17: a valid card of an authority that is over."""
    trust = replace(judge.trust, intermediates=(_short_lived_issuer(igc),))
    app = make_app("old-ca", remote_config, cards=None, judge=Judge(trust, judge.crls))
    visitor = remote_visit(app)
    page_token = visitor.page_token()
    token = visitor.answer(visitor.challenge(page_token))
    refused(token, "untrusted-issuer", visitor=visitor, page_token=page_token)


def test_t18_an_expired_authority_beside_the_good_one(
    make_app, remote_visit, remote_config, igc: FakeIgcSante, judge: Judge
) -> None:
    """T18: what nobody needs may be as old as it likes."""
    intermediates = (_short_lived_issuer(igc), *judge.trust.intermediates)
    trust = replace(judge.trust, intermediates=intermediates)
    app = make_app("two-cas", remote_config, cards=None, judge=Judge(trust, judge.crls))
    assert remote_visit(app).log_in().status_code == 200


def test_t25_an_older_list_does_not_take_a_revocation_back(
    make_app, remote_visit, remote_config, igc: FakeIgcSante, refused
) -> None:
    """T25: beside list number 2, which revokes, number 1, which does not, counts for nothing."""
    leaf = x509.load_der_x509_certificate(igc.credentials("doctor").authentication_certificate_der)
    newer = igc.crl(number=2, revoked=[Revocation(leaf.serial_number, igc.made_at)])
    crls = [der for name, der in igc.crls.items() if name != "ACI-FO-PP"]
    for order in ([newer, igc.crl(number=1)], [igc.crl(number=1), newer]):
        name = f"rollback-{len(order[0])}"
        judge = _judge_with(igc, [*crls, *order])
        visitor = remote_visit(make_app(name, remote_config, cards=None, judge=judge))
        page_token = visitor.page_token()
        token = visitor.answer(visitor.challenge(page_token))
        refused(token, "certificate-revoked", visitor=visitor, page_token=page_token)

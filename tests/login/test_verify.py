"""The numbered steps on a virtual card: who gets in, who does not, and what it costs."""

from __future__ import annotations

import contextlib
import logging
import re
from datetime import UTC, datetime, timedelta

import pytest

from cps_auth.card.native.source import NativeCards
from cps_auth.errors import (
    BadSignature,
    CertificateExpired,
    CertificateRevoked,
    ChallengeExpired,
    CpsAuthError,
    HolderNotAllowed,
    LastAttempt,
    PinBlocked,
    PinMalformed,
    UntrustedIssuer,
    WrongPin,
    WrongPurpose,
)
from cps_auth.login.challenge import check_fresh, issue_challenge
from cps_auth.login.proof import check_signature
from cps_auth.login.verify import AccountCheck, admit, log_in, prove, verify_proof
from cps_auth.model import (
    CardSignature,
    Practitioner,
    SignatureAlgorithm,
    UnverifiedProof,
    VerifiedHolder,
)
from cps_auth.pki.judge import Judge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

READER = "Virtual reader"
ORIGIN = "https://cabinet.example"
PIN = b"1234"


def _now() -> datetime:
    return datetime.now(UTC)


def _anybody(_practitioner: Practitioner) -> None:
    """Let everybody in."""


def _nobody(_practitioner: Practitioner) -> None:
    raise HolderNotAllowed


@pytest.fixture
def readers() -> VirtualReaders:
    """Return one empty virtual reader."""
    return VirtualReaders(READER)


def _insert(readers: VirtualReaders, igc: FakeIgcSante, name: str) -> VirtualCard:
    card = VirtualCard(PERSONAS[name], igc.credentials(name))
    readers.insert(READER, card)
    return card


def _log_in(
    readers: VirtualReaders,
    judge: Judge,
    pin: bytes = PIN,
    *,
    allow: AccountCheck = _anybody,
    last_attempt_allowed: bool = False,
) -> VerifiedHolder:
    with NativeCards(readers.service).open_card() as card:
        return log_in(
            card,
            bytearray(pin),
            origin=ORIGIN,
            judge=judge,
            allow=allow,
            clock=_now,
            last_attempt_allowed=last_attempt_allowed,
        )


def _attempts_left(readers: VirtualReaders) -> int | None:
    with NativeCards(readers.service).open_card() as card:
        return card.pin_attempts_left()


@pytest.mark.parametrize("name", ["doctor", "pharmacist", "nurse", "cpe-nameless"])
def test_an_ordinary_holder_gets_in(
    name: str, readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """The verified holder is the persona, with the evidence that was used."""
    _insert(readers, igc, name)
    holder = _log_in(readers, judge)
    persona = PERSONAS[name]
    assert holder.practitioner.ps_idnat == persona.ps_idnat
    assert holder.practitioner.surname == persona.surname
    assert holder.card is not None
    assert holder.card.serial == persona.chip_serial
    assert [evidence.source for evidence in holder.revocation] == ["crl", "crl"]
    assert holder.trust == judge.trust.name


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("expired", CertificateExpired),
        ("revoked", CertificateRevoked),
        ("unknown-root", UntrustedIssuer),
        ("test-category", WrongPurpose),
        ("signature-only", WrongPurpose),
        ("pin-blocked", PinBlocked),
        ("last-attempt", LastAttempt),
    ],
)
def test_whatever_is_wrong_is_refused_without_spending_an_attempt(
    name: str,
    error: type[CpsAuthError],
    readers: VirtualReaders,
    igc: FakeIgcSante,
    judge: Judge,
) -> None:
    """Each kind of wrong card has its own error, and its PIN was never sent."""
    _insert(readers, igc, name)
    with pytest.raises(error):
        _log_in(readers, judge)
    assert _attempts_left(readers) == PERSONAS[name].pin_attempts_left


def test_a_wrong_pin_says_how_many_attempts_are_left(
    readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """One attempt is spent, and the right PIN still works and gives it back."""
    _insert(readers, igc, "doctor")
    with pytest.raises(WrongPin) as caught:
        _log_in(readers, judge, b"9999")
    assert caught.value.attempts_left == 2
    assert _log_in(readers, judge)
    assert _attempts_left(readers) == 3


def test_the_last_attempt_needs_an_explicit_word(
    readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """Two wrong PINs, then nothing is sent until the caller says so; then it counts."""
    _insert(readers, igc, "doctor")
    for left in (2, 1):
        with pytest.raises(WrongPin) as caught:
            _log_in(readers, judge, b"9999")
        assert caught.value.attempts_left == left
    with pytest.raises(LastAttempt):
        _log_in(readers, judge)
    assert _attempts_left(readers) == 1
    assert _log_in(readers, judge, last_attempt_allowed=True)
    assert _attempts_left(readers) == 3


@pytest.mark.parametrize(
    "pin", [b"", b"123", b"12345", b"abcd", b"12 4", "١٢٣٤".encode(), b"\0" * 4]
)
def test_what_is_not_a_pin_never_reaches_the_card(
    pin: bytes, readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """No VERIFY with a body was sent, and no attempt is gone."""
    _insert(readers, igc, "doctor")
    with pytest.raises(PinMalformed):
        _log_in(readers, judge, pin)
    assert not [c for c in readers.commands if c[1] == 0x20 and len(c) > 5]
    assert _attempts_left(readers) == 3


def test_a_holder_without_an_account_is_refused_before_the_pin(
    readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """Step 6 comes before step 8: a wrong PIN would have cost an attempt."""
    _insert(readers, igc, "doctor")
    with pytest.raises(HolderNotAllowed):
        _log_in(readers, judge, b"9999", allow=_nobody)
    assert _attempts_left(readers) == 3


def test_a_login_leaves_nothing_verified_on_the_card(
    readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """After a login the authentication key refuses to sign for whoever comes next."""
    _insert(readers, igc, "doctor")
    _log_in(readers, judge)
    transport = readers.service().connect(READER)
    transport.transmit(bytes.fromhex("00A4090C043F000001"))
    transport.transmit(bytes.fromhex("002241A406800102840182"))
    assert transport.transmit(bytes.fromhex("00880000") + bytes([51]) + bytes(51)) == b"\x69\x82"
    transport.close()


def test_the_judged_certificate_is_bound_to_the_card_that_signs(
    readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """Admitting the doctor's card and signing with the pharmacist's gives neither of them."""
    _insert(readers, igc, "doctor")
    cards = NativeCards(readers.service)
    with cards.open_card() as card:
        admission = admit(card, judge=judge, allow=_anybody, at=_now())
    other = VirtualCard(PERSONAS["pharmacist"], igc.credentials("pharmacist"))
    readers.swap(READER, other)
    with cards.open_card() as card, pytest.raises(BadSignature):
        prove(card, bytearray(PIN), admission, origin=ORIGIN, clock=_now)


def test_every_login_signs_something_new(
    readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """Two logins never show the card the same bytes to sign."""
    _insert(readers, igc, "doctor")
    for _ in range(2):
        _log_in(readers, judge)
    signed = [c for c in readers.commands if c[1] == 0x88]
    assert len(signed) == 2
    assert signed[0] != signed[1]


def test_a_pin_is_in_no_log_line(
    readers: VirtualReaders,
    igc: FakeIgcSante,
    judge: Judge,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At DEBUG level, with a right and a wrong PIN, no output holds either."""
    caplog.set_level(logging.DEBUG)
    _insert(readers, igc, "doctor")
    with pytest.raises(WrongPin) as caught:
        _log_in(readers, judge, b"7351")
    _log_in(readers, judge)
    alone = r"(?<![0-9A-Za-z])7351(?![0-9A-Za-z])"  # not by chance inside a nonce or a serial
    assert not re.search(alone, caplog.text + repr(caught.value))
    assert "37333531" not in caplog.text
    assert "31323334" not in caplog.text


# --- A proof that was made elsewhere ---------------------------------------------


def _proof(igc: FakeIgcSante, readers: VirtualReaders, at: datetime) -> tuple:
    _insert(readers, igc, "doctor")
    challenge = issue_challenge(ORIGIN, at=at)
    with NativeCards(readers.service).open_card() as card:
        certificate = card.read_authentication_certificate()
        signature = card.verify_pin_and_sign(bytearray(PIN), challenge)
    return challenge, UnverifiedProof(certificate, signature)


def test_a_proof_made_elsewhere_is_verified(
    readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """Certificate and signature are enough when the challenge is ours and fresh."""
    challenge, proof = _proof(igc, readers, _now())
    holder = verify_proof(proof, challenge, judge=judge, allow=_anybody, at=_now())
    assert holder.practitioner.ps_idnat == PERSONAS["doctor"].ps_idnat


def test_a_proof_for_another_challenge_is_refused(
    readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """Neither another nonce nor another origin is what was signed."""
    _, proof = _proof(igc, readers, _now())
    for origin in (ORIGIN, "https://other.example"):
        other = issue_challenge(origin, at=_now())
        with pytest.raises(BadSignature):
            verify_proof(proof, other, judge=judge, allow=_anybody, at=_now())


@pytest.mark.parametrize("seconds", [301, -60])
def test_a_proof_at_the_wrong_time_is_refused(
    seconds: int, readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """Too late, or before it was asked for: the clock is an argument."""
    at = _now()
    challenge, proof = _proof(igc, readers, at)
    with pytest.raises(ChallengeExpired):
        verify_proof(
            proof, challenge, judge=judge, allow=_anybody, at=at + timedelta(seconds=seconds)
        )


def test_an_altered_signature_or_algorithm_is_refused(
    readers: VirtualReaders, igc: FakeIgcSante
) -> None:
    """One bit, another algorithm, an empty or longer signature: never a foreign exception."""
    challenge, proof = _proof(igc, readers, _now())
    key = igc.credentials("doctor").authentication_key.public_key()
    good = proof.signature
    check_signature(key, challenge, good)
    flipped = bytes([good.value[0] ^ 1]) + good.value[1:]
    for algorithm, value in [
        (SignatureAlgorithm.RS256, flipped),
        (SignatureAlgorithm.RS256, b""),
        (SignatureAlgorithm.RS256, good.value + b"\0"),
        (SignatureAlgorithm.PS256, good.value),
        (SignatureAlgorithm.ES256, good.value),
        (SignatureAlgorithm.ES256, b"\0" * 64),
    ]:
        with pytest.raises(BadSignature):
            check_signature(key, challenge, CardSignature(algorithm, value))


def test_nonces_are_long_and_never_repeat() -> None:
    """32 bytes of randomness each, as base64 text of 44 characters (Web eID 1.0)."""
    nonces = {issue_challenge(ORIGIN, at=_now()).nonce for _ in range(100)}
    assert len(nonces) == 100
    assert {len(nonce) for nonce in nonces} == {44}


def test_the_application_is_asked_about_nobody_who_has_proven_nothing(
    readers: VirtualReaders, igc: FakeIgcSante, judge: Judge
) -> None:
    """Somebody else's public certificate with a signature that is not theirs: step 9, then 6."""
    challenge, proof = _proof(igc, readers, _now())
    other = issue_challenge(ORIGIN, at=_now())
    asked: list[str] = []
    for presented, outcome in ((other, BadSignature), (challenge, None)):
        with pytest.raises(outcome) if outcome else contextlib.nullcontext():
            verify_proof(
                proof,
                presented,
                judge=judge,
                allow=lambda holder: asked.append(holder.display_name),
                at=_now(),
            )
        assert asked == ([] if outcome else ["Camille LAVERGNE"])


def test_freshness_has_exact_bounds() -> None:
    """At 300 seconds it is accepted, a microsecond later it is not."""
    at = _now()
    challenge = issue_challenge(ORIGIN, at=at)
    check_fresh(challenge, at=at + timedelta(seconds=300))
    with pytest.raises(ChallengeExpired):
        check_fresh(challenge, at=at + timedelta(seconds=300, microseconds=1))

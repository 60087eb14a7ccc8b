"""Log in with a SoftHSM2 token: somebody else's PKCS#11, no reader and no pcscd."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256

from cps_auth.card.pkcs11.source import Pkcs11Cards
from cps_auth.errors import (
    ModuleUnusable,
    NoAuthenticationCertificate,
    NoCard,
    NoReader,
    PinMalformed,
    SeveralCards,
    WrongPin,
)
from cps_auth.model import CardKind, CardSignature, Challenge, SignatureAlgorithm

pytestmark = pytest.mark.system

SPY = Path("/usr/lib/x86_64-linux-gnu/pkcs11-spy.so")


def _verify(certificate_der: bytes, signature: CardSignature, challenge: Challenge) -> None:
    key = x509.load_der_x509_certificate(certificate_der).public_key()
    assert isinstance(key, RSAPublicKey)
    key.verify(signature.value, challenge.message(), PKCS1v15(), SHA256())


def test_a_token_logs_in_with_its_authentication_key(softhsm, challenge) -> None:
    """The signature is the authentication certificate's, although the other key comes first."""
    credentials = softhsm.add_token("doctor")
    with Pkcs11Cards(softhsm.module).open_card() as card:
        certificate_der = card.read_authentication_certificate()
        signature = card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    assert certificate_der == credentials.authentication_certificate_der
    assert signature.algorithm is SignatureAlgorithm.RS256
    _verify(certificate_der, signature, challenge)


def test_a_token_describes_itself(softhsm) -> None:
    """Kind, slot, label and a serial without padding; no attempts known; one reader listed."""
    softhsm.add_token("doctor")
    cards = Pkcs11Cards(softhsm.module)
    with cards.open_card() as card:
        description = card.description
        assert card.pin_attempts_left() is None
        assert card.read_label() == "CPS-doctor"
    assert description.kind is CardKind.VENDOR_MODULE
    assert len(description.serial) == 16
    assert [reader.name for reader in cards.readers()] == [description.reader]


def test_a_key_is_found_by_its_modulus(softhsm, igc, challenge) -> None:
    """A key of another pair under the certificate's CKA_ID is not taken for its key."""
    credentials = igc.credentials("doctor")
    softhsm.init_token("CPS-lying-ids")
    decoy = generate_private_key(65537, 2048)
    softhsm.add_pair("CPS-lying-ids", "0a", decoy, None)
    softhsm.add_pair("CPS-lying-ids", "0b", credentials.authentication_key, None)
    softhsm.add_certificate("CPS-lying-ids", "0a", credentials.authentication_certificate_der)
    with Pkcs11Cards(softhsm.module).open_card() as card:
        signature = card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    _verify(credentials.authentication_certificate_der, signature, challenge)


def test_a_wrong_pin_is_refused_and_the_right_one_then_works(softhsm, challenge) -> None:
    """The card can be used again after a refusal, through a fresh module."""
    credentials = softhsm.add_token("doctor")
    with Pkcs11Cards(softhsm.module).open_card() as card:
        with pytest.raises(WrongPin):
            card.verify_pin_and_sign(bytearray(b"4321"), challenge)
        signature = card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    _verify(credentials.authentication_certificate_der, signature, challenge)


@pytest.mark.parametrize(
    "pin", [b"", b"123", b"12345", b"abcd", b"12 4", "١٢".encode(), b"\0\0\0\0"]
)
def test_a_malformed_pin_never_reaches_the_module(
    softhsm, challenge, tmp_path, monkeypatch, pin
) -> None:
    """OpenSC's spy between us and the module sees no C_Login."""
    calls = _spy_on(softhsm, tmp_path, monkeypatch)
    with Pkcs11Cards(SPY).open_card() as card, pytest.raises(PinMalformed):
        card.verify_pin_and_sign(bytearray(pin), challenge)
    assert "C_GetTokenInfo" in calls.read_text()
    assert "C_Login" not in calls.read_text()


def test_nothing_stays_logged_in(softhsm, challenge, tmp_path, monkeypatch) -> None:
    """As the spy saw it: one login, one signature, one logout, all sessions closed, finalized."""
    calls = _spy_on(softhsm, tmp_path, monkeypatch)
    with Pkcs11Cards(SPY).open_card() as card:
        card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    seen = [line.split(": ")[1] for line in calls.read_text().splitlines() if ": C_" in line]
    for call in ("C_Login", "C_SignInit", "C_Logout", "C_Finalize"):
        assert seen.count(call) == 1, call
    assert seen.index("C_Sign") < seen.index("C_Logout")
    assert seen.count("C_OpenSession") == seen.count("C_CloseSession")


def test_the_process_ends_with_the_pin_and_with_the_card(softhsm, challenge) -> None:
    """No child survives a proof, a refusal or close; closing twice is allowed."""
    softhsm.add_token("doctor")
    before = _children()
    card = Pkcs11Cards(softhsm.module).open_card()
    assert len(_children() - before) == 1
    with pytest.raises(WrongPin):
        card.verify_pin_and_sign(bytearray(b"4321"), challenge)
    assert _children() == before
    card.read_authentication_certificate()
    assert len(_children() - before) == 1
    card.close()
    card.close()
    assert _children() == before


def test_the_callers_pin_is_left_alone(softhsm, challenge) -> None:
    """The buffer belongs to the caller, who wipes it."""
    softhsm.add_token("doctor")
    pin = bytearray(b"1234")
    with Pkcs11Cards(softhsm.module).open_card() as card:
        card.verify_pin_and_sign(pin, challenge)
    assert pin == b"1234"


def test_two_tokens_must_be_told_apart(softhsm) -> None:
    """Without a name they are several cards; with one, the named is opened."""
    softhsm.add_token("doctor")
    nurse = softhsm.add_token("nurse")
    cards = Pkcs11Cards(softhsm.module)
    with pytest.raises(SeveralCards) as several:
        cards.open_card()
    opened = {}
    for reader in several.value.readers:
        with cards.open_card(reader) as card:
            opened[card.read_label()] = card.read_authentication_certificate()
    assert opened["CPS-nurse"] == nurse.authentication_certificate_der


def test_no_token_and_no_such_slot(softhsm) -> None:
    """A module without a usable token says so, and an unknown slot is another thing."""
    cards = Pkcs11Cards(softhsm.module)
    with pytest.raises(NoCard):
        cards.open_card()
    with pytest.raises(NoReader):
        cards.open_card("no such slot")


def test_a_token_without_an_authentication_certificate(softhsm) -> None:
    """A certificate for signatures only does not log in, and that is what is said."""
    softhsm.add_token("signature-only")
    with pytest.raises(NoAuthenticationCertificate):
        Pkcs11Cards(softhsm.module).open_card()


def test_a_child_killed_between_two_calls_is_noticed(softhsm, challenge) -> None:
    """The call after it fails in a typed way, and the next one works."""
    softhsm.add_token("doctor")
    before = _children()
    with Pkcs11Cards(softhsm.module).open_card() as card:
        (child,) = _children() - before
        os.kill(child, signal.SIGKILL)
        with pytest.raises(ModuleUnusable, match="signal 9"):
            card.pin_attempts_left()
        card.verify_pin_and_sign(bytearray(b"1234"), challenge)


def _spy_on(softhsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put pkcs11-spy before SoftHSM2 and return the file with the calls that it saw."""
    softhsm.add_token("doctor")
    calls = tmp_path / "calls"
    monkeypatch.setenv("PKCS11SPY", str(softhsm.module))
    monkeypatch.setenv("PKCS11SPY_OUTPUT", str(calls))
    return calls


def _children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}

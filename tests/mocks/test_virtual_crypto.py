"""The keys of the virtual CPS3, checked with `cryptography` against its certificates."""

from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware_mocks.card.crypto import hash_resume
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS

MESSAGE = b"who goes there?"
SHA256_INFO = "3031300D060960864801650304020105000420"
SIGN_SHA256 = "002241B606800142840181"
AUTHENTICATE = "002241A406800102840182"


@pytest.fixture
def card(igc: FakeIgcSante) -> VirtualCard:
    """A CPS3 of the doctor whose PIN was verified."""
    card = VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"))
    assert ask(card, "002000010431323334") == "9000"
    return card


def ask(card: VirtualCard, command_hex: str) -> str:
    """Send one command and return the answer, both in hexadecimal."""
    return card.transmit(bytes.fromhex(command_hex)).hex().upper()


def send(card: VirtualCard, header_hex: str, data: bytes) -> bytes:
    """Send data and fetch the 256 bytes of the answer in two pieces, as the ANS module does."""
    command = bytes.fromhex(header_hex) + bytes([len(data)]) + data
    assert card.transmit(command) == b"\x61\x00"
    first = card.transmit(bytes.fromhex("00C00000E7"))
    assert first[-2:] == b"\x61\x19"
    rest = card.transmit(bytes.fromhex("00C0000019"))
    assert rest[-2:] == b"\x90\x00"
    return first[:-2] + rest[:-2]


def public_key(der: bytes) -> RSAPublicKey:
    """Return the key of a certificate."""
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, RSAPublicKey)
    return key


@pytest.fixture
def authentication_key(igc: FakeIgcSante) -> RSAPublicKey:
    """The public key of the doctor's authentication certificate."""
    return public_key(igc.credentials("doctor").authentication_certificate_der)


@pytest.fixture
def signature_key(igc: FakeIgcSante) -> RSAPublicKey:
    """The public key of the doctor's signature certificate."""
    return public_key(igc.credentials("doctor").signature_certificate_der)


def test_internal_authenticate_signs_a_digest_info(
    card: VirtualCard, authentication_key: RSAPublicKey
) -> None:
    """The host wraps the hash, the card pads and signs: RS256."""
    assert ask(card, AUTHENTICATE) == "9000"
    digest_info = bytes.fromhex(SHA256_INFO) + hashlib.sha256(MESSAGE).digest()
    signature = send(card, "00880000", digest_info)
    authentication_key.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize(("size", "answer"), [(1, "6100"), (102, "6100"), (103, "6700")])
def test_internal_authenticate_takes_any_102_bytes(
    card: VirtualCard, size: int, answer: str
) -> None:
    """Any data up to 40 % of the modulus, no more."""
    ask(card, AUTHENTICATE)
    assert ask(card, f"00880000{size:02X}" + "AB" * size) == answer


def test_sign_a_hash_of_the_host(card: VirtualCard, signature_key: RSAPublicKey) -> None:
    """PSO 9E9A with 32 bytes: the card adds the DigestInfo."""
    assert ask(card, SIGN_SHA256) == "9000"
    signature = send(card, "002A9E9A", hashlib.sha256(MESSAGE).digest())
    signature_key.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())


def test_sign_with_sha1(card: VirtualCard, signature_key: RSAPublicKey) -> None:
    """Algorithm 12 takes 20 bytes and signs with SHA-1; the order of the TLVs is free."""
    assert ask(card, "002241B606840181800112") == "9000"
    signature = send(card, "002A9E9A", hashlib.sha1(MESSAGE, usedforsecurity=False).digest())
    signature_key.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303 - what the card offers
    assert ask(card, "002A9E9A20" + "00" * 32) == "6A80"


def test_sign_a_hash_that_the_card_finished(card: VirtualCard, signature_key: RSAPublicKey) -> None:
    """90A0 with state and last block, then 9E9A without data: 256 bytes at once."""
    message = bytes(range(250))
    state = hash_resume.initial_state("sha256")
    for start in (0, 64, 128):
        state = hash_resume.absorb("sha256", state, message[start : start + 64])
    intermediate = state + (192 * 8).to_bytes(8)
    data = b"\x90\x28" + intermediate + b"\x80" + bytes([58]) + message[192:]
    assert ask(card, "002241AA03800140") == "9000"
    assert ask(card, f"002A90A0{len(data):02X}" + data.hex()) == "9000"
    assert ask(card, SIGN_SHA256) == "9000"
    answer = card.transmit(bytes.fromhex("002A9E9A00"))
    assert answer[-2:] == b"\x90\x00"
    signature_key.verify(answer[:-2], message, padding.PKCS1v15(), hashes.SHA256())


def test_signing_nothing_is_refused(card: VirtualCard) -> None:
    """Without data and without a hash there is nothing to sign."""
    ask(card, SIGN_SHA256)
    assert ask(card, "002A9E9A00") == "6985"


def test_decipher_in_a_chain(card: VirtualCard, authentication_key: RSAPublicKey) -> None:
    """81 and the cryptogram in two commands; the padding is gone from the answer."""
    cryptogram = authentication_key.encrypt(b"a session key", padding.PKCS1v15())
    data = b"\x81" + cryptogram
    assert ask(card, "002241B80680011A840182") == "9000"
    assert card.transmit(bytes.fromhex("102A8086FF") + data[:255]) == b"\x90\x00"
    assert card.transmit(bytes.fromhex("002A808602") + data[255:]) == b"\x61\x0d"
    assert card.transmit(bytes.fromhex("00C000000D")) == b"a session key\x90\x00"


def test_a_broken_chain_is_forgotten(card: VirtualCard) -> None:
    """Another command in between, or a cryptogram of another key: 6A80."""
    ask(card, "002241B80680011A840182")
    assert ask(card, "102A8086FF81" + "11" * 254) == "9000"
    ask(card, "0084000008")
    assert ask(card, "002A8086021111") == "6A80"
    assert ask(card, "102A8086FF81" + "11" * 254) == "9000"
    assert ask(card, "002A8086021111") == "6A80"


@pytest.mark.parametrize(
    ("environment", "operation"),
    [
        (AUTHENTICATE, "008800000142"),
        (SIGN_SHA256, "002A9E9A20" + "42" * 32),
        ("002241B80680011A840182", "002A80860381 4242".replace(" ", "")),
    ],
)
def test_no_key_without_the_pin(card: VirtualCard, environment: str, operation: str) -> None:
    """After a reset every private operation is 6982 until VERIFY, whatever was set before."""
    card.reset()
    assert ask(card, environment) == "9000"
    assert ask(card, operation) == "6982"


def test_a_key_does_only_what_its_rules_allow(card: VirtualCard) -> None:
    """The signature key neither authenticates nor deciphers, the other never signs hashes."""
    ask(card, "002241A406800102840181")
    assert ask(card, "008800000142") == "6982"
    ask(card, "002241B606800142840182")
    assert ask(card, "002A9E9A20" + "42" * 32) == "6982"


@pytest.mark.parametrize(
    ("command_hex", "answer"),
    [
        ("008800000142", "6985"),  # no environment
        ("002241A406800102840199", "6A88"),
        ("002241A406800142840182", "6A80"),
        ("002241A403840182", "6A80"),
        ("002241A4058001028401", "6A80"),
        ("002281A406800102840182", "6A86"),
        ("002241B406800102840182", "6A86"),
        ("002A00000142", "6A86"),
        ("002A90A00480028042", "6985"),
        ("008800010142", "6A86"),
        ("002241AA03800199", "6A80"),
    ],
)
def test_wrong_environments_are_refused(card: VirtualCard, command_hex: str, answer: str) -> None:
    """Unknown keys, algorithms and templates each have their status word."""
    assert ask(card, command_hex) == answer


def test_a_hash_longer_than_any_message_is_refused(card: VirtualCard) -> None:
    """A counter that would overflow, or a state of the wrong size, is 6A80."""
    ask(card, "002241AA03800140")
    assert ask(card, "002A90A02D" + "9028" + "11" * 32 + "FF" * 8 + "800142") == "6A80"
    assert ask(card, "002A90A006" + "900111" + "800142") == "6A80"
    assert ask(card, "002A90A003" + "800142") == "6A80"


def test_get_challenge_gives_fresh_bytes(card: VirtualCard) -> None:
    """Eight random bytes per call."""
    first, second = ask(card, "0084000008"), ask(card, "0084000008")
    assert len(first) == 2 * 10
    assert first != second


@settings(max_examples=60, deadline=None)
@given(message=st.binary(max_size=200), name=st.sampled_from(["sha1", "sha256"]))
def test_a_resumed_hash_is_the_hash(message: bytes, name: str) -> None:
    """From any block boundary on, the card finishes the same digest as hashlib."""
    state = hash_resume.initial_state(name)
    whole = max(len(message) - 1, 0) // 64 * 64  # the last block may be a full one
    for start in range(0, whole, 64):
        state = hash_resume.absorb(name, state, message[start : start + 64])
    digest = hash_resume.finish(name, state, 8 * whole, message[whole:])
    assert digest == hashlib.new(name, message, usedforsecurity=False).digest()

"""The CPS3 without contact: possession, and nothing else."""

from __future__ import annotations

import hashlib
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from hardware_mocks.igc.fake_igc import FakeIgcSante

MESSAGE = b"who goes there?"
SHA256_INFO = bytes.fromhex("3031300D060960864801650304020105000420")


class Wire(Protocol):
    """A card, spoken to in hexadecimal."""

    def ask(self, command_hex: str, data: bytes = b"", end_hex: str = "") -> str:
        """Send a command and return the answer."""


class MakeWire(Protocol):
    """The fixture `wire`."""

    def __call__(self, kind: str = ..., persona: str = ...) -> Wire:
        """Make a card."""


@pytest.fixture
def card(wire: MakeWire) -> Wire:
    """The contactless side of the doctor's CPS3."""
    return wire("cps3-contactless")


def read(card: Wire, path_hex: str) -> bytes:
    """Return a whole file."""
    template = bytes.fromhex(card.ask("00A40904", bytes.fromhex(path_hex), "00"))
    size = int.from_bytes(template[4:6])
    content = b""
    while len(content) < size:
        answer = bytes.fromhex(card.ask(f"00B0{len(content):04X}00"))
        assert answer[-2:] == b"\x90\x00"
        content += answer[:-2]
    return content


def test_the_technical_key_signs_without_a_pin(card: Wire) -> None:
    """INTERNAL AUTHENTICATE with key 83 works at once, and fits the technical certificate."""
    key = x509.load_der_x509_certificate(read(card, "3F000002B003")).public_key()
    assert isinstance(key, RSAPublicKey)
    assert card.ask("002241A406800102840183") == "9000"
    digest_info = SHA256_INFO + hashlib.sha256(MESSAGE).digest()
    answer = bytes.fromhex(card.ask("00880000", digest_info, "00"))
    assert answer[-2:] == b"\x90\x00"
    key.verify(answer[:-2], MESSAGE, padding.PKCS1v15(), hashes.SHA256())


def test_there_is_no_pin_and_no_other_key(card: Wire) -> None:
    """VERIFY, its counter and the keys of the contact side are not found."""
    assert card.ask("002000010431323334") == "6A88"
    assert card.ask("00200001") == "6A88"
    assert card.ask("00CB3FFF0A4D087006BF810102A08000") == "6A88"
    for reference in ("81", "82"):
        assert card.ask(f"002241A4068001028401{reference}") == "6A88"


def test_the_directory_names_its_own_application(card: Wire) -> None:
    """DF 0002 with the contactless AID; no PIN in the ODF, no login required."""
    directory = read(card, "3F002F00")
    assert directory.startswith(bytes.fromhex("61324F0DE828BD080F8025000001FF0020500A"))
    assert bytes.fromhex("51043F000002") in directory
    assert read(card, "3F0000025031").startswith(b"\xa0")
    assert b"CPS_PRIV_TECH_AUT" in read(card, "3F0000027002")
    assert bytes.fromhex("03020780") in read(card, "3F0000025032")
    assert card.ask("00A4090C043F000001") == "6A82"


def test_it_is_the_same_chip_as_in_contact(wire: MakeWire, igc: FakeIgcSante) -> None:
    """Same serial number, another certificate; the key of a card never changes."""
    contact, without = wire("cps3"), wire("cps3-contactless")
    assert read(contact_t1(contact), "3F00D003") == read(without, "3F00D003")
    certificate = read(without, "3F000002B003")
    assert certificate == read(wire("cps3-contactless"), "3F000002B003")
    assert certificate != igc.credentials("doctor").authentication_certificate_der


def contact_t1(wire: Wire) -> Wire:
    """Return the CPS3 in contact as if it spoke T=1: GET RESPONSE done, no Le."""

    class Direct:
        def ask(self, command_hex: str, data: bytes = b"", end_hex: str = "") -> str:
            waiting = wire.ask(command_hex, data, end_hex if not data else "")
            return wire.ask("00C00000" + waiting[2:]) if waiting.startswith("61") else waiting

    return Direct()

"""The CPS4: a ChipDoc applet under T=1, its T=0 and release-candidate siblings."""

from __future__ import annotations

import hashlib
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante

MESSAGE = b"who goes there?"
SHA256_INFO = bytes.fromhex("3031300D060960864801650304020105000420")
VERIFY = "012000010431323334"
WRONG = "012000010430303030"
PIN_STATE = "01200001"
SELECT_CARD = "01A4040C088025000001FF0100"


class Wire(Protocol):
    """A card, spoken to in hexadecimal."""

    card: VirtualCard

    def ask(self, command_hex: str, data: bytes = b"", end_hex: str = "") -> str:
        """Send a command and return the answer."""


class MakeWire(Protocol):
    """The fixture `wire`."""

    def __call__(self, kind: str = ..., persona: str = ...) -> Wire:
        """Make a card."""


@pytest.fixture
def card(wire: MakeWire) -> Wire:
    """A CPS4 of the doctor."""
    return wire("cps4")


def public_key(der: bytes) -> RSAPublicKey:
    """Return the key of a certificate."""
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, RSAPublicKey)
    return key


@pytest.mark.parametrize(
    ("kind", "atr", "protocol"),
    [
        ("cps4", "3B9B188001001225006480040100009044", 1),
        ("cps4-rc", "3B9B188001001225006480000401009044", 1),
        ("cps4-t0", "3BDC18FF00001225006480000401009000", 0),
        ("cps3-contactless", "3B8F80010031B86404B0ECC1739401808290000E", 1),
    ],
)
def test_answers_to_reset(wire: MakeWire, kind: str, atr: str, protocol: int) -> None:
    """Byte for byte: the ANS module compares them whole."""
    card = wire(kind).card
    assert (card.atr.hex().upper(), card.protocol) == (atr, protocol)


def test_it_is_connected_as_the_ans_module_does(card: Wire) -> None:
    """Applet, serial number, EF.DIR, application, directories: 6F for P2=00, data in place."""
    assert card.ask(SELECT_CARD) == "9000"
    template = card.ask("01A4080002D00300")
    assert template.startswith("6F25")
    assert "8002000C" in template
    assert template.endswith("9000")
    assert card.ask("01B000000C").startswith("5A0A8025000001")
    assert card.ask("01A40800022F0000").startswith("6F")
    directory = card.ask("01B0000065")
    assert directory.startswith("612F4F0DE828BD080F8025000001FF0010")
    assert len(directory) == 2 * 101 + 4
    assert card.ask("01A40800020001") == "9000"
    assert card.ask("01A408000400015031 00").startswith("6F")
    assert card.ask("01B0000000").startswith("A806")


def test_p2_chooses_the_template(card: Wire) -> None:
    """00: FCI 6F; 04: FCP 62; 0C: nothing."""
    for p2, start in (("00", "6F"), ("04", "62"), ("0C", "9000")):
        assert card.ask(f"01A408{p2}022F0000").startswith(start)


def test_both_channels_reach_it(card: Wire) -> None:
    """CLA 00 and 01 do the same; another one is 6E00; chaining is for PSO."""
    assert card.ask("00A4080C02D003") == "9000"
    assert card.ask("01B000000C") == card.ask("00B000000C")
    assert card.ask("80B000000C") == "6E00"
    assert card.ask("11B000000C") == "6884"


def test_an_empty_verify_never_says_9000(card: Wire) -> None:
    """63Cx before and after the PIN, 6983 once blocked; the PUK too."""
    assert card.ask(PIN_STATE) == "63C3"
    assert card.ask(VERIFY) == "9000"
    assert card.ask(PIN_STATE) == "63C3"
    assert [card.ask(WRONG) for _ in range(3)] == ["63C2", "63C1", "6983"]
    assert card.ask(PIN_STATE) == "6983"
    assert card.ask(VERIFY) == "6983"
    assert card.ask("01200002") == "63C3"


@pytest.mark.parametrize("kind", ["cps4", "cps4-t0"])
def test_the_puk_unblocks(wire: MakeWire, kind: str) -> None:
    """PUK, 2C 03 81 without data, then 24 01 with the new PIN: only that order works."""
    card = wire(kind)
    case_1 = "" if kind == "cps4" else "00"
    for _ in range(3):
        card.ask(WRONG)
    assert card.ask("012C0381" + case_1) == "6982"
    assert card.ask("0120000208" + "3132333435363738") == "9000"
    assert card.ask("012401010434333231") == "6982"
    assert card.ask("012C0381" + case_1) == "9000"
    assert card.ask("012401010434333231") == "9000"
    assert card.ask("012401010431323334") == "6982"
    assert card.ask("012000010434333231") == "9000"


def test_the_pin_is_changed_after_it_was_verified(card: Wire) -> None:
    """24 01 with the new one; 24 00 and 2C 02 are the CPS3's."""
    assert card.ask("012401010434333231") == "6982"
    card.ask(VERIFY)
    assert card.ask("012401010434333231") == "9000"
    assert card.ask(VERIFY) == "63C2"
    assert card.ask("0124000108" + "34333231" * 2) == "6A86"
    assert card.ask("012C02010434333231") == "6A86"


@pytest.mark.parametrize(
    ("algorithm", "name", "pss"),
    [("0A", "sha1", False), ("28", "sha256", False), ("15", "sha1", True), ("2C", "sha256", True)],
)
def test_the_signature_key_signs_hashes(
    card: Wire, igc: FakeIgcSante, algorithm: str, name: str, pss: bool
) -> None:
    """81B6 and 9E9A: PKCS #1 and PSS, SHA-1 and SHA-256; 256 bytes in one answer."""
    card.ask(VERIFY)
    digest = hashlib.new(name, MESSAGE, usedforsecurity=False).digest()
    hash_algorithm = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}[name]  # noqa: S303
    assert card.ask(f"012281B6049102{algorithm}90") == "9000"
    answer = bytes.fromhex(card.ask("012A9E9A", digest, "00"))
    assert (len(answer), answer[-2:]) == (258, b"\x90\x00")
    key = public_key(igc.credentials("doctor").signature_certificate_der)
    how = (
        padding.PSS(padding.MGF1(hash_algorithm), salt_length=len(digest))
        if pss
        else padding.PKCS1v15()
    )
    key.verify(answer[:-2], MESSAGE, how, hash_algorithm)


def test_the_authentication_key_signs_pss_only(card: Wire, igc: FakeIgcSante) -> None:
    """2C with key A0 verifies; PKCS #1 of a hash was never seen, and is refused."""
    card.ask(VERIFY)
    digest = hashlib.sha256(MESSAGE).digest()
    assert card.ask("012281B60491022CA0") == "9000"
    answer = bytes.fromhex(card.ask("012A9E9A", digest, "00"))
    key = public_key(igc.credentials("doctor").authentication_certificate_der)
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt_length=32)
    key.verify(answer[:-2], MESSAGE, pss, hashes.SHA256())
    card.ask("012281B6049102 28A0")
    assert card.ask("012A9E9A", digest, "00") == "6985"


@pytest.mark.parametrize("kind", ["cps4", "cps4-t0", "cps4-rc"])
def test_raw_rsa_in_a_chain(wire: MakeWire, igc: FakeIgcSante, kind: str) -> None:
    """41B8 and 8086: the host pads, the card returns the whole block, signing and decrypting."""
    card = wire(kind)
    card.ask(VERIFY)
    key = public_key(igc.credentials("doctor").authentication_certificate_der)
    block = b"\x00\x01" + b"\xff" * 202 + b"\x00" + SHA256_INFO + hashlib.sha256(MESSAGE).digest()
    key.verify(raw_rsa(card, kind, block), MESSAGE, padding.PKCS1v15(), hashes.SHA256())
    decrypted = raw_rsa(card, kind, key.encrypt(b"a session key", padding.PKCS1v15()))
    assert decrypted.startswith(b"\x00\x02")
    assert decrypted.endswith(b"\x00a session key")


def raw_rsa(card: Wire, kind: str, block: bytes) -> bytes:
    """Apply the authentication key to a block of 256 bytes."""
    assert card.ask("012241B803830120") == "9000"
    assert card.ask("112A8086", block[:255]) == "9000"
    if kind == "cps4-t0":
        assert card.ask("012A8086", block[255:]) == "6100"
        answer = card.ask("01C0000000")
    else:
        answer = card.ask("012A8086", block[255:], "00")
    assert answer.endswith("9000")
    return bytes.fromhex(answer)[:-2]


@pytest.mark.parametrize(
    ("command_hex", "answer"),
    [
        ("012281B6049102 2C99", "6A88"),
        ("012281B6049102 42A0", "6A80"),
        ("012281B603910 22C".replace(" ", ""), "6A80"),
        ("012241B803830133", "6A88"),
        ("012241B803840120", "6A80"),
        ("012241B60691022CA0", "6700"),
        ("012241B60491022CA0", "6A86"),
        ("012A9E9A0142", "6985"),
        ("012A808601 4200", "6985"),
        ("012A90A00142", "6A86"),
        ("01880000014200", "6D00"),
        ("01CB3FFF0A4D087006BF810102A08000", "6D00"),
        ("0122", "6700"),
        ("012000010531323334", "6700"),
        ("01200001053132333431", "6700"),
        ("0120000700", "6A88"),
    ],
)
def test_what_it_refuses(card: Wire, command_hex: str, answer: str) -> None:
    """Unknown keys, algorithms, templates and lengths; commands that only the CPS3 has."""
    assert card.ask(command_hex) == answer


def test_no_key_without_the_pin(card: Wire) -> None:
    """6982 before VERIFY, after a reset, and after another applet was selected."""
    for forget in (
        lambda: None,
        lambda: card.card.reset(),
        lambda: card.ask("01A4040C07A0000001510000"),
    ):
        forget()
        card.ask(SELECT_CARD)
        card.ask("012281B6049102 2CA0")
        assert card.ask("012A9E9A", bytes(32), "00") == "6982"
        card.ask("012241B803830120")
        card.ask("112A8086", bytes(255))
        assert card.ask("012A8086", b"\x02", "00") == "6982"
        assert card.ask(VERIFY) == "9000"


def test_the_recovery_path(card: Wire) -> None:
    """Card manager, CPS2ter application, then the applet again: its files are back."""
    assert card.ask("01A4040C07A0000001510000") == "9000"
    assert card.ask("01A4080002D00300") == "6A82"
    assert card.ask("00A4040C088025000001FF0002") == "9000"
    assert card.ask(SELECT_CARD) == "9000"
    assert card.ask("01A4080002D00300").startswith("6F")


def test_selecting_the_applet_again_keeps_the_pin(card: Wire) -> None:
    """Every process that connects selects it; the others go on."""
    card.ask(VERIFY)
    card.ask(SELECT_CARD)
    card.ask("012281B6049102 2CA0")
    assert card.ask("012A9E9A", bytes(32), "00").endswith("9000")


def test_the_old_card_is_in_the_directory(card: Wire) -> None:
    """DODF lists CPS2TER_* and CPS_SIT_FACT; the protected ones need the PIN."""
    assert card.ask("01A4080004 00017006 00").startswith("6F")
    content = b"".join(bytes.fromhex(card.ask(f"01B00{i}0000"))[:-2] for i in range(3))
    for label in (b"CPS2TER_ATR", b"CPS2TER_NAME", b"CPS2TER_ACTIVITY_01_PS", b"CPS_SIT_FACT"):
        assert label in content
    card.ask("01A4080C040001D108")
    assert card.ask("01B0000000") == "6982"
    card.ask(VERIFY)
    assert card.ask("01B0000000").endswith("9000")


def test_it_is_another_chip_than_the_cps3(wire: MakeWire) -> None:
    """Middleware caches by serial number: the same persona's two cards must differ."""
    serials = {wire(kind).card.serial for kind in ("cps3", "cps4")}
    assert len(serials) == 2

"""What a virtual card costs: to make, and to log in with."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from benchmarks.timing import Figure, compare
from cps_auth.card.native.source import NativeCards
from cps_auth.login.challenge import issue_challenge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders


def making_cards(igc: FakeIgcSante, _folder: Path) -> Figure:
    """A new virtual card of either generation once its keys exist, beside making one key."""
    persona, credentials = PERSONAS["doctor"], igc.credentials("doctor")

    def make_both() -> None:
        for kind in ("cps3", "cps4"):
            VirtualCard(persona, credentials, kind)

    return compare(
        "making virtual cards",
        ("a CPS3 and a CPS4, keys at hand", make_both),
        ("one RSA-2048 key, as is not made per card", lambda: generate_private_key(65537, 2048)),
        rounds=30,
    )


def native_login(igc: FakeIgcSante, _folder: Path) -> Figure:
    """Opening the card, its certificate, PIN and signature, without a verdict on them."""
    credentials = igc.credentials("doctor")
    readers = VirtualReaders("Reader")
    readers.insert("Reader", VirtualCard(PERSONAS["doctor"], credentials))
    cards = NativeCards(readers.service)
    challenge = issue_challenge("bench", at=datetime.now(UTC))

    def log_in_once() -> None:
        with cards.open_card() as card:
            card.read_authentication_certificate()
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)

    key = credentials.authentication_key
    return compare(
        "a native login on the in-process CPS3, the card's part alone",
        ("open, certificate, PIN, signature", log_in_once),
        ("the RSA operation in it", lambda: key.sign(b"x", padding.PKCS1v15(), hashes.SHA256())),
        rounds=100,
    )

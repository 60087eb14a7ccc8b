"""What a physical card must do, without risk to it."""

from __future__ import annotations

from datetime import UTC, datetime

from cps_auth.card.certificates import is_signature_of
from cps_auth.card.port import Card
from cps_auth.login.challenge import issue_challenge


def test_identity(card: Card) -> None:
    """It says who it is, and shows a certificate."""
    assert card.read_label()
    assert card.read_authentication_certificate().startswith(b"\x30\x82")


def test_counters(card: Card) -> None:
    """Reading the counters costs nothing, however often."""
    assert {card.pin_attempts_left() for _ in range(5)} == {3}
    card.puk_attempts_left()


def test_proof(card: Card, pin: bytearray) -> None:
    """The right PIN proves the holder, twice, and every attempt is there afterwards."""
    certificate_der = card.read_authentication_certificate()
    for _ in range(2):
        challenge = issue_challenge("cps-auth:device-test", at=datetime.now(UTC))
        signature = card.verify_pin_and_sign(pin, challenge)
        assert is_signature_of(certificate_der, challenge.message(), signature)
        assert card.pin_attempts_left() == 3

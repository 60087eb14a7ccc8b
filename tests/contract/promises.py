"""The promises of `cps_auth.card.port`, as a class that each backend's test module subclasses.

A subclass gives a fixture `bench`; see `tests.contract.bench.Bench`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from cps_auth.card.port import Card
from cps_auth.errors import (
    CardRemoved,
    CpsAuthError,
    LastAttempt,
    NoCard,
    PinBlocked,
    PinMalformed,
    WrongPin,
)
from cps_auth.login.challenge import issue_challenge
from cps_auth.model import CardSignature, Challenge, SignatureAlgorithm
from hardware_mocks.igc import FakeIgcSante
from tests.contract.bench import Bench, TappedCard

MakeCard = Callable[[str], TappedCard]


def right_pin() -> bytearray:
    """Return the PIN of every persona."""
    return bytearray(b"1234")


def check_signature(card: TappedCard, challenge: Challenge, signature: CardSignature) -> None:
    """Verify with the key of the card's authentication certificate."""
    certificate = x509.load_der_x509_certificate(card.credentials.authentication_certificate_der)
    key = certificate.public_key()
    assert isinstance(key, RSAPublicKey)
    assert signature.algorithm is SignatureAlgorithm.RS256
    key.verify(signature.value, challenge.message(), PKCS1v15(), SHA256())


class CardPromises:
    """Everything that a card must hold, whoever speaks to it."""

    @pytest.fixture
    def challenge(self) -> Challenge:
        """A fresh challenge."""
        return issue_challenge("https://cabinet.example", at=datetime.now(UTC))

    @pytest.fixture
    def make_card(self, igc: FakeIgcSante) -> MakeCard:
        """A function that personalises a card."""
        return lambda persona: TappedCard(igc, persona)

    def test_no_card(self, bench: Bench) -> None:
        """An empty reader is said to be empty."""
        with pytest.raises(NoCard):
            bench.cards.open_card()

    def test_identity_and_certificate(self, bench: Bench, make_card: MakeCard) -> None:
        """The serial and the authentication certificate are those of the inserted card."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards.open_card() as card:
            assert card.description.serial.endswith(inserted.persona.chip_serial)
            assert (
                card.read_authentication_certificate()
                == inserted.credentials.authentication_certificate_der
            )
        assert inserted.pins_received == 0

    def test_proof(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """The right PIN gives a signature of the challenge, and leaves nothing verified."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards.open_card() as card:
            check_signature(inserted, challenge, card.prove(right_pin(), challenge))
            assert not inserted.has_verified_pin
            assert card.pin_attempts_left() == 3

    def test_proof_again(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """A second proof on the same open card takes the PIN again, and holds."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards.open_card() as card:
            card.prove(right_pin(), challenge)
            check_signature(inserted, challenge, card.prove(right_pin(), challenge))
        assert inserted.pins_received == 2

    def test_wrong_pin(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """A wrong PIN costs one attempt, once, and says how many are left; the right one heals."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards.open_card() as card:
            with pytest.raises(WrongPin) as refused:
                card.prove(bytearray(b"9999"), challenge)
            assert refused.value.attempts_left == 2 == card.pin_attempts_left()
            assert inserted.pins_received == 1
            check_signature(inserted, challenge, card.prove(right_pin(), challenge))
            assert card.pin_attempts_left() == 3

    def test_last_attempt(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """The last attempt is not spent unless the caller says so."""
        inserted = make_card("last-attempt")
        bench.insert(inserted)
        with bench.cards.open_card() as card:
            assert card.pin_attempts_left() == 1
            with pytest.raises(LastAttempt):
                card.prove(right_pin(), challenge)
            assert inserted.pins_received == 0
            signature = card.prove(right_pin(), challenge, last_attempt_allowed=True)
            check_signature(inserted, challenge, signature)

    def test_last_attempt_lost(
        self, bench: Bench, make_card: MakeCard, challenge: Challenge
    ) -> None:
        """The last attempt can be lost; then the card is blocked, whatever the caller allows."""
        inserted = make_card("last-attempt")
        bench.insert(inserted)
        with bench.cards.open_card() as card:
            with pytest.raises((WrongPin, PinBlocked)):  # a CPS3 says at once that it is blocked
                card.prove(bytearray(b"9999"), challenge, last_attempt_allowed=True)
            assert card.pin_attempts_left() == 0
            with pytest.raises(PinBlocked):
                card.prove(right_pin(), challenge, last_attempt_allowed=True)
        assert inserted.pins_received == 1

    def test_blocked(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """A blocked card is shown no PIN, and its certificate can still be read."""
        inserted = make_card("pin-blocked")
        bench.insert(inserted)
        with bench.cards.open_card() as card:
            assert card.pin_attempts_left() == 0
            with pytest.raises(PinBlocked):
                card.prove(right_pin(), challenge)
            assert card.read_authentication_certificate()
        assert inserted.pins_received == 0

    @pytest.mark.parametrize(
        "typed", ["", "123", "12345", "abcd", "12 4", "１２", "\x00\x00\x00\x00", "1234\n"]
    )
    def test_malformed_pin(
        self, bench: Bench, make_card: MakeCard, challenge: Challenge, typed: str
    ) -> None:
        """What is not four digits never reaches the card."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards.open_card() as card, pytest.raises(PinMalformed):
            card.prove(bytearray(typed.encode()), challenge)
        assert inserted.pins_received == 0
        assert inserted.pin_attempts_left == 3

    def test_pulled(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """Pulled before any command of a login: card removed, no second PIN, and it works again."""
        rehearsal = make_card("doctor")
        bench.insert(rehearsal)
        self._log_in(bench, challenge)
        bench.remove()
        for number in bench.pull_points(rehearsal.commands):
            inserted = make_card("doctor")
            bench.insert(inserted)
            bench.pull_before(inserted, number)
            with pytest.raises(CardRemoved):
                self._log_in(bench, challenge)
            assert inserted.pins_received <= 1
            inserted.before_command = None
            bench.remove()
            bench.insert(inserted)
            check_signature(inserted, challenge, self._log_in(bench, challenge))
            bench.remove()

    def test_swapped(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """An open card never turns into the next card that is inserted."""
        bench.insert(make_card("doctor"))
        with bench.cards.open_card() as card:
            bench.remove()
            following = make_card("nurse")
            bench.insert(following)
            uses: tuple[Callable[[Card], object], ...] = (
                lambda one: one.read_authentication_certificate(),
                lambda one: one.pin_attempts_left(),
                lambda one: one.prove(right_pin(), challenge),
            )
            for use in uses:
                with pytest.raises(CardRemoved):
                    use(card)
            assert following.pins_received == 0
        with bench.cards.open_card() as card:
            assert card.description.serial.endswith(following.persona.chip_serial)

    def test_closed(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """A closed card may be closed again, and proves nothing any more."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        card = bench.cards.open_card()
        card.close()
        card.close()
        with pytest.raises(CpsAuthError):
            card.prove(right_pin(), challenge)
        assert inserted.pins_received == 0

    def _log_in(self, bench: Bench, challenge: Challenge) -> CardSignature:
        with bench.cards.open_card() as card:
            card.read_authentication_certificate()
            return card.prove(right_pin(), challenge)

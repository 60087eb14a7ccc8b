"""The promises of `cps_auth.card.port`, as a class that each backend's test module subclasses.

A subclass gives a fixture `bench`; see `tests.contract.bench.Bench`.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from cps_auth.card.certificates import is_signature_of
from cps_auth.card.port import Card, CardSource
from cps_auth.errors import (
    CpsAuthError,
    LastAttempt,
    LastPukAttempt,
    NoCard,
    PinBlocked,
    PinMalformed,
    PukBlocked,
    PukMalformed,
    WrongPin,
    WrongPuk,
)
from cps_auth.login.challenge import issue_challenge
from cps_auth.model import CardSignature, Challenge
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.contract.bench import Bench, TappedCard

MakeCard = Callable[[str], TappedCard]

NEW_PIN = bytearray(b"4321")
PUK = bytearray(b"12345678")


def right_pin() -> bytearray:
    """Return the PIN of every persona."""
    return bytearray(b"1234")


def check_signature(card: TappedCard, challenge: Challenge, signature: CardSignature) -> None:
    """Verify with the key of the card's authentication certificate."""
    certificate_der = card.credentials.authentication_certificate_der
    assert is_signature_of(certificate_der, challenge.message(), signature)


def log_in(cards: CardSource, challenge: Challenge, pin: bytes = b"1234") -> CardSignature:
    """Do what a login does with a card."""
    with cards.open_card() as card:
        card.read_authentication_certificate()
        return card.verify_pin_and_sign(bytearray(pin), challenge)


class CardFixtures:
    """What every class of promises needs."""

    @pytest.fixture
    def challenge(self) -> Challenge:
        """A fresh challenge."""
        return issue_challenge("https://cabinet.example", at=datetime.now(UTC))

    @pytest.fixture
    def make_card(self, igc: FakeIgcSante, bench: Bench) -> MakeCard:
        """A function that personalises a card of the bench's kind."""
        return lambda persona: TappedCard(igc, persona, bench.kind)


class CardPromises(CardFixtures):
    """Everything that a card must hold, whoever speaks to it."""

    tells_counters = True  # PKCS#11 tells only the last attempt apart

    def test_no_card(self, bench: Bench) -> None:
        """An empty reader is said to be empty."""
        with pytest.raises(NoCard):
            bench.cards().open_card()

    def test_identity_and_certificate(self, bench: Bench, make_card: MakeCard) -> None:
        """The serial and the authentication certificate are those of the inserted card."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            assert inserted.serial in card.description.serial
            assert card.read_label()
            assert (
                card.read_authentication_certificate()
                == inserted.credentials.authentication_certificate_der
            )
        assert inserted.codes_received == 0

    def test_public_objects(self, bench: Bench, make_card: MakeCard) -> None:
        """What the card shows without a PIN is shown as it is, and nothing that it guards."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            found = {one.label: one.unverified_content for one in card.read_public_objects()}
            assert card.read_authentication_certificate()
        assert found.keys() >= {"CPS_ID_CARD", "CPS_NAME_PS", "CPS_LANG_PS", "CPS_INFO_PS"}
        assert not [label for label in found if "ACTIVITY" in label or "SIT_FACT" in label]
        assert found["CPS_LANG_PS"].startswith(b"\xe3")
        assert inserted.codes_received == 0

    def test_proof(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """The right PIN gives a signature of the challenge, and leaves nothing verified."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            check_signature(inserted, challenge, card.verify_pin_and_sign(right_pin(), challenge))
            assert not inserted.is_pin_verified
            assert card.pin_attempts_left() == (3 if self.tells_counters else None)

    def test_proof_again(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """A second proof on the same open card takes the PIN again, and holds."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            card.verify_pin_and_sign(right_pin(), challenge)
            check_signature(inserted, challenge, card.verify_pin_and_sign(right_pin(), challenge))
        assert inserted.codes_received == 2

    def test_wrong_pin(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """A wrong PIN costs one attempt, once, and says how many are left; the right one heals."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            with pytest.raises(WrongPin) as refused:
                card.verify_pin_and_sign(bytearray(b"9999"), challenge)
            if self.tells_counters:
                assert refused.value.attempts_left == 2 == card.pin_attempts_left()
            assert inserted.codes_received == 1
            assert inserted.pin_attempts_left == 2
            check_signature(inserted, challenge, card.verify_pin_and_sign(right_pin(), challenge))
        assert inserted.pin_attempts_left == 3

    def test_last_attempt(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """The last attempt is not spent unless the caller says so."""
        inserted = make_card("last-attempt")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            assert card.pin_attempts_left() == 1
            with pytest.raises(LastAttempt):
                card.verify_pin_and_sign(right_pin(), challenge)
            with pytest.raises(LastAttempt):
                card.change_pin(right_pin(), NEW_PIN)
            assert inserted.codes_received == 0
            signature = card.verify_pin_and_sign(right_pin(), challenge, last_attempt_allowed=True)
            check_signature(inserted, challenge, signature)

    def test_last_attempt_lost(
        self, bench: Bench, make_card: MakeCard, challenge: Challenge
    ) -> None:
        """The last attempt can be lost; then the card is blocked, whatever the caller allows."""
        inserted = make_card("last-attempt")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            with pytest.raises((WrongPin, PinBlocked)):  # a CPS says at once that it is blocked
                card.verify_pin_and_sign(bytearray(b"9999"), challenge, last_attempt_allowed=True)
            assert card.pin_attempts_left() == 0
            with pytest.raises(PinBlocked):
                card.verify_pin_and_sign(right_pin(), challenge, last_attempt_allowed=True)
        assert inserted.codes_received == 1

    def test_blocked(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """A blocked card is shown no PIN, and its certificate can still be read."""
        inserted = make_card("pin-blocked")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            assert card.pin_attempts_left() == 0
            with pytest.raises(PinBlocked):
                card.verify_pin_and_sign(right_pin(), challenge)
            with pytest.raises(PinBlocked):
                card.change_pin(right_pin(), NEW_PIN)
            assert card.read_authentication_certificate()
        assert inserted.codes_received == 0

    @pytest.mark.parametrize(
        "typed", ["", "123", "12345", "abcd", "12 4", "１２", "\x00\x00\x00\x00", "1234\n"]
    )
    def test_malformed_codes(
        self, bench: Bench, make_card: MakeCard, challenge: Challenge, typed: str
    ) -> None:
        """What is not four digits, or eight, never reaches the card, as an old PIN or a new one."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        bad = bytearray(typed.encode())
        with bench.cards().open_card() as card:
            uses: tuple[Callable[[], object], ...] = (
                lambda: card.verify_pin_and_sign(bad, challenge),
                lambda: card.change_pin(bad, NEW_PIN),
                lambda: card.change_pin(right_pin(), bad),
                lambda: card.unblock(PUK, bad),
            )
            for use in uses:
                with pytest.raises(PinMalformed):
                    use()
            with pytest.raises(PukMalformed):
                card.unblock(bad, NEW_PIN)
        assert inserted.codes_received == 0
        assert (inserted.pin_attempts_left, inserted.puk_attempts_left) == (3, 3)

    def test_change_pin(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """The old PIN changes into the new one, which alone holds from then on."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            with pytest.raises(WrongPin):
                card.change_pin(bytearray(b"0000"), NEW_PIN)
            assert inserted.pin == right_pin()
            assert inserted.pin_attempts_left == 2
            card.change_pin(right_pin(), NEW_PIN)
            assert not inserted.is_pin_verified
            with pytest.raises(WrongPin):
                card.verify_pin_and_sign(right_pin(), challenge)
            check_signature(inserted, challenge, card.verify_pin_and_sign(NEW_PIN, challenge))

    def test_unblock(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """The PUK gives a blocked card a new PIN; a wrong PUK costs one of its own attempts."""
        inserted = make_card("pin-blocked")
        bench.insert(inserted)
        allow = {"last_attempt_allowed": not self.tells_counters}
        with bench.cards().open_card() as card:
            with pytest.raises(WrongPuk):
                card.unblock(bytearray(b"00000000"), NEW_PIN, **allow)
            assert inserted.puk_attempts_left == 2
            card.unblock(PUK, NEW_PIN, **allow)
            assert inserted.puk_attempts_left == 3
            assert not inserted.is_pin_verified
            check_signature(inserted, challenge, card.verify_pin_and_sign(NEW_PIN, challenge))

    def test_last_puk_attempt(self, bench: Bench, make_card: MakeCard) -> None:
        """The PUK's last attempt is not spent unless the caller says so; without any, none is."""
        inserted = make_card("pin-blocked")
        bench.insert(inserted)
        inserted.contents.pins[2].attempts_left = 1
        with bench.cards().open_card() as card:
            with pytest.raises(LastPukAttempt):
                card.unblock(PUK, NEW_PIN)
            inserted.contents.pins[2].attempts_left = 0
            if self.tells_counters:
                assert card.puk_attempts_left() == 0
                with pytest.raises(PukBlocked):
                    card.unblock(PUK, NEW_PIN, last_attempt_allowed=True)
        assert inserted.codes_received == 0

    def test_swapped(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """An open card never turns into the next card that is inserted."""
        bench.insert(make_card("doctor"))
        cards = bench.cards()
        with cards.open_card() as card:
            bench.remove()
            following = make_card("nurse")
            bench.insert(following)
            uses: tuple[Callable[[Card], object], ...] = (
                lambda one: one.read_authentication_certificate(),
                lambda one: one.pin_attempts_left(),
                lambda one: one.verify_pin_and_sign(right_pin(), challenge),
                lambda one: one.change_pin(right_pin(), NEW_PIN),
            )
            for use in uses:
                with pytest.raises(CpsAuthError):
                    use(card)
            assert following.codes_received == 0
        with cards.open_card() as card:
            assert following.serial in card.description.serial

    def test_closed(self, bench: Bench, make_card: MakeCard, challenge: Challenge) -> None:
        """A closed card may be closed again, and proves nothing any more."""
        inserted = make_card("doctor")
        bench.insert(inserted)
        card = bench.cards().open_card()
        card.close()
        card.close()
        if self.tells_counters:  # PKCS#11 starts another process
            with pytest.raises(CpsAuthError):
                card.verify_pin_and_sign(right_pin(), challenge)
            assert inserted.codes_received == 0

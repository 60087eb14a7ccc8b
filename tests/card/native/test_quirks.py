"""The card's own freedom: cards within their rights that no published trace shows.

Each test is named after its kind; the virtual cards have each kind as an option.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from cps_auth.card.certificates import is_signature_of
from cps_auth.card.native.source import NativeCards
from cps_auth.errors import (
    LastAttempt,
    PinBlocked,
    SeveralCertificates,
    WrongPin,
)
from cps_auth.login.challenge import issue_challenge
from cps_auth.model import CardSignature, SignatureAlgorithm
from hardware_mocks.card.content.quirks import Quirks
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

READER = "Reader 00 00"
NOW = datetime.now(UTC)
CHALLENGE = issue_challenge("https://cabinet.example", at=NOW)
CONTACT = ["cps3", "cps4", "cps4-t0"]


class Bench:
    """One quirky card in a reader, and a source that reads it."""

    def __init__(
        self, igc: FakeIgcSante, kind: str, quirks: Quirks, persona: str = "doctor"
    ) -> None:
        self.readers = VirtualReaders(READER)
        self.credentials = igc.credentials(persona)
        self.card = VirtualCard(PERSONAS[persona], self.credentials, kind, quirks)
        self.readers.insert(READER, self.card)
        self.cards = NativeCards(self.readers.service)

    def log_in(self, pin: bytes = b"1234", **more: bool) -> CardSignature:
        """Open the card, read its certificate, sign."""
        with self.cards.open_card() as card:
            der = card.read_authentication_certificate()
            signature = card.verify_pin_and_sign(bytearray(pin), CHALLENGE, **more)
        assert is_signature_of(der, CHALLENGE.message(), signature)
        assert der == self.credentials.authentication_certificate_der
        return signature

    def sent(self, ins: int, *, with_data: bool) -> int:
        """How many commands with this instruction, with or without data, reached the card."""
        return sum(
            command[1] == ins and (len(command) > 5) == with_data
            for command in self.readers.commands
        )


MakeBench = Callable[..., Bench]


@pytest.fixture
def bench(igc: FakeIgcSante) -> MakeBench:
    """Makes a bench of a kind of card with quirks."""
    return lambda kind, persona="doctor", **quirks: Bench(igc, kind, Quirks(**quirks), persona)


@pytest.mark.parametrize("kind", CONTACT)
@pytest.mark.parametrize("most", [16, 80, 128, 231, 255])
def test_short_reads(bench: MakeBench, kind: str, most: int) -> None:
    """A READ BINARY that answers less than asked, with 9000, is no end of the file."""
    one = bench(kind, most_read=most)
    one.log_in()
    with one.cards.open_card() as card:
        assert card.read_label()
        objects = {found.label: found.unverified_content for found in card.read_public_objects()}
    whole = bench(kind)
    with whole.cards.open_card() as card:
        expected = {found.label: found.unverified_content for found in card.read_public_objects()}
    assert objects == expected


@pytest.mark.parametrize("kind", CONTACT)
def test_serial_number_that_does_not_check(bench: MakeBench, kind: str) -> None:
    """Nobody is refused for it; the card says so for `doctor` to tell."""
    one = bench(kind, serial_does_not_check=True)
    one.log_in()
    with one.cards.open_card() as card:
        assert not card.description.is_serial_sound
    with bench(kind).cards.open_card() as card:
        assert card.description.is_serial_sound


@pytest.mark.parametrize("kind", CONTACT)
@pytest.mark.parametrize(
    "quirks",
    [
        {"signature_key_signs": True},
        {"authentication_usage": (2, 9)},
        {"authentication_usage": (3,)},
    ],
    ids=["both-sign", "with-non-repudiation", "sign-recover"],
)
def test_key_usages_that_single_none_out(bench: MakeBench, kind: str, quirks: dict) -> None:
    """Where the usage bits do not tell the authentication key, the certificates do."""
    bench(kind, **quirks).log_in()


@pytest.mark.parametrize("kind", CONTACT)
def test_two_certificates_of_one_key(bench: MakeBench, igc: FakeIgcSante, kind: str) -> None:
    """After a renewal the one valid now is taken, whichever the directory lists last."""
    old = igc.credentials("expired").authentication_certificate_der
    one = bench(kind, other_certificate_der=old)
    one.log_in()
    one.log_in()


@pytest.mark.parametrize("kind", CONTACT)
def test_two_certificates_valid_now(bench: MakeBench, igc: FakeIgcSante, kind: str) -> None:
    """Nothing is guessed, and that is what is said."""
    other = igc.credentials("nurse").authentication_certificate_der
    with pytest.raises(SeveralCertificates):
        bench(kind, other_certificate_der=other).log_in()


def test_a_choice_is_made_again_when_it_has_expired(bench: MakeBench, igc: FakeIgcSante) -> None:
    """A known card whose certificate ended meanwhile is read anew."""
    now = [NOW]
    one = bench(
        "cps3", other_certificate_der=igc.credentials("expired").authentication_certificate_der
    )
    one.cards = NativeCards(one.readers.service, clock=lambda: now[0])
    one.log_in()
    before = one.readers.apdu_count
    one.log_in()
    known = one.readers.apdu_count - before
    now[0] += timedelta(days=365 * 30)
    before = one.readers.apdu_count
    one.log_in()
    assert one.readers.apdu_count - before > known + 5


@pytest.mark.parametrize(("kind", "empty_verifies"), [("cps3", 0), ("cps4", 1), ("cps4-t0", 1)])
def test_counter_by_its_object(bench: MakeBench, kind: str, empty_verifies: int) -> None:
    """A card that has GET DATA is never shown an empty PIN."""
    one = bench(kind)
    one.log_in()
    assert one.sent(0x20, with_data=False) == empty_verifies
    assert one.sent(0x20, with_data=True) == 1


@pytest.mark.parametrize("kind", CONTACT)
def test_counter_by_empty_verify(bench: MakeBench, kind: str) -> None:
    """A card that has not is asked by one, which costs no attempt."""
    one = bench(kind, has_no_pin_object=True)
    with one.cards.open_card() as card:
        assert card.pin_attempts_left() == 3
    one.log_in()
    assert one.card.pin_attempts_left == 3


@pytest.mark.parametrize("kind", CONTACT)
def test_counter_hidden_by_another_program(bench: MakeBench, kind: str) -> None:
    """A neighbour's verified PIN hides it: a look leaves it alone, a login goes on all the same."""
    one = bench(kind, has_no_pin_object=True, says_verified=True)
    neighbour = one.readers.service().connect(READER)
    verify = "0020000104" if kind == "cps3" else "0120000104"
    if kind != "cps3":
        neighbour.transmit(bytes.fromhex("01A4040C088025000001FF0100"))
    assert neighbour.transmit(bytes.fromhex(verify) + b"1234") == b"\x90\x00"
    with one.cards.open_card() as card:
        assert card.pin_attempts_left() is None
    assert one.card.is_pin_verified
    one.log_in()


@pytest.mark.parametrize("kind", ["cps4", "cps4-t0"])
@pytest.mark.parametrize("forgets", [False, True])
def test_pss_refused(bench: MakeBench, kind: str, forgets: bool) -> None:
    """It is not asked for PSS at all, so that it cannot forget the PIN over it, in any program."""
    for _ in range(2):
        one = bench(kind, refuses_pss=True, forgets_pin_with_it=forgets)
        assert one.log_in().algorithm is SignatureAlgorithm.RS256
        assert one.sent(0x2A, with_data=True) == 2, "one chained signature"
        assert one.sent(0x20, with_data=True) == 1


@pytest.mark.parametrize("kind", CONTACT)
def test_63c0_is_blocked(bench: MakeBench, kind: str) -> None:
    """However a card writes it, and whenever: at the counter or at the PIN itself."""
    one = bench(kind, says_63c0_for_blocked=True, has_no_pin_object=True)
    for _ in range(2):
        with pytest.raises(WrongPin):
            one.log_in(b"9999")
    with pytest.raises(LastAttempt):
        one.log_in(b"9999")
    with pytest.raises(PinBlocked):
        one.log_in(b"9999", last_attempt_allowed=True)
    with pytest.raises(PinBlocked):
        one.log_in()
    with one.cards.open_card() as card:
        assert card.pin_attempts_left() == 0


@pytest.mark.parametrize("kind", CONTACT)
def test_what_only_looks_resets_nothing(bench: MakeBench, kind: str) -> None:
    """A neighbour's verified PIN outlives every look, and a login refused before the PIN."""
    one = bench(kind)
    neighbour = one.readers.service().connect(READER)
    verify = "0020000104" if kind == "cps3" else "0120000104"
    assert neighbour.transmit(bytes.fromhex(verify) + b"1234") == b"\x90\x00"
    with one.cards.open_card() as card:
        card.read_label()
        card.read_public_objects()
        card.read_authentication_certificate()
        card.pin_attempts_left()
        card.puk_attempts_left()
        assert not card.has_pin_pad
    assert one.card.is_pin_verified
    one.card.contents.pins[1].attempts_left = 1
    with one.cards.open_card() as card, pytest.raises(LastAttempt):
        card.verify_pin_and_sign(bytearray(b"9999"), CHALLENGE)
    assert one.card.is_pin_verified
    one.card.contents.pins[1].attempts_left = 3
    one.log_in()
    assert not one.card.is_pin_verified


@pytest.mark.parametrize("kind", CONTACT)
def test_a_reset_between_two_commands(bench: MakeBench, kind: str) -> None:
    """Another program's warm reset is survived wherever no PIN of ours was at stake."""
    one = bench(kind)
    one.log_in()
    for number in range(1, one.readers.apdu_count + 1):
        one.cards = NativeCards(one.readers.service)
        one.readers.before_transmit = _ResetOnce(one, one.readers.apdu_count + number)
        one.log_in()
    assert one.card.pin_attempts_left == 3


class _ResetOnce:
    """Another program that resets the card before one command, unless a PIN was sent already."""

    def __init__(self, bench: Bench, at: int) -> None:
        self._bench, self._at = bench, at
        self._is_over = False

    def __call__(self, count: int, command: bytes) -> None:
        """See `VirtualReaders.before_transmit`."""
        self._is_over = self._is_over or (command[1] == 0x20 and len(command) > 5)
        if count == self._at and not self._is_over:
            self._is_over = True
            self._bench.card.reset()
            insertion = self._bench.readers._bench.readers[READER].insertion
            assert insertion is not None
            insertion.resets += 1

"""A reader with a keypad: the PIN never enters the computer."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime

import pytest

from cps_auth.card.certificates import is_signature_of
from cps_auth.card.native.source import NativeCards
from cps_auth.card.port import ReaderService, Transport
from cps_auth.errors import (
    CardMisbehaved,
    CpsAuthError,
    LastAttempt,
    PinEntryCancelled,
    PinMalformed,
    WrongPin,
)
from cps_auth.login.challenge import issue_challenge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

CHALLENGE = issue_challenge("https://cabinet.example", at=datetime.now(UTC))
READER = "Keypad reader"
VERIFY_CODE = 0x42000DB2
FEATURES = bytes.fromhex("0A0442000DB50604") + VERIFY_CODE.to_bytes(4, "big")

Typed = bytes | str
"""What a person types, or the status word that the reader answers instead."""


class KeypadTransport:
    """A transport whose reader fills the PIN in (PC/SC part 10, section 2.5.2)."""

    def __init__(self, inner: Transport, typed: Typed, features: bytes) -> None:
        self._inner = inner
        self._typed = typed
        self._features = features

    @property
    def protocol(self) -> int:
        """As the card's."""
        return self._inner.protocol

    def will_verify(self) -> None:
        """Nothing is noted here."""

    def resume(self) -> bool:
        """Nobody else resets it."""
        return False

    def transmit(self, command: bytes) -> bytes:
        """No PIN comes this way."""
        assert command[1] != 0x20 or len(command) <= 5
        return self._inner.transmit(command)

    def control(self, code: int, data: bytes, timeout_s: float) -> bytes:
        """Serve the two control codes."""
        assert timeout_s > 0
        if code == 0x42000000 + 3400:
            return self._features
        assert code == VERIFY_CODE
        assert data[:2] == bytes((30, 30))
        assert data[2:5] == bytes((0x82, 4, 0))  # ASCII, left; a block of four bytes
        assert data[5:7] == bytes((4, 4))  # four digits, no more and no less
        assert int.from_bytes(data[15:19], "little") == len(data) - 19
        if isinstance(self._typed, str):
            return bytes.fromhex(self._typed)
        apdu = data[19:]
        assert apdu[4:] == b"\x04\xff\xff\xff\xff"
        return self._inner.transmit(apdu[:5] + self._typed)

    def exclusive(self) -> AbstractContextManager[None]:
        """As the card's."""
        return self._inner.exclusive()

    def reset(self) -> None:
        """As the card's."""
        self._inner.reset()

    def close(self) -> None:
        """As the card's."""
        self._inner.close()


class KeypadService:
    """A service whose reader has a keypad."""

    def __init__(self, inner: ReaderService, typed: Typed, features: bytes) -> None:
        self._inner = inner
        self._typed = typed
        self._features = features

    def connect(self, reader: str) -> KeypadTransport:
        """Connect through the keypad."""
        return KeypadTransport(self._inner.connect(reader), self._typed, self._features)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


Reader = Callable[..., tuple[NativeCards, VirtualCard]]


@pytest.fixture(params=["cps3", "cps4"])
def reader(igc: FakeIgcSante, request: pytest.FixtureRequest) -> Reader:
    """A keypad reader with a card in it, and a person who types."""

    def make(
        typed: Typed, persona: str = "doctor", features: bytes = FEATURES
    ) -> tuple[NativeCards, VirtualCard]:
        card = VirtualCard(PERSONAS[persona], igc.credentials(persona), request.param)
        readers = VirtualReaders(READER)
        readers.insert(READER, card)
        source = NativeCards(lambda: KeypadService(readers.service(), typed, features))  # type: ignore[arg-type,return-value]  # forwards what it lacks
        return source, card

    return make


def test_typed_on_the_reader(reader: Reader) -> None:
    """The right PIN on the keypad proves the holder, and nothing stays verified."""
    cards, inserted = reader(b"1234")
    with cards.open_card() as card:
        assert card.has_pin_pad
        certificate_der = card.read_authentication_certificate()
        signature = card.verify_pin_and_sign(None, CHALLENGE)
    assert is_signature_of(certificate_der, CHALLENGE.message(), signature)
    assert not inserted.is_pin_verified


def test_wrong_on_the_reader(reader: Reader) -> None:
    """A wrong PIN on the keypad costs one attempt, like any other."""
    cards, inserted = reader(b"9999")
    with cards.open_card() as card, pytest.raises(WrongPin) as refused:
        card.verify_pin_and_sign(None, CHALLENGE)
    assert refused.value.attempts_left == inserted.pin_attempts_left == 2


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("6400", PinEntryCancelled),
        ("6401", PinEntryCancelled),
        ("6403", PinMalformed),
        ("6F00", CardMisbehaved),
        ("", CardMisbehaved),
        ("90", CardMisbehaved),
        ("90000000", CardMisbehaved),
    ],
)
def test_nobody_types(reader: Reader, answer: str, error: type[CpsAuthError]) -> None:
    """Too late, given up, too short, broken: each has its error, and costs no attempt."""
    cards, inserted = reader(answer)
    with cards.open_card() as card, pytest.raises(error):
        card.verify_pin_and_sign(None, CHALLENGE)
    assert inserted.pin_attempts_left == 3


def test_last_attempt(reader: Reader) -> None:
    """The last attempt is for those who say so, here as everywhere."""
    cards, _ = reader(b"1234", "last-attempt")
    with cards.open_card() as card:
        with pytest.raises(LastAttempt):
            card.verify_pin_and_sign(None, CHALLENGE)
        card.verify_pin_and_sign(None, CHALLENGE, last_attempt_allowed=True)


@pytest.mark.parametrize("features", ["", "06", "0604", "0605000000000000", "0A0442000DB5"])
def test_no_keypad(reader: Reader, features: str) -> None:
    """A reader that names no such feature has no keypad, and a PIN must be given."""
    cards, inserted = reader(b"1234", features=bytes.fromhex(features))
    with cards.open_card() as card:
        assert not card.has_pin_pad
        with pytest.raises(PinEntryCancelled):
            card.verify_pin_and_sign(None, CHALLENGE)
    assert inserted.pin_attempts_left == 3

"""The CPS3 driver against scripts of what real cards are known to be sent and to answer.

The commands are those recorded of ANS's own module; here nothing of the virtual card is used.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from cps_auth.card.native.card import NativeCard
from cps_auth.card.native.card_cache import CardCache
from cps_auth.card.native.iasecc import IasEcc
from cps_auth.card.native.layout import Pkcs15Layout
from cps_auth.card.native.pkcs15 import FileReference, Password, PrivateKey
from cps_auth.card.native.source import open_native, parse_serial
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    ContactlessNotEnough,
    CpsAuthError,
    LastAttempt,
    LastPukAttempt,
    PinBlocked,
    PinMalformed,
    PukBlocked,
    UnsupportedCard,
    WrongPin,
    WrongPuk,
)
from cps_auth.model import CardDescription, CardKind, Challenge, ReaderState, SignatureAlgorithm
from tests.card.native.lone_card import lone_card, model_of

CHALLENGE = Challenge("bm9uY2U=", "https://a.example", datetime.now(UTC), timedelta(minutes=5))
DIGEST_INFO = (
    "3031300D060960864801650304020105000420" + hashlib.sha256(CHALLENGE.message()).hexdigest()
)
SIGNATURE = "AB" * 256
PROFILE = Pkcs15Layout(
    application=bytes.fromhex("3F000001"),
    key=PrivateKey("CPS_PRIV_AUT", b"\x02", b"\x01", frozenset({1, 2}), 0x82, b""),
    certificate=FileReference(bytes.fromhex("B002")),
    password=Password(b"\x01", frozenset(), 0x01, 4, 0xFF),
    puk=Password(b"\x02", frozenset({7}), 0x02, 8, 0xFF),
)

SELECT_MF = ("00A4090C023F00", "9000")
ASK_ATTEMPTS = "00CB3FFF0A4D087006BF810102A080"
ATTEMPTS = "7016BF810112A0109A01039B01{:02X}A1088C06F3000013FF009000"  # as a real card answers
ENTER = ("00A4090C043F000001", "9000")
VERIFY = "002000010431323334"
SIGN = (
    ("002241A406800102840182", "9000"),
    ("0088000033" + DIGEST_INFO, "6100"),
    ("00C0000000", SIGNATURE + "9000"),
)


class Script:
    """A transport that plays a script, strictly: no command more, none less, none else."""

    protocol = 0

    def __init__(self, *steps: tuple[str, str | Exception]) -> None:
        self._steps = list(steps)
        self.resets = 0
        self.is_held = False

    def will_verify(self) -> None:
        """Nothing is noted here."""

    def resume(self) -> bool:
        """Nobody else resets it."""
        return False

    def transmit(self, command: bytes) -> bytes:
        """Answer the next command of the script."""
        assert self.is_held
        assert self._steps, f"{command.hex()} is beyond the script"
        expected, answer = self._steps.pop(0)
        assert command.hex().upper() == expected.upper()
        if isinstance(answer, Exception):
            raise answer
        return bytes.fromhex(answer)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the card."""
        self.is_held = True
        try:
            yield
        finally:
            self.is_held = False

    def reset(self) -> None:
        """Count the resets, all of them made while the card is held."""
        assert self.is_held
        self.resets += 1

    def close(self) -> None:
        """Do nothing."""

    @property
    def is_finished(self) -> bool:
        """Whether the whole script was played."""
        return not self._steps


def _card(
    *steps: tuple[str, str | Exception],
    kind: CardKind = CardKind.CPS3,
    profile: Pkcs15Layout = PROFILE,
) -> tuple[NativeCard, Script]:
    script = Script(*steps)
    description = CardDescription(kind, "reader", "99213845")
    card = lone_card(IasEcc(script), description, profile)
    return card, script


def _attempts(left: int) -> tuple[tuple[str, str], ...]:
    return SELECT_MF, (ASK_ATTEMPTS, ATTEMPTS.format(left)), ENTER


def _puk_attempts(left: int) -> tuple[tuple[str, str], ...]:
    ask, answer = (
        text.replace("BF8101", "BF8102") for text in (ASK_ATTEMPTS, ATTEMPTS.format(left))
    )
    return SELECT_MF, (ask, answer), ENTER


def test_proof_is_what_the_vendor_module_sends() -> None:
    """Attempts, PIN, key, DigestInfo: byte for byte, then one reset while the card is held."""
    card, script = _card(*_attempts(3), (VERIFY, "9000"), *SIGN)
    signature = card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert signature.value == bytes.fromhex(SIGNATURE)
    assert signature.algorithm is SignatureAlgorithm.RS256
    assert script.is_finished
    assert script.resets == 1


@pytest.mark.parametrize(
    ("status", "error", "data"),
    [
        ("63C2", WrongPin, {"attempts_left": 2}),
        ("63C0", PinBlocked, {}),
        ("6300", WrongPin, {"attempts_left": None}),
        ("6983", PinBlocked, {}),
        ("6982", CardMisbehaved, {"what": "VERIFY", "status_word_hex": "6982", "cause": ""}),
        ("6E00", CardMisbehaved, {"what": "VERIFY", "status_word_hex": "6E00", "cause": ""}),
        ("6C04", CardMisbehaved, {"what": "VERIFY", "status_word_hex": "6C04", "cause": ""}),
        ("6100", CardMisbehaved, {"what": "VERIFY", "status_word_hex": "6100", "cause": ""}),
    ],
)
def test_verify_refused(status: str, error: type[CpsAuthError], data: dict[str, object]) -> None:
    """Each answer to VERIFY has its error; nothing is sent after it but the reset."""
    card, script = _card(*_attempts(3), (VERIFY, status))
    with pytest.raises(error) as caught:
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert caught.value.data() == data
    assert script.is_finished
    assert script.resets == 1


@pytest.mark.parametrize("step", range(3))
@pytest.mark.parametrize("status", ["6982", "6A80", "6F00"])
def test_signature_refused(step: int, status: str) -> None:
    """A refusal after the PIN was taken ends in a reset, and is never answered with the PIN."""
    steps = [*SIGN[:step], (SIGN[step][0], status)]
    card, script = _card(*_attempts(3), (VERIFY, "9000"), *steps)
    with pytest.raises(CardMisbehaved) as caught:
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert caught.value.status_word_hex == status
    assert script.is_finished
    assert script.resets == 1


def test_empty_signature() -> None:
    """A card that says yes and signs nothing is not believed."""
    card, script = _card(*_attempts(3), (VERIFY, "9000"), SIGN[0], (SIGN[1][0], "9000"))
    with pytest.raises(CardMisbehaved):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert script.resets == 1


@pytest.mark.parametrize("step", range(7))
def test_card_leaves(step: int) -> None:
    """Whenever the card leaves, that is what is said; once a PIN was sent a reset is tried, too."""
    whole = [*_attempts(3), (VERIFY, "9000"), *SIGN]
    card, script = _card(*whole[:step], (whole[step][0], CardRemoved()))
    with pytest.raises(CardRemoved):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert script.is_finished
    assert script.resets == (step >= 3)


def test_malformed_pin_sends_nothing() -> None:
    """A malformed PIN does not even select a file."""
    card, script = _card()
    with pytest.raises(PinMalformed):
        card.verify_pin_and_sign(bytearray(b"12345"), CHALLENGE)
    assert script.resets == 0


@pytest.mark.parametrize("card_says", [1, 0])
def test_counter_is_read_first(card_says: int) -> None:
    """With one attempt left, or none, the PIN is not sent."""
    card, script = _card(*_attempts(card_says))
    with pytest.raises(LastAttempt if card_says else PinBlocked):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert script.is_finished


def test_no_reset_for_a_refused_attempt() -> None:
    """Nothing of ours was verified, so nothing is taken from other programs."""
    card, script = _card(*_attempts(1))
    with pytest.raises(LastAttempt):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert script.resets == 0


@pytest.mark.parametrize("left", [3, 0])
def test_attempts_by_object(left: int) -> None:
    """The counter is asked of the PIN's object, as ANS's module does: no VERIFY is sent."""
    card, script = _card(*_attempts(left))
    assert card.pin_attempts_left() == left
    assert script.is_finished
    assert script.resets == 0


@pytest.mark.parametrize(
    "answer",
    ["6A88", "6D00", "9000", "7003BF81019000", "7016BF8102" + "00" * 18 + "9000", "FFFF9000"],
)
@pytest.mark.parametrize(("status", "left"), [("63C2", 2), ("63C0", 0), ("6983", 0)])
def test_attempts_by_empty_verify(answer: str, status: str, left: int) -> None:
    """Only a card without such an object is asked by an empty VERIFY."""
    card, script = _card(SELECT_MF, (ASK_ATTEMPTS, answer), ENTER, ("0020000100", status))
    assert card.pin_attempts_left() == left
    assert script.is_finished


@pytest.mark.parametrize("status", ["6D00", "6700", "6A88", "6300"])
def test_unknown_attempts_are_not_spent(status: str) -> None:
    """When the card does not say how many are left, the PIN is not sent unless allowed."""
    unknown = (SELECT_MF, (ASK_ATTEMPTS, "6A88"), ENTER, ("0020000100", status))
    card, script = _card(*unknown)
    with pytest.raises(LastAttempt) as caught:
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert caught.value.attempts_left is None
    assert script.is_finished
    card, script = _card(*unknown, (VERIFY, "9000"), *SIGN)
    card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE, last_attempt_allowed=True)
    assert script.is_finished


def test_a_pin_that_another_program_verified() -> None:
    """A card without the object that only says "verified" is reset before it tells the number."""
    steps = (SELECT_MF, (ASK_ATTEMPTS, "6D00"), ENTER)
    card, script = _card(
        *steps, ("0020000100", "9000"), *steps, ("0020000100", "63C3"), (VERIFY, "9000"), *SIGN
    )
    card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert script.is_finished
    card, script = _card(*steps, ("0020000100", "9000"))
    assert card.pin_attempts_left() is None
    assert script.resets == 0


def test_no_uses_left() -> None:
    """A PIN whose uses are over (9D) is as good as blocked."""
    answer = "7014BF810110A00E9A01039B01039D020000A1028C009000"
    card, _ = _card(SELECT_MF, (ASK_ATTEMPTS, answer), ENTER)
    assert card.pin_attempts_left() == 0


def test_another_application_was_selected() -> None:
    """A card left elsewhere by another program is called back, before any code is sent."""
    lost = (SELECT_MF[0], "6E00")
    wake = ("00A40404088025000001FF0100", "9000")
    card, script = _card(lost, wake, *_attempts(3), (VERIFY, "9000"), *SIGN)
    card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert script.is_finished
    card, script = _card(lost, wake, lost)
    with pytest.raises(CardMisbehaved):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert script.is_finished


def test_change_is_what_the_vendor_module_sends() -> None:
    """Old and new PIN in one command, once."""
    card, script = _card(*_attempts(3), ("00240001083132333434333231", "9000"))
    card.change_pin(bytearray(b"1234"), bytearray(b"4321"))
    assert script.is_finished
    assert script.resets == 1
    card, script = _card(*_attempts(3), ("00240001083132333434333231", "63C1"))
    with pytest.raises(WrongPin) as refused:
        card.change_pin(bytearray(b"1234"), bytearray(b"4321"))
    assert refused.value.attempts_left == 1
    assert script.is_finished


@pytest.mark.parametrize(
    ("status", "error"), [("63C1", WrongPuk), ("6983", PukBlocked), ("6982", CardMisbehaved)]
)
def test_unblock_is_what_the_vendor_module_sends(status: str, error: type[CpsAuthError]) -> None:
    """The PUK, then the new PIN; nothing after a refused PUK."""
    puk = "00200002083132333435363738"
    card, script = _card(*_puk_attempts(3), (puk, "9000"), ("002C02010434333231", "9000"))
    card.unblock(bytearray(b"12345678"), bytearray(b"4321"))
    assert script.is_finished
    assert script.resets == 1
    card, script = _card(*_puk_attempts(3), (puk, status))
    with pytest.raises(error):
        card.unblock(bytearray(b"12345678"), bytearray(b"4321"))
    assert script.is_finished
    assert script.resets == 1


def test_last_puk_attempt() -> None:
    """The PUK's counter is read first; its last attempt is not sent unasked."""
    card, script = _card(*_puk_attempts(1))
    with pytest.raises(LastPukAttempt):
        card.unblock(bytearray(b"12345678"), bytearray(b"4321"))
    assert script.is_finished


def test_unblock_where_no_puk_is_declared() -> None:
    """Nobody guesses which code unblocks: nothing is sent."""
    card, script = _card(profile=replace(PROFILE, puk=None))
    with pytest.raises(CardMisbehaved, match="no PUK"):
        card.unblock(bytearray(b"12345678"), bytearray(b"4321"))
    assert script.is_finished
    assert script.resets == 0


def test_contactless_proves_nobody() -> None:
    """On the contactless interface nothing is sent, whatever the PIN."""
    card, script = _card(kind=CardKind.CPS3_CONTACTLESS)
    with pytest.raises(ContactlessNotEnough):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert script.resets == 0


def test_key_without_pin_in_contact() -> None:
    """A card in contact whose key says that it needs no PIN does not sign."""
    profile = Pkcs15Layout(PROFILE.application, PROFILE.key, PROFILE.certificate, None)
    card, script = _card(profile=profile)
    with pytest.raises(CpsAuthError):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE, last_attempt_allowed=True)
    assert script.resets == 0


def test_the_pin_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    """At DEBUG level the commands are logged, and the PIN is in none of them."""
    caplog.set_level(logging.DEBUG)
    card, _ = _card(*_attempts(3), (VERIFY, "63C2"))
    with pytest.raises(WrongPin) as caught:
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    said = caplog.text + repr(caught.value) + str(caught.value)
    assert "00 20 00 01 <4 bytes hidden>" in said
    assert "31323334" not in said
    assert "1234" not in said


def test_the_pin_stays_its_owners() -> None:
    """The caller's PIN is neither changed nor wiped here."""
    pin = bytearray(b"1234")
    card, _ = _card(*_attempts(3), (VERIFY, "9000"), *SIGN)
    card.verify_pin_and_sign(pin, CHALLENGE)
    assert pin == b"1234"


def test_real_serial_number() -> None:
    """The serial number of a published card is read and checked."""
    assert parse_serial(bytes.fromhex("5A0A802500000199213845 0F")) == ("99213845", True)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("5A0A80250000019921AB450F", CardMisbehaved),  # not decimal
        ("5A0A802500000199213845", CardMisbehaved),  # short
        ("5A0A802500000199213845 0F00", CardMisbehaved),  # long
        ("", CardMisbehaved),
        ("5A0A8025000002992138458F", UnsupportedCard),  # another issuer
    ],
)
def test_wrong_serial_number(content: str, error: type[CpsAuthError]) -> None:
    """A serial number of another shape, or of another issuer, is refused."""
    with pytest.raises(error):
        parse_serial(bytes.fromhex(content))


@pytest.mark.parametrize("end", ["1F", "00", "AF"])
def test_a_check_digit_that_does_not_hold(end: str) -> None:
    """It proves nothing, so it refuses nothing: `doctor` says it."""
    content = bytes.fromhex("5A0A802500000199213845" + end)
    assert parse_serial(content) == ("99213845", False)


class HostileCard(Script):
    """A card that answers anything at all."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._random = random.Random(seed)  # noqa: S311 - test data
        self.count = 0

    def transmit(self, command: bytes) -> bytes:
        """Answer random data of any length, often with a status word that asks for more."""
        self.count += 1
        body = self._random.randbytes(self._random.choice((0, 1, 12, 231, 256)))
        if command[1] in (0xA4, 0xC0) and self._random.random() < 0.5:
            body = bytes.fromhex("62048002") + self._random.randbytes(2)
        return body + self._random.choice((b"\x90\x00", b"\x90\x00", b"\x61\xff", b"\x6c\x01"))


@pytest.mark.parametrize("seed", range(200))
def test_hostile_card(seed: int) -> None:
    """Whatever a card answers, only our own errors come out, after a bounded number of commands."""
    hostile = HostileCard(seed)
    with pytest.raises(CpsAuthError):
        open_native(
            hostile,
            insertion=ReaderState("r", b""),
            model=model_of(CardKind.CPS3),
            owned=contextlib.ExitStack(),
            has_stayed=lambda: True,
            cache=CardCache(),
            at=datetime.now(UTC),
        )
    description = CardDescription(CardKind.CPS3, "r", "")
    card = lone_card(IasEcc(hostile), description, PROFILE)
    for use in (
        card.read_authentication_certificate,
        card.pin_attempts_left,
        lambda: card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE),
    ):
        with contextlib.suppress(CpsAuthError):
            use()
    assert hostile.count < 2000

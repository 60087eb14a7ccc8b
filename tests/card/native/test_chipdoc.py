"""The CPS4 driver against scripts of what ANS's own module is known to send.

Nothing of the virtual card is used here.
"""

from __future__ import annotations

import hashlib
import random
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cps_auth.card.native.card import NativeCard
from cps_auth.card.native.card_cache import CardCache
from cps_auth.card.native.chipdoc import ChipDoc
from cps_auth.card.native.layout import Pkcs15Layout
from cps_auth.card.native.pkcs15 import FileReference, Password, PrivateKey
from cps_auth.card.native.source import open_native
from cps_auth.errors import (
    CardMisbehaved,
    CpsAuthError,
    LastAttempt,
    PinBlocked,
    WrongPin,
    WrongPuk,
)
from cps_auth.model import CardDescription, CardKind, Challenge, ReaderState, SignatureAlgorithm
from tests.card.native.lone_card import lone_card, model_of

CHALLENGE = Challenge("bm9uY2U=", "https://a.example", datetime.now(UTC), timedelta(minutes=5))
DIGEST = hashlib.sha256(CHALLENGE.message()).hexdigest()
SIGNATURE = "AB" * 256
PROFILE = Pkcs15Layout(
    application=bytes.fromhex("3F000001"),
    key=PrivateKey("CPS_PRIV_AUT", b"\x20", b"\x01", frozenset({1, 2}), 0x20, b""),
    certificate=FileReference(bytes.fromhex("B002")),
    password=Password(b"\x01", frozenset(), 0x01, 4, 0xFF),
    puk=Password(b"\x02", frozenset({7}), 0x02, 8, 0xFF),
)

WAKE = ("01A4040C088025000001FF0100", "9000")
ENTER = ("01A4080C020001", "9000")
VERIFY = "012000010431323334"
SET_PSS = ("012281B60491022CA0", "9000")
PSS = "012A9E9A20" + DIGEST + "00"
BLOCK = "0001" + "FF" * 202 + "00" + "3031300D060960864801650304020105000420" + DIGEST
RAW = (
    ("012241B803830120", "9000"),
    ("112A8086FF" + BLOCK[:510], "9000"),
    ("012A808601" + BLOCK[510:] + "00", SIGNATURE + "9000"),
)


class Script:
    """A T=1 transport that plays a script, strictly."""

    protocol = 1

    def __init__(self, *steps: tuple[str, str]) -> None:
        self._steps = list(steps)
        self.resets = 0

    def will_verify(self) -> None:
        """Nothing is noted here."""

    def resume(self) -> bool:
        """Nobody else resets it."""
        return False

    def transmit(self, command: bytes) -> bytes:
        """Answer the next command of the script."""
        assert self._steps, f"{command.hex()} is beyond the script"
        expected, answer = self._steps.pop(0)
        assert command.hex().upper() == expected.upper()
        return bytes.fromhex(answer)

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the card."""
        return nullcontext()

    def reset(self) -> None:
        """Count."""
        self.resets += 1

    def close(self) -> None:
        """Do nothing."""

    def finish(self) -> None:
        """Check that all was said, and the card reset."""
        assert not self._steps
        assert self.resets == 1


def _card(*steps: tuple[str, str]) -> tuple[NativeCard, Script]:
    script = Script(*steps)
    description = CardDescription(CardKind.CPS4, "reader", "49213845")
    card = lone_card(ChipDoc(script), description, PROFILE)
    return card, script


def _attempts(left: int, reference: int = 1) -> tuple[tuple[str, str], ...]:
    return WAKE, ENTER, (f"012000{reference:02X}", f"63C{left}")


PSS_TOO = (SET_PSS, (PSS, SIGNATURE + "9000"))


def test_raw() -> None:
    """The card does raw RSA over a block padded here: application, PIN, key, block."""
    card, script = _card(*_attempts(3), (VERIFY, "9000"), *RAW)
    signature = card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert signature.algorithm is SignatureAlgorithm.RS256
    assert signature.value == bytes.fromhex(SIGNATURE)
    script.finish()


@pytest.mark.parametrize("step", range(3))
@pytest.mark.parametrize(
    "status", ["6985", "6A80", "6981", "6D00", "6982", "6983", "6984", "6700", "6900", "6F00"]
)
def test_no_raw(step: int, status: str) -> None:
    """A card that refuses it for this key, at whichever command, signs by PSS; with no new PIN.

    6982 is what an access rule "never" of this key says (ISO/IEC 7816-4:2005 table 6).
    """
    refused = [*RAW[:step], (RAW[step][0], status)]
    card, script = _card(*_attempts(3), (VERIFY, "9000"), *refused, *PSS_TOO)
    signature = card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    assert signature.algorithm is SignatureAlgorithm.PS256
    script.finish()


def test_signature_empty() -> None:
    """An answer without a signature ends it; the PIN is not sent again."""
    card, script = _card(*_attempts(3), (VERIFY, "9000"), *RAW[:2], (RAW[2][0], "9000"))
    with pytest.raises(CardMisbehaved):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    script.finish()


@pytest.mark.parametrize("step", range(2))
def test_both_refused(step: int) -> None:
    """Each command of the second way may be refused too."""
    steps = [*PSS_TOO[:step], (PSS_TOO[step][0], "6A80")]
    card, script = _card(*_attempts(3), (VERIFY, "9000"), (RAW[0][0], "6A80"), *steps)
    with pytest.raises(CardMisbehaved):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    script.finish()


@pytest.mark.parametrize(
    ("status", "error"), [("63C2", WrongPin), ("6983", PinBlocked), ("6985", CardMisbehaved)]
)
def test_verify_refused(status: str, error: type[CpsAuthError]) -> None:
    """A refused PIN ends it: unlike ANS's module we believe no other status word."""
    card, script = _card(*_attempts(3), (VERIFY, status))
    with pytest.raises(error):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    script.finish()


def test_verified_by_another_program() -> None:
    """A card that says "verified" instead of a number is reset first, then the PIN is shown."""
    said_verified = (WAKE, ENTER, ("01200001", "9000"))
    card, script = _card(*said_verified, *_attempts(3), (VERIFY, "9000"), *RAW)
    card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    script.resets -= 1
    script.finish()
    card, script = _card(*said_verified, *said_verified)
    with pytest.raises(LastAttempt):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    card, script = _card(*said_verified)
    assert card.pin_attempts_left() is None  # nobody is logged out for a look
    assert script.resets == 0


def test_change() -> None:
    """The old PIN is verified, then the new one is set."""
    card, script = _card(*_attempts(3), (VERIFY, "9000"), ("012401010434333231", "9000"))
    card.change_pin(bytearray(b"1234"), bytearray(b"4321"))
    script.finish()
    card, script = _card(*_attempts(3), (VERIFY, "63C1"))
    with pytest.raises(WrongPin):
        card.change_pin(bytearray(b"1234"), bytearray(b"4321"))
    script.finish()


def test_unblock() -> None:
    """PUK, counter, new PIN; nothing after a refused PUK."""
    puk = "01200002083132333435363738"
    rest = ("012C0381", "9000"), ("012401010434333231", "9000")
    card, script = _card(*_attempts(3, 2), (puk, "9000"), *rest)
    card.unblock(bytearray(b"12345678"), bytearray(b"4321"))
    script.finish()
    card, script = _card(*_attempts(3, 2), (puk, "63C2"))
    with pytest.raises(WrongPuk):
        card.unblock(bytearray(b"12345678"), bytearray(b"4321"))
    script.finish()


def test_application_recovered() -> None:
    """When the first selection is refused, two others come before the second, as ANS does."""
    recovery = (
        (WAKE[0], "6985"),
        ("01A4040C07A0000001510000", "9000"),
        ("00A4040C088025000001FF0002", "6A82"),
    )
    card, script = _card(*recovery, *_attempts(3), (VERIFY, "63C2"))
    with pytest.raises(WrongPin):
        card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
    script.finish()


class AnyAnswer(Script):
    """A card whose answers are drawn from a list, over and over."""

    def __init__(self, answers: list[bytes]) -> None:
        super().__init__()
        self._answers = answers
        self.commands: list[bytes] = []

    def transmit(self, command: bytes) -> bytes:
        """Answer anything."""
        self.commands.append(command)
        return self._answers[len(self.commands) % len(self._answers)]


_STATUS = st.integers(0x6000, 0x9FFF).map(lambda word: word.to_bytes(2, "big"))
_ANSWERS = st.lists(st.builds(lambda data, sw: data + sw, st.binary(max_size=256), _STATUS),
                    min_size=1, max_size=12)  # fmt: skip


@given(answers=_ANSWERS, kind=st.sampled_from([CardKind.CPS3, CardKind.CPS4]))
def test_any_answer(answers: list[bytes], kind: CardKind) -> None:
    """Whatever is answered: our own errors, a bounded number of commands, one PIN at most."""
    hostile = AnyAnswer(answers)
    opened = None
    with suppress(CpsAuthError):
        opened = open_native(
            hostile,
            insertion=ReaderState("r", b""),
            model=model_of(kind),
            owned=ExitStack(),
            cache=CardCache(),
            at=datetime.now(UTC),
            has_stayed=lambda: True,
        )
    description = CardDescription(kind, "reader", "49213845")
    card = opened or lone_card(ChipDoc(hostile), description, PROFILE)
    for use in (
        card.read_label,
        card.read_authentication_certificate,
        card.pin_attempts_left,
        lambda: card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE),
    ):
        with suppress(CpsAuthError):
            use()
    assert sum(b"1234" in command for command in hostile.commands) <= 1
    assert len(hostile.commands) < 6000


class Forced(Script):
    """A card that answers as scripted, but for one step."""

    def __init__(self, whole: list[tuple[str, str]], step: int, word: int) -> None:
        super().__init__()
        self._answers = dict(whole)
        self._left = step
        self._word = word
        self.pins = 0

    def transmit(self, command: bytes) -> bytes:
        """Answer what the script has for this command, whenever it comes."""
        self._left -= 1
        self.pins += command == bytes.fromhex(VERIFY)
        if self._left == -1:
            return self._word.to_bytes(2, "big")
        return bytes.fromhex(self._answers.get(command.hex().upper(), "6D00"))


@pytest.mark.parametrize("step", range(8))
def test_every_status_word(step: int) -> None:
    """Every status word at every step of a proof: a typed error, and no PIN but in its place."""
    whole = [*_attempts(3), (VERIFY, "9000"), *RAW]
    words = {w for w in range(0x6000, 0xA000) if w >> 8 in (0x61, 0x62, 0x63, 0x64, 0x65, 0x67,
             0x68, 0x69, 0x6A, 0x6B, 0x6C, 0x6D, 0x6E, 0x6F, 0x90, 0x9F)}  # fmt: skip
    chosen = random.Random(step).sample(sorted(words), 400)  # noqa: S311 - test data
    for word in chosen:
        forced = Forced(whole, step, word)
        description = CardDescription(CardKind.CPS4, "reader", "49213845")
        card = lone_card(ChipDoc(forced), description, PROFILE)
        with suppress(CpsAuthError):
            card.verify_pin_and_sign(bytearray(b"1234"), CHALLENGE)
        assert forced.pins <= 1
        assert forced.resets >= forced.pins

"""Transcripts: the documented sequences against every kind of card, recordings, replays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cps_auth.card.native.source import NativeCards
from cps_auth.errors import WrongPin
from cps_auth.login.challenge import issue_challenge
from hardware_mocks.card.command import hide_pin
from hardware_mocks.card.virtual_card import CARD_KINDS, VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS, PIN, PUK
from hardware_mocks.readers.virtual_readers import VirtualReaders
from hardware_mocks.transcripts.cards import (
    RecordingCard,
    ReplayedCard,
    TranscriptBroken,
    check_card,
)
from hardware_mocks.transcripts.transcript import Transcript
from hardware_mocks.vpcd.terminal_view import TerminalView

VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "apdu").glob("*.apdu"))
SECRETS = {"pin": PIN, "puk": PUK, "new": b"4321", "wrong": b"0000"}
READER = "Reader"


@pytest.fixture
def make_card(igc: FakeIgcSante) -> Callable[..., VirtualCard]:
    """Make a card of a kind for the doctor."""
    return lambda kind="cps3": VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"), kind)


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_documented_sequences(make_card: Callable[..., VirtualCard], path: Path) -> None:
    """What the ANS module and OpenSC send is answered as their traces say, byte for byte."""
    transcript = Transcript.parse(path.read_text(encoding="utf-8"))
    check_card(transcript, make_card(transcript.kind), SECRETS)


def test_every_kind_has_a_documented_sequence() -> None:
    """No kind but the release candidate, which differs by its ATR alone, is left out."""
    kinds = {Transcript.parse(path.read_text(encoding="utf-8")).kind for path in VECTORS}
    assert kinds == set(CARD_KINDS) - {"cps4-rc"}


def test_a_difference_is_found(make_card: Callable[..., VirtualCard]) -> None:
    """A wrong answer names its step, what was answered and what was expected."""
    transcript = Transcript.parse("card: cps3\n# first\n> 0020000100\n< 63C2\n")
    with pytest.raises(TranscriptBroken, match=r"step 1, 00 20 .*first.*: answered 63 C3, not 63"):
        check_card(transcript, make_card(), {})


CHALLENGE = issue_challenge("test", at=datetime.now(UTC))


def login(card: RecordingCard | ReplayedCard) -> bytes:
    """Log in with the native driver: a wrong PIN, then the right one."""
    readers = VirtualReaders(READER)
    readers.insert(READER, card)
    with NativeCards(readers.service).open_card() as opened:
        with pytest.raises(WrongPin):
            opened.verify_pin_and_sign(bytearray(b"0000"), CHALLENGE)
        return opened.verify_pin_and_sign(bytearray(PIN), CHALLENGE).value


def test_a_recording_is_replayed(make_card: Callable[..., VirtualCard]) -> None:
    """The driver that was recorded logs in again with the text alone, to the same signature."""
    card = make_card()
    recorder = RecordingCard(card, card.kind)
    signature = login(recorder)
    text = recorder.transcript.text()
    assert "31 32 33 34" not in text
    assert "> 00 20 00 01 04 ** ** ** **" in text
    with ReplayedCard(Transcript.parse(text), atr=card.atr, protocol=card.protocol) as replayed:
        assert login(replayed) == signature


@pytest.mark.parametrize(
    "command_hex",
    [
        "0020000104{pin}",
        "0020000104{pin}00",
        "00200001{pin}",  # its length forgotten
        "0020000108{pin}",  # or wrong
        "1020000104{pin}",
        "0024000108{pin}{pin}",
        "002C000110{puk}{pin}{pin}",
        "002600010431323334",  # DISABLE and ENABLE VERIFICATION REQUIREMENT: refused, and secret
        "A028000108{pin}FFFFFFFF",
        "0020000100000004{pin}",  # extended length
    ],
)
def test_no_pin_is_written(make_card: Callable[..., VirtualCard], command_hex: str) -> None:
    """Whatever a host makes of a PIN command: its bytes are in no recording, log or view."""
    card = make_card()
    command = bytes.fromhex(command_hex.format(pin=PIN.hex(), puk=PUK.hex()))
    recorder = RecordingCard(card, card.kind)
    recorder.transmit(command)
    view = TerminalView(card, "")
    view.note(command, b"\x90\x00")
    shown = " ".join(view.text(is_inserted=True, columns=120, lines=24))
    for text in (recorder.transcript.text(), shown, hide_pin(command).hex(" ")):
        assert "31" not in text.split()
        assert "34" not in text.split()
    assert Transcript.parse(recorder.transcript.text()) == recorder.transcript


def test_no_pin_is_shown_by_what_holds_it(make_card: Callable[..., VirtualCard]) -> None:
    """A failed assertion prints a card's contents: not its PIN, PUK or keys."""
    shown = repr(make_card().contents.pins) + repr(make_card().contents.keys)
    assert "1234" not in shown
    assert "RSAPrivateKey" not in shown


TEXT = """card: cps3
# random
> 00 84 00 00 02
< AA BB 90 00
# VERIFY
> 00 20 00 01 04 {pin}
< 90 00
"""


@pytest.fixture
def replayed() -> ReplayedCard:
    """A card of two steps."""
    return ReplayedCard(Transcript.parse(TEXT), atr=b"\x3b\x00", protocol=0, secrets=SECRETS)


def test_another_command_fails(replayed: ReplayedCard) -> None:
    """Once different it stays broken, and leaving the block says so even if it was swallowed."""
    complaint = "said 00 84 00 00 08; the transcript has 00 84"
    with pytest.raises(TranscriptBroken, match=complaint):
        replayed.transmit(bytes.fromhex("0084000008"))
    with pytest.raises(TranscriptBroken, match=complaint), replayed:
        pass  # whoever swallowed it
    with pytest.raises(TranscriptBroken):
        replayed.transmit(bytes.fromhex("0084000002"))


def test_a_missing_command_fails(replayed: ReplayedCard) -> None:
    """What was left unsaid is a failure too."""
    with pytest.raises(TranscriptBroken, match="stopped; the transcript has 00 20"), replayed:
        assert replayed.transmit(bytes.fromhex("0084000002")) == b"\xaa\xbb\x90\x00"


def test_an_extra_command_fails(replayed: ReplayedCard) -> None:
    """After the last step there is the end; what was said is shown without the PIN."""
    replayed.transmit(bytes.fromhex("0084000002"))
    replayed.transmit(bytes.fromhex("002000010431323334"))
    with pytest.raises(TranscriptBroken, match=r"said 00 20 00 01 04 \*\*.*has the end"):
        replayed.transmit(bytes.fromhex("002000010431323334"))


def test_another_secret_fails(replayed: ReplayedCard) -> None:
    """A PIN that is given is compared; nothing of it is shown."""
    replayed.transmit(bytes.fromhex("0084000002"))
    with pytest.raises(TranscriptBroken) as caught:
        replayed.transmit(bytes.fromhex("002000010439393939"))
    assert "39" not in str(caught.value)


def test_a_reset_in_between_fails(replayed: ReplayedCard) -> None:
    """Before the first step it is nothing; in the middle it is a difference."""
    replayed.reset()
    replayed.transmit(bytes.fromhex("0084000002"))
    with pytest.raises(TranscriptBroken, match="reset; the transcript has 00 20"):
        replayed.reset()


def test_text_and_back() -> None:
    """What is written is read again as the same."""
    transcript = Transcript.parse(TEXT + "# lost\nreset\n> 00A4040000\n< 6A82\n")
    assert Transcript.parse(transcript.text()) == transcript


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("> 00\n< 9000\n", "which card"),
        ("card: x\nhello\n", "line 2: neither"),
        ("card: x\n> 00A4\n", "line 2: a command without an answer"),
        ("card: x\n> 00A4\n> 00A4\n", "line 2: a command without an answer"),
        ("card: x\n> 0\n< 9000\n", "line 2: not the bytes of this command"),
        ("card: x\n> 00 .. 00\n< 9000\n", "line 2: not the bytes of this command"),
        ("card: x\n>\n< 9000\n", "line 2: not the bytes of this command"),
        ("card: x\n> 00A4000000\n< 90{pin}\n", "line 3: not the bytes of this answer"),
        ("card: x\n> 00 ** 0000\n< 9000\n", "line 2: the header of a command"),
        ("card: x\n> 00A4000004{pin}\n< 9000\n", "line 2: this command carries no PIN"),
        ("card: x\n> 002000010431323334\n< 9000\n", "line 2: a PIN must not be written out"),
        ("card: x\n> 0020000104313233**\n< 9000\n", "line 2: a PIN must not be written out"),
    ],
)
def test_what_is_not_a_transcript(text: str, complaint: str) -> None:
    """Refused with the line; a PIN in clear, or a hole where none may be, is refused too."""
    with pytest.raises(ValueError, match=complaint):
        Transcript.parse(text)


def test_a_replay_needs_whole_answers() -> None:
    """A transcript with gaps can check a card, and can't stand for one."""
    transcript = Transcript.parse("card: cps3\n> 0084000002\n< .. .. 9000\n")
    with pytest.raises(ValueError, match="non-hexadecimal"):
        ReplayedCard(transcript, atr=b"\x3b\x00", protocol=0)

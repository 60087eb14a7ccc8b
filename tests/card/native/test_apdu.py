"""Command and response APDUs, and the detours of T=0."""

from __future__ import annotations

import logging
import traceback

import pytest

from cps_auth.card.native.apdu import Command, Response, StatusWord, attempts_in, exchange
from cps_auth.card.native.driver import check_compared
from cps_auth.card.pin import PIN
from cps_auth.errors import CardMisbehaved, CardRemoved, PinBlocked, WrongPin


class Scripted:
    """A transport that answers a list of exchanges, strictly in order."""

    def __init__(self, protocol: int, *script: tuple[str, str]) -> None:
        self.protocol = protocol
        self._script = [(bytes.fromhex(sent), bytes.fromhex(answer)) for sent, answer in script]

    def will_verify(self) -> None:
        """Nothing is noted here."""

    def resume(self) -> bool:
        """Nobody else resets it."""
        return False

    def transmit(self, command: bytes) -> bytes:
        """Answer the next expected command."""
        assert self._script, f"nothing expected, {command.hex()} sent"
        expected, answer = self._script.pop(0)
        assert command == expected
        return answer

    @property
    def is_finished(self) -> bool:
        """Whether every expected command was sent."""
        return not self._script


@pytest.mark.parametrize(
    ("command", "t0", "t1"),
    [
        (Command(0, 0x20, 0, 1), "0020000100", "00200001"),
        (Command(0, 0xB0, 0, 0, le=0xE7), "00B00000E7", "00B00000E7"),
        (Command(0, 0xB0, 1, 2, le=256), "00B0010200", "00B0010200"),
        (Command(0, 0xA4, 9, 12, b"\x3f\x00"), "00A4090C023F00", "00A4090C023F00"),
        (Command(0, 0xA4, 9, 4, b"\x3f\x00", 256), "00A40904023F00", "00A40904023F0000"),
    ],
)
def test_cases(command: Command, t0: str, t1: str) -> None:
    """Each of the four cases is written as its protocol wants it."""
    assert command.encode(0) == bytes.fromhex(t0)
    assert command.encode(1) == bytes.fromhex(t1)


@pytest.mark.parametrize("ins", [0x20, 0x21, 0x24, 0x25, 0x2C, 0x2D])
def test_a_pin_is_hidden(ins: int) -> None:
    """The body of a command that carries a PIN is in no description of it."""
    command = Command(0, ins, 0, 1, b"1234")
    for text in (command.describe(), repr(command), str(command)):
        assert "1234" not in text
        assert "31323334" not in text
    assert command.describe() == f"00 {ins:02X} 00 01 <4 bytes hidden>"


def test_other_commands_are_described() -> None:
    """A command without a secret is described with its body."""
    assert Command(0, 0xA4, 9, 4, b"\x3f\x00", 256).describe() == "00 A4 09 04 3F00 Le=256"


@pytest.mark.parametrize(
    ("value", "left", "failed"),
    [(0x63C2, 2, True), (0x63C0, 0, False), (0x6300, None, True), (0x6983, None, False)],
)
def test_comparison(value: int, left: int | None, failed: bool) -> None:
    """63Cx carries the attempts left; 6300 does not; 63C0 is as blocked as 6983."""
    status = StatusWord(value)
    assert attempts_in(status) == left
    with pytest.raises((WrongPin, PinBlocked)) as refused:
        check_compared(status, "VERIFY", PIN)
    assert isinstance(refused.value, WrongPin) is failed


def test_get_response() -> None:
    """61xx is followed until the card has said all: a signature of 256 bytes in two parts."""
    first, second = "AA" * 0xE7, "BB" * 0x19
    transport = Scripted(
        0,
        ("0088000003010203", "6100"),
        ("00C0000000", first + "6119"),
        ("00C0000019", second + "9000"),
    )
    response = exchange(transport, Command(0, 0x88, 0, 0, b"\x01\x02\x03", 256))
    assert response == Response(bytes.fromhex(first + second), StatusWord(0x9000))
    assert transport.is_finished


def test_right_length() -> None:
    """6Cxx repeats the command with the length that the card names."""
    transport = Scripted(0, ("00B00000E7", "6C0C"), ("00B000000C", "00" * 12 + "9000"))
    response = exchange(transport, Command(0, 0xB0, 0, 0, le=0xE7))
    assert len(response.data) == 12
    assert transport.is_finished


@pytest.mark.parametrize("status", ["6C04", "6104", "63C1"])
def test_verify_is_never_repeated(status: str) -> None:
    """A command that expects no data is sent once, whatever the card answers."""
    transport = Scripted(0, ("002000010431323334", status))
    response = exchange(transport, Command(0, 0x20, 0, 1, b"1234"))
    assert str(response.status) == status


class Endless:
    """A transport whose card never comes to an end."""

    protocol = 0

    def __init__(self, answer: bytes) -> None:
        self.count = 0
        self._answer = answer

    def transmit(self, _command: bytes) -> bytes:
        """Give the same answer again."""
        self.count += 1
        return self._answer


@pytest.mark.parametrize("answer", ["6110", "6C10", "00" * 256 + "6100", "006110"])
def test_endless_answers_end(answer: str) -> None:
    """A card that always has more to say is cut off after a few commands."""
    transport = Endless(bytes.fromhex(answer))
    with pytest.raises(CardMisbehaved):
        exchange(transport, Command(0, 0xB0, 0, 0, le=1))
    assert transport.count <= 21


@pytest.mark.parametrize("answer", ["", "90", "00" * 257 + "9000"])
def test_not_a_response(answer: str) -> None:
    """What is too short or too long to be a response APDU is refused."""
    with pytest.raises(CardMisbehaved):
        exchange(Endless(bytes.fromhex(answer)), Command(0, 0xB0, 0, 0, le=1))


def test_require_ok() -> None:
    """A command that must succeed names itself and its status word when it does not."""
    with pytest.raises(CardMisbehaved) as caught:
        Response(b"", StatusWord(0x6A82)).require_ok("SELECT 3F00")
    assert caught.value.data() == {"what": "SELECT 3F00", "status_word_hex": "6A82", "cause": ""}


@pytest.mark.parametrize("ins", [0x20, 0x24, 0x2C, 0xB0])
@pytest.mark.parametrize("protocol", [0, 1])
def test_an_error_keeps_no_frame_with_a_code(ins: int, protocol: int) -> None:
    """Whoever keeps or shows an error with its frames keeps no command that carried a PIN."""

    class Leaving:
        def __init__(self) -> None:
            self.protocol = protocol

        def will_verify(self) -> None:
            pass

        def transmit(self, command: bytes) -> bytes:
            error = CardRemoved()
            error.__context__ = TimeoutError(command)
            raise error

    command = Command(0x00, ins, 0x00, 0x01, b"8351")
    with pytest.raises(CardRemoved) as removed:
        exchange(Leaving(), command)  # type: ignore[arg-type]  # all that it takes
    frames = traceback.walk_tb(removed.value.__traceback__)
    kept = [
        value
        for frame, _ in frames
        for value in frame.f_locals.values()
        if isinstance(value, bytes | bytearray) and b"8351" in value
    ]
    assert bool(kept) is (ins == 0xB0)
    assert (removed.value.__context__ is None) is (ins != 0xB0)
    shown = "".join(traceback.format_exception(removed.value))
    assert ("8351" in shown) is (ins == 0xB0)


def test_an_answer_to_a_code_is_not_traced(caplog: pytest.LogCaptureFixture) -> None:
    """A card that gives a PIN back does not bring it into the trace."""
    trace = logging.getLogger("cps_auth.card.native.apdu.trace")
    trace.addHandler(caplog.handler)
    with caplog.at_level(logging.DEBUG, trace.name):
        card = Scripted(1, ("0020000104" + b"8351".hex(), b"8351".hex() + "9000"))
        exchange(card, Command(0x00, 0x20, 0x00, 0x01, b"8351"))
    trace.removeHandler(caplog.handler)
    assert "< 9000" in caplog.text
    assert b"8351".hex() not in caplog.text

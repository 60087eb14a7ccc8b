"""Readers with a keypad: the PIN goes from their keys to the card and never enters this computer.

Source: PC/SC Workgroup, Interoperability Specification part 10, "IFDs with Secure PIN Entry
Capabilities", revision 2.02.09.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from cps_auth.card.native.apdu import Command, StatusWord
from cps_auth.card.pin import PIN
from cps_auth.card.port import Transport
from cps_auth.errors import CardMisbehaved, CpsAuthError, PinEntryCancelled, PinMalformed

ENTRY_S = 30
"""How long the reader waits for the PIN."""

_GET_FEATURE_REQUEST = 0x42000000 + 3400  # SCARD_CTL_CODE(3400), section 2.2
_VERIFY_PIN_DIRECT = 0x06  # section 2.3
_FORMAT_ASCII_LEFT = 0x82  # bmFormatString: units of bytes, position 0, left, ASCII
_AFTER_THE_KEY = 0x02  # bEntryValidationCondition
_ONE_MESSAGE, _FRENCH = 0x01, 0x040C  # bNumberMessage, wLangId (USB language identifiers)
_TIMED_OUT, _CANCELLED, _WRONG_LENGTH = 0x6400, 0x6401, 0x6403  # section 2.5.4
_MARGIN_S = 5.0


@runtime_checkable
class ReaderControl(Protocol):
    """A transport whose reader takes commands of its own (SCardControl)."""

    def control(self, code: int, data: bytes, timeout_s: float) -> bytes:
        """Send one command to the reader and return its answer.

        Raises:
            CardMisbehaved: the reader refuses, or does not answer in time.
            CardRemoved, ReaderServiceLost: as `Transport.transmit`.
        """


@dataclass(frozen=True, slots=True)
class PinPad:
    """The keypad of one reader."""

    reader: ReaderControl
    verify_code: int  # control code of FEATURE_VERIFY_PIN_DIRECT

    def verify(self, command: Command) -> StatusWord:
        """Let the person type the PIN, and the card compare it, once.

        Args:
            command: the VERIFY, with what pads a PIN in the place of its digits.

        Raises:
            PinEntryCancelled: the person gave up, or did not answer in time.
            PinMalformed: too short or too long; nothing was sent.
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """
        structure = _verify_structure(command.encode(protocol=1), len(command.data))
        answer = self.reader.control(self.verify_code, structure, ENTRY_S + _MARGIN_S)
        if len(answer) != 2:
            raise CardMisbehaved("PIN pad answered no status word")
        status = StatusWord(int.from_bytes(answer, "big"))
        if status in (_TIMED_OUT, _CANCELLED):
            raise PinEntryCancelled
        if status == _WRONG_LENGTH:
            raise PinMalformed
        return status


def find_pin_pad(transport: Transport) -> PinPad | None:
    """Return the keypad of the reader that holds the card, None when it has none."""
    if not isinstance(transport, ReaderControl):
        return None
    try:
        unverified_features = transport.control(_GET_FEATURE_REQUEST, b"", _MARGIN_S)
    except CpsAuthError:
        return None  # most readers have no feature; a card that left is noticed soon enough
    code = _features(unverified_features).get(_VERIFY_PIN_DIRECT)
    return None if code is None else PinPad(transport, code)


def _features(unverified: bytes) -> dict[int, int]:
    """Read the list of features: tag, length 4, control code in big endian (section 2.2)."""
    features = {}
    for at in range(0, len(unverified) - 5, 6):
        if unverified[at + 1] != 4:
            break
        features[unverified[at]] = int.from_bytes(unverified[at + 2 : at + 6], "big")
    return features


def _verify_structure(apdu: bytes, block_bytes: int) -> bytes:
    """Return PIN_VERIFY_STRUCTURE (section 2.5.2), little endian, around the APDU to fill in."""
    return (
        struct.pack(
            "<BBBBBHBBHB3xI",
            ENTRY_S,
            ENTRY_S,  # after the first key
            _FORMAT_ASCII_LEFT,
            block_bytes,  # bmPINBlockString: no length inserted, size of the block
            0x00,  # bmPINLengthFormat: no length to write
            PIN.digits << 8 | PIN.digits,  # wPINMaxExtraDigit: min, max
            _AFTER_THE_KEY,
            _ONE_MESSAGE,
            _FRENCH,
            0x00,  # bMsgIndex
            len(apdu),
        )
        + apdu
    )

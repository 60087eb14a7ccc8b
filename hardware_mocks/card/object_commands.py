"""GET DATA on the card's security data objects (IAS-ECC; facts, sections 6.2 and 6.10)."""

from __future__ import annotations

from hardware_mocks.card import status_words as sw
from hardware_mocks.card.ber import tlv
from hardware_mocks.card.command import Command
from hardware_mocks.card.content.contents import KeyObject, PinObject
from hardware_mocks.card.session import Session

_EXTENDED_HEADER_LIST = 0x3FFF
_PIN, _KEY = 0xBF81, 0xBF90  # followed by the number of the object
_DOCP, _PIN_POLICY, _KEY_PARAMETERS = 0xA0, 0x7F41, 0x7F48


def get_data(session: Session, command: Command) -> bytes:
    """Return the asked part of a PIN or key object."""
    if session.contents.quirks.has_no_pin_object:
        raise sw.Refusal(sw.UNKNOWN_INS)
    if command.p1p2 != _EXTENDED_HEADER_LIST:
        raise sw.Refusal(sw.REFERENCE_NOT_FOUND)
    class_tag, number, part = _asked(command.data)
    if class_tag == _PIN and number in session.contents.pins:
        content = _pin_part(session.contents.pins[number], part)
    elif class_tag == _KEY and number | 0x80 in session.contents.keys:
        content = _key_part(session.contents.keys[number | 0x80], part)
    else:
        raise sw.Refusal(sw.REFERENCE_NOT_FOUND)
    return tlv(0x70, tlv(class_tag << 8 | number, content))


def _asked(data: bytes) -> tuple[int, int, int]:
    """Take `4D L 70 L cc cc nn L <part> 80` apart."""
    body = data[7:]
    lengths_right = len(data) > 8 and data[1] == len(data) - 2 and data[3] == len(data) - 4
    if not lengths_right or data[0] != 0x4D or data[2] != 0x70 or body[0] != len(body) - 1:
        raise sw.Refusal(sw.WRONG_DATA)
    if body[-1] != 0x80:
        raise sw.Refusal(sw.WRONG_DATA)
    return int.from_bytes(data[4:6]), data[6], int.from_bytes(body[1:-1])


def _pin_part(pin: PinObject, part: int) -> bytes:
    if part == _PIN_POLICY:
        size = bytes([len(pin.value)])
        return tlv(_PIN_POLICY, tlv(0x80, size), tlv(0x81, size))
    if part != _DOCP:
        raise sw.Refusal(sw.WRONG_DATA)
    return tlv(
        _DOCP,
        tlv(0x9A, bytes([pin.attempts_max])),
        tlv(0x9B, bytes([pin.attempts_left])),
        tlv(0xA1, tlv(0x8C, pin.rules.encoded())),
    )


def _key_part(key: KeyObject, part: int) -> bytes:
    if part != _DOCP:  # a real card refuses 7F48, the public parameters
        raise sw.Refusal(sw.WRONG_DATA)
    access = tlv(0xA1, tlv(0x8C, key.rules.encoded()))
    return tlv(_DOCP, access, tlv(0x80, b"\x01\x00"), tlv(0x9E, b"\x00"))

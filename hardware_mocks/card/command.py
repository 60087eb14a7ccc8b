"""Command APDUs as they arrive at the card (ISO/IEC 7816-3:2006 section 12)."""

from __future__ import annotations

from dataclasses import dataclass

from hardware_mocks.card import status_words as sw

CHAINING = 0x10  # CLA bit 5: more of the same command follows (ISO/IEC 7816-4 section 5.4.1)
GET_RESPONSE = 0xC0
_HEADER_BYTES = 4
_OUTGOING = frozenset({0x84, 0xB0, GET_RESPONSE})
"""Instructions whose P3 is Le. A T=0 card knows the direction from INS, not from the length."""
PIN_CARRYING = frozenset({0x20, 0x21, 0x24, 0x25, 0x26, 0x28, 0x2C, 0x2D})
"""Instructions in which a host may present a PIN or PUK, known to the card or not (ISO 7816-4)."""

COMMAND_NAMES = {
    0x20: "VERIFY",
    0x22: "MSE",
    0x24: "CHANGE PIN",
    0x2A: "PSO",
    0x2C: "UNBLOCK PIN",
    0x84: "GET CHALLENGE",
    0x88: "INT. AUTH.",
    0xA4: "SELECT",
    0xB0: "READ BINARY",
    GET_RESPONSE: "GET RESPONSE",
    0xCB: "GET DATA",
    0xD6: "UPDATE BINARY",
}
"""What people call each instruction, in at most 13 letters."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command, taken apart. `le` is None when the host expects nothing by itself."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = b""
    le: int | None = None

    @property
    def p1p2(self) -> int:
        """Return both parameters as one number, as standards print them: 9E9A."""
        return self.p1 << 8 | self.p2

    @property
    def is_chained(self) -> bool:
        """Return whether more of this command follows."""
        return bool(self.cla & CHAINING)


def parse_t0(command: bytes) -> Command:
    """Take a T=0 command apart.

    The fifth byte is Lc of an incoming instruction and Le (0 for 256) of an outgoing one. A
    case-4 command carries no Le under T=0: its answer waits for GET RESPONSE.

    Raises:
        Refusal: 6700, the length contradicts the header.
    """
    if len(command) < _HEADER_BYTES:
        raise sw.Refusal(sw.WRONG_LENGTH)
    cla, ins, p1, p2 = command[:4]
    p3 = command[4] if len(command) > 4 else 0  # the reader adds it to a case 1
    data = command[5:]
    if ins in _OUTGOING:
        if data:
            raise sw.Refusal(sw.WRONG_LENGTH)
        return Command(cla, ins, p1, p2, le=p3 or 256)
    if len(data) != p3:
        raise sw.Refusal(sw.WRONG_LENGTH)
    # An empty body with P3=00 is a case 1, or a case 2 with Le=256: the handler knows which.
    return Command(cla, ins, p1, p2, data, le=256 if p3 == 0 else None)


def parse_t1(command: bytes) -> Command:
    """Take a T=1 command apart: the four cases, short lengths (no CPS needs extended ones).

    Raises:
        Refusal: 6700, the length contradicts the body.
    """
    if len(command) < _HEADER_BYTES:
        raise sw.Refusal(sw.WRONG_LENGTH)
    cla, ins, p1, p2 = command[:4]
    body = command[4:]
    if len(body) <= 1:
        return Command(cla, ins, p1, p2, le=(body[0] or 256) if body else None)
    data, rest = body[1 : 1 + body[0]], body[1 + body[0] :]
    if not body[0] or len(data) != body[0] or len(rest) > 1:
        raise sw.Refusal(sw.WRONG_LENGTH)
    return Command(cla, ins, p1, p2, data, (rest[0] or 256) if rest else None)


def secret_from(command: bytes) -> int:
    """Return the index from which bytes may belong to a PIN or PUK; the end if none do.

    The fifth byte is a length, unless it contradicts the command: then it may be a digit.
    """
    if len(command) <= _HEADER_BYTES or command[1] not in PIN_CARRYING:
        return len(command)
    behind = len(command) - _HEADER_BYTES - 1
    return _HEADER_BYTES + (command[_HEADER_BYTES] in (0, behind, behind - 1))


def hide_pin(command: bytes) -> bytes:
    """Return the command with every byte that may belong to a PIN or PUK replaced by `*`."""
    start = secret_from(command)
    return command[:start] + b"*" * len(command[start:])

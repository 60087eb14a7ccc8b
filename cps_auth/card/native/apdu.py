"""Command and response APDUs of ISO/IEC 7816-4, short form, for T=0 and T=1.

Pure but for `exchange`, which drives any `Transport` through the two detours that a card
may ask for: "fetch the rest with GET RESPONSE" (61xx) and "ask again with this Le" (6Cxx).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace

from cps_auth.card.port import Transport
from cps_auth.errors import CardMisbehaved, CpsAuthError

_log = logging.getLogger(__name__)
_trace = logging.getLogger(f"{__name__}.trace")
_trace.propagate = False  # holds what the files say of the holder: only where it is asked for

GET_RESPONSE = 0xC0  # ISO/IEC 7816-4:2005 section 7.6.1
_SECRET_INSTRUCTIONS = frozenset({0x20, 0x21, 0x24, 0x25, 0x2C, 0x2D})
"""VERIFY, CHANGE REFERENCE DATA, RESET RETRY COUNTER (ISO/IEC 7816-4:2005 section 7.5)."""

_CHAINED = 0x10  # in CLA: not the last part
_MAX_COMMAND_BYTES = 255
_MAX_DETOURS = 20  # APDUs that one command may cost beyond itself
_MAX_RESPONSE_BYTES = 4096  # no command of ours is answered with more than 256


@dataclass(frozen=True, slots=True)
class Command:
    """One command APDU; `data` stays out of its `repr`, since it may be a PIN."""

    cla: int
    ins: int
    p1: int
    p2: int
    data: bytes = field(default=b"", repr=False)  # 0 to 255 bytes
    le: int | None = None  # 1 to 256 bytes expected, None for none

    def encode(self, protocol: int) -> bytes:
        """Return the bytes to send.

        Args:
            protocol: 0 for T=0 (a case-4 command goes without Le, a case-1 command with a
                P3 of zero; ISO/IEC 7816-3:2006 section 12.2), 1 for T=1.
        """
        encoded = bytes((self.cla, self.ins, self.p1, self.p2))
        if self.data:
            encoded += bytes((len(self.data),)) + self.data
        if self.le is not None and not (self.data and protocol == 0):
            encoded += bytes((self.le & 0xFF,))  # 256 is written as zero
        return encoded + b"\x00" if len(encoded) == 4 and protocol == 0 else encoded

    def describe(self) -> str:
        """Return the command for a log, without the body of one that carries a PIN."""
        header = f"{self.cla:02X} {self.ins:02X} {self.p1:02X} {self.p2:02X}"
        le = "" if self.le is None else f" Le={self.le}"
        if not self.data:
            return header + le
        hidden = f"<{len(self.data)} bytes hidden>"
        return f"{header} {hidden if self.carries_secret else self.data.hex().upper()}{le}"

    @property
    def carries_secret(self) -> bool:
        """Whether its data is a PIN or a PUK."""
        return self.ins in _SECRET_INSTRUCTIONS


@dataclass(frozen=True, slots=True)
class StatusWord:
    """SW1 and SW2 (ISO/IEC 7816-4:2005 section 5.1.3)."""

    value: int  # 0x0000 to 0xFFFF

    @property
    def sw1(self) -> int:
        """The first byte."""
        return self.value >> 8

    @property
    def sw2(self) -> int:
        """The second byte."""
        return self.value & 0xFF

    @property
    def is_ok(self) -> bool:
        """Whether it is 9000, normal processing."""
        return self.value == 0x9000

    @property
    def is_blocked(self) -> bool:
        """Whether it is 6983, authentication method blocked."""
        return self.value == 0x6983

    @property
    def is_comparison_failed(self) -> bool:
        """Whether it is 63Cx or 6300: compared, and different."""
        return self.value == 0x6300 or self.value & 0xFFF0 == 0x63C0

    @property
    def attempts_left(self) -> int | None:
        """The counter of 63Cx; None for any other status word."""
        return self.value & 0x0F if self.value & 0xFFF0 == 0x63C0 else None

    def __str__(self) -> str:
        return f"{self.value:04X}"


@dataclass(frozen=True, slots=True)
class Response:
    """What the card answered, detours included."""

    data: bytes = field(repr=False)
    status: StatusWord

    def require_ok(self, what: str) -> bytes:
        """Return the data of a command that must succeed.

        Raises:
            CardMisbehaved: the status word is not 9000.
        """
        if not self.status.is_ok:
            raise CardMisbehaved(what, str(self.status))
        return self.data


def exchange(transport: Transport, command: Command) -> Response:
    """Send a command and collect the whole answer.

    A command without `le` is sent exactly once, whatever comes back: it may be a VERIFY.

    Raises:
        CardMisbehaved: the answer is not a response APDU, or does not end.
        CardRemoved, ReaderServiceLost: from the transport.
    """
    response = _send(transport, command)
    if command.le is None:
        return response
    data = response.data
    for _ in range(_MAX_DETOURS):
        if response.status.sw1 == 0x61:
            command = Command(command.cla, GET_RESPONSE, 0, 0, le=response.status.sw2 or 256)
        elif response.status.sw1 == 0x6C and not response.data:
            command = replace(command, le=response.status.sw2 or 256)
        else:
            return Response(data, response.status)
        response = _send(transport, command)
        data += response.data
        if len(data) > _MAX_RESPONSE_BYTES:
            break
    raise CardMisbehaved("response that does not end", str(response.status))


def exchange_chained(transport: Transport, command: Command) -> Response:
    """Send a command whose data is longer than one APDU (ISO/IEC 7816-4:2005 section 5.1.1.1).

    Raises:
        CardMisbehaved: as `exchange`, or the card refuses a part before the last.
        CardRemoved, ReaderServiceLost: from the transport.
    """
    data = command.data
    while len(data) > _MAX_COMMAND_BYTES:
        part = replace(command, cla=command.cla | _CHAINED, data=data[:_MAX_COMMAND_BYTES], le=None)
        exchange(transport, part).require_ok("command chaining")
        data = data[_MAX_COMMAND_BYTES:]
    return exchange(transport, replace(command, data=data))


def _send(transport: Transport, command: Command) -> Response:
    if _log.isEnabledFor(logging.DEBUG) or _trace.isEnabledFor(logging.DEBUG):
        _log.debug("command %s", command.describe())
        _trace.debug("> %s", command.describe())
    unverified_answer = _transmit(transport, command)
    if not 2 <= len(unverified_answer) <= 258:
        raise CardMisbehaved(f"response of {len(unverified_answer)} bytes")
    status = StatusWord(int.from_bytes(unverified_answer[-2:], "big"))
    _log.debug("response %s, %d bytes", status, len(unverified_answer) - 2)
    if _trace.isEnabledFor(logging.DEBUG):
        data = "" if command.carries_secret else unverified_answer[:-2].hex().upper()
        _trace.debug("< %s", f"{data} {status}".lstrip())
    return Response(unverified_answer[:-2], status)


def _transmit(transport: Transport, command: Command) -> bytes:
    try:
        return transport.transmit(command.encode(transport.protocol))
    except CpsAuthError as error:
        if not command.carries_secret:
            raise
        # The frames below this one hold the bytes of the PIN as long as the error is kept
        error.__context__ = None
        raise error.with_traceback(None) from None

"""Command and response APDUs of ISO/IEC 7816-4, short form, and the dialects of SELECT.

Pure but for `exchange`, which drives any `Transport` through the two detours that a card
may ask for: "fetch the rest with GET RESPONSE" (61xx) and "ask again with this Le" (6Cxx).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from typing import Final

from cps_auth.card.port import Transport
from cps_auth.errors import CardMisbehaved, CpsAuthError

_log = logging.getLogger(__name__)
_trace = logging.getLogger(f"{__name__}.trace")
_trace.propagate = False  # holds what the files say of the holder: only where it is asked for

VERIFY, CHANGE_REFERENCE_DATA, RESET_RETRY_COUNTER = 0x20, 0x24, 0x2C
"""ISO/IEC 7816-4:2005 section 7.5."""
MANAGE_SECURITY_ENVIRONMENT, PERFORM_SECURITY_OPERATION = 0x22, 0x2A
"""ISO/IEC 7816-4:2005 section 7.5.11; ISO/IEC 7816-8:2004 section 5."""
READ_BINARY: Final = 0xB0
"""ISO/IEC 7816-4:2005 section 7.2.3."""
MORE_WAITS = 0x61  # SW1 under T=0: SW2 bytes wait for GET RESPONSE
_WRONG_LE = 0x6C  # SW1: SW2 is the Le to ask with
SELECT: Final = 0xA4
"""ISO/IEC 7816-4:2005 section 7.1.1."""
NOTHING_BACK: Final = 0x0C
"""P2 of SELECT: no data wanted."""
_BY_AID: Final = 0x04  # P1 of SELECT
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
        """Return whether its data is a PIN or a PUK."""
        return self.ins in _SECRET_INSTRUCTIONS


@dataclass(frozen=True, slots=True)
class Dialect:
    """One family's class byte and its ways of SELECT.

    Source of the values: what ANS's own module (cps3_pkcs11 5.2) sends to each.
    """

    cla: int
    path_p1: int  # P1 of SELECT by path
    paths_start_at_mf: bool  # whether the path in the command begins with 3F00
    template_p2: int  # P2 of SELECT that asks for the file's control parameters
    template_tag: int  # of what comes back: 62 FCP, 6F FCI (ISO/IEC 7816-4:2005 section 5.3.3)
    application: Command  # SELECT of the card's application
    is_selected_first: bool  # whether nothing works before `application`
    recovery: tuple[Command, ...] = ()  # what comes before `application` when it was refused


def select_by_aid(cla: int, p2: int, aid_hex: str) -> Command:
    """Return the SELECT of an application by its identifier (AID)."""
    return Command(cla, SELECT, _BY_AID, p2, bytes.fromhex(aid_hex))


class StatusWord(int):
    """SW1 and SW2 of an answer (ISO/IEC 7816-4:2005 section 5.1.3), written as four digits."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self:04X}"


OK: Final = StatusWord(0x9000)
BLOCKED: Final = StatusWord(0x6983)
"""Authentication method blocked (ISO/IEC 7816-4:2005 table 6)."""


def attempts_in(status: StatusWord) -> int | None:
    """Return the counter of 63Cx; None for any other status word."""
    return status & 0x0F if status & 0xFFF0 == 0x63C0 else None


@dataclass(frozen=True, slots=True)
class Response:
    """The response of a card, detours included."""

    data: bytes = field(repr=False)
    status: StatusWord

    def require_ok(self, what: str) -> bytes:
        """Return the data of a command that must succeed.

        Args:
            what: the command's name, for the error.

        Raises:
            CardMisbehaved: the status word is not 9000.
        """
        if self.status != OK:
            raise CardMisbehaved(what, str(self.status))
        return self.data

    def require_data(self, what: str) -> bytes:
        """Return the data of a command that must succeed and answer some, as a signature.

        Raises:
            CardMisbehaved: the status word is not 9000, or there is no data.
        """
        if not self.data:
            self.require_ok(what)
            raise CardMisbehaved(f"{what} without an answer")
        return self.require_ok(what)


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
        sw1, sw2 = divmod(response.status, 0x100)
        if sw1 == MORE_WAITS:
            command = Command(command.cla, GET_RESPONSE, 0, 0, le=sw2 or 256)
        elif sw1 == _WRONG_LE and not response.data:
            command = replace(command, le=sw2 or 256)
        else:
            return Response(data, response.status)
        response = _send(transport, command)
        data += response.data
        if len(data) > _MAX_RESPONSE_BYTES:
            break
    raise CardMisbehaved("response that does not end", str(response.status))


def exchange_chained(transport: Transport, command: Command) -> Response:
    """Send a command whose data is longer than one APDU (ISO/IEC 7816-4:2005 section 5.1.1.1).

    Returns:
        The answer to its last part, or to the one that the card refused.

    Raises:
        CardMisbehaved: as `exchange`.
        CardRemoved, ReaderServiceLost: from the transport.
    """
    data = command.data
    while len(data) > _MAX_COMMAND_BYTES:
        part = replace(command, cla=command.cla | _CHAINED, data=data[:_MAX_COMMAND_BYTES], le=None)
        answer = exchange(transport, part)
        if answer.status != OK:
            return answer
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
    if command.carries_secret and command.data:
        transport.will_verify()
    try:
        return transport.transmit(command.encode(transport.protocol))
    except CpsAuthError as error:
        if not command.carries_secret:
            raise
        # The frames below this one hold the bytes of the PIN as long as the error is kept
        error.__context__ = None
        raise error.with_traceback(None) from None

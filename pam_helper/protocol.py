"""The protocol between PAM clients and the daemon, on one Unix stream socket.

One connection carries one request and one reply.

    request   one line of JSON, at most 512 bytes with its line feed:
              {"verb": "probe" | "verify", "account": "...", "service": "..."}
    PIN       after a `verify` line only: one byte of length, then as many ASCII digits
    reply     one line of JSON, at most 4096 bytes with its line feed:
              {"result": "PAM_...", "code": "...", "lines": [...], "attempts_left": n | null}

`probe` asks whether the card in the reader could log the account in, and costs no PIN attempt.
`verify` logs in. `lines` are ready to show, in the daemon's language. The one reply that opens
a session is `VERIFIED_LINE`, byte for byte; a client compares it whole. A client keeps its side
open until it has the reply: one that has closed or half-closed is gone, and its PIN is dropped.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from cps_auth.errors import PinMalformed, RequestMalformed
from pam_helper.outcome import PamResult

SOCKET_PATH = "/run/cps-auth/auth.sock"
MAX_REQUEST_BYTES = 512
MAX_REPLY_BYTES = 4096
PIN_DIGITS = 4
"""The code porteur has exactly four digits (ANS, carte CPS; EF.AODF: min 4, max 4)."""

Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}\Z")]
"""A Unix account or PAM service; nothing that JSON or a log line would have to escape."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client asks."""

    verb: Literal["probe", "verify"]
    account: Name
    service: Name


class Reply(msgspec.Struct, frozen=True):
    """What the daemon answers."""

    result: PamResult
    code: str  # of cps_auth.errors, or "usable" (probe) or "verified" (verify)
    lines: tuple[str, ...] = ()
    attempts_left: int | None = None


VERIFIED = Reply("PAM_SUCCESS", "verified")
VERIFIED_LINE = b'{"result":"PAM_SUCCESS","code":"verified","lines":[],"attempts_left":null}\n'


def encode_reply(reply: Reply) -> bytes:
    """Return the reply as its line; lines to show are cut where they would not fit."""
    line = msgspec.json.encode(reply) + b"\n"
    if len(line) <= MAX_REPLY_BYTES:
        return line
    return msgspec.json.encode(msgspec.structs.replace(reply, lines=())) + b"\n"


def decode_request(unverified_line: bytes) -> Request:
    """Read a request line, strictly.

    Raises:
        RequestMalformed: anything that is not a request of the protocol.
    """
    try:
        return msgspec.json.decode(unverified_line, type=Request)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RequestMalformed from None


@dataclass(slots=True)
class Inbox:
    """What one client has sent. Everything stays in one buffer, which its owner wipes.

    Attributes:
        connection: the client's socket.
        deadline_s: on the monotonic clock; a client that is slower is malformed.
        buffer: room for a request line and a PIN.
        filled: how many bytes of it are there.
    """

    connection: socket.socket
    deadline_s: float
    buffer: bytearray
    filled: int = 0

    @classmethod
    def of(cls, connection: socket.socket, within_s: float) -> Inbox:
        """Make an empty inbox for a connection that was just accepted."""
        size = MAX_REQUEST_BYTES + 1 + PIN_DIGITS
        return cls(connection, time.monotonic() + within_s, bytearray(size))

    def request(self) -> Request:
        """Wait for the request line.

        Raises:
            RequestMalformed: too long, too late, cut short, or not of the protocol.
        """
        while (end := self.buffer.find(b"\n", 0, self.filled)) < 0:
            if self.filled >= MAX_REQUEST_BYTES:
                raise RequestMalformed
            self._receive(MAX_REQUEST_BYTES - self.filled)
        request = decode_request(bytes(self.buffer[:end]))
        self._drop(end + 1)
        return request

    def pin_into(self, pin: bytearray) -> None:
        """Wait for the PIN and put it into `pin`, in place.

        Args:
            pin: `PIN_DIGITS` bytes, wiped by their owner.

        Raises:
            RequestMalformed: too late, cut short, or followed by more.
            PinMalformed: not four digits; what was sent is not read further.
        """
        self._fill_to(1)
        if self.buffer[0] != len(pin):
            raise PinMalformed
        self._fill_to(1 + len(pin))
        if self.filled > 1 + len(pin):
            raise RequestMalformed
        for place in range(len(pin)):
            pin[place] = self.buffer[1 + place]
        if not all(0x30 <= digit <= 0x39 for digit in pin):
            raise PinMalformed

    def nothing_more(self) -> None:
        """Check that nothing came after the request.

        Raises:
            RequestMalformed: something did.
        """
        if self.filled:
            raise RequestMalformed

    def _fill_to(self, count: int) -> None:
        while self.filled < count:
            self._receive(count - self.filled)

    def _receive(self, at_most: int) -> None:
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            raise RequestMalformed
        self.connection.settimeout(left_s)
        with memoryview(self.buffer) as view:
            try:
                count = self.connection.recv_into(view[self.filled : self.filled + at_most])
            except OSError:
                raise RequestMalformed from None
        if not count:
            raise RequestMalformed
        self.filled += count

    def _drop(self, count: int) -> None:
        """Move what follows to the front, leaving no second copy of a PIN behind it."""
        rest = self.filled - count
        for place in range(self.filled):
            self.buffer[place] = self.buffer[place + count] if place < rest else 0
        self.filled = rest

"""The protocol between PAM clients and the daemon, on one Unix stream socket.

One connection carries one request and one reply. `docs/protocol.md` describes it for those who
write a client; this module is what the daemon does.

    request   one line of ASCII, at most 256 bytes with its line feed:
              cps1 SP VERB SP ACCOUNT SP SERVICE LF         VERB: probe, hello, verify, code, ping
    secret    after `verify` and `code` only: one byte of length, then as many ASCII characters
    reply     at most 4096 bytes, then the daemon closes:
              RESULT SP CODE SP ATTEMPTS SP NEXT LF         the answer; ATTEMPTS a number or -
              TEXT LF                                       up to 8 lines to show, UTF-8

`probe` asks whether the card in the reader could log the account in, and costs no PIN attempt.
`hello` is `ping` and `probe` in one: the reply to `ping` comes at once, then that to `probe`.
`verify` logs in with the PIN, `code` with a one-time code of the administrator. NEXT is what
the client may ask the person for now: "pin", "code" or "-". The one reply that opens a session is
`VERIFIED_LINE`, byte for byte; a client compares it whole. A client keeps its side open until
it has the reply: one that has closed or half-closed is gone, and its PIN is dropped.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from typing import Annotated, Literal, cast

import msgspec

from cps_auth.errors import PinMalformed, RequestMalformed
from pam_helper.daemon.pam_results import PamResult

SOCKET_PATH = "/run/cps-auth/auth.sock"
VERSION = "cps1"
MAX_REQUEST_BYTES = 256
MAX_REPLY_BYTES = 4096
MAX_TEXT_LINES = 8
PIN_DIGITS = 4
"""The code porteur has exactly four digits (ANS, carte CPS; EF.AODF: min 4, max 4)."""
CODE_CHARACTERS = 12
"""Of a one-time code, see `pam_helper.accounts.one_time_codes`."""

Verb = Literal["probe", "hello", "verify", "code", "ping"]
Next = Literal["pin", "code", "-"]

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}"
Name = Annotated[str, msgspec.Meta(pattern=rf"^{_NAME}\Z")]
"""A Unix account or PAM service; nothing that a request or a log line would have to escape."""

_VERB = "probe|hello|verify|code|ping"
_REQUEST = re.compile(rf"{VERSION} ({_VERB}) ({_NAME}) ({_NAME})".encode("ascii"))


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks."""

    verb: Verb
    account: str
    service: str


@dataclass(frozen=True, slots=True)
class Reply:
    """What the daemon answers."""

    result: PamResult
    code: str  # of cps_auth.errors, or "usable", "verified", "code-accepted", "alive"
    lines: tuple[str, ...] = ()
    attempts_left: int | None = None
    next: Next = "-"


VERIFIED = Reply("PAM_SUCCESS", "verified")
VERIFIED_LINE = b"PAM_SUCCESS verified - -\n"
ALIVE = Reply("PAM_AUTHINFO_UNAVAIL", "alive")
"""The answer to `ping`: whoever takes it for the answer to something else is refused."""


def encode_reply(reply: Reply) -> bytes:
    """Return the reply as its bytes; lines to show are left out from where they do not fit."""
    attempts = "-" if reply.attempts_left is None else str(reply.attempts_left)
    encoded = f"{reply.result} {reply.code} {attempts} {reply.next}\n".encode("ascii")
    for text in reply.lines[:MAX_TEXT_LINES]:
        line = _printable(text).encode() + b"\n"
        if len(encoded) + len(line) > MAX_REPLY_BYTES:
            break
        encoded += line
    return encoded


def decode_request(unverified_line: bytes) -> Request:
    """Read a request line without its line feed, strictly.

    Raises:
        RequestMalformed: anything that is not a request of the protocol.
    """
    found = _REQUEST.fullmatch(unverified_line)
    if found is None:
        raise RequestMalformed
    verb, account, service = (part.decode("ascii") for part in found.groups())
    return Request(cast(Verb, verb), account, service)


def _printable(text: str) -> str:
    """Return text that is one line and moves nobody's cursor."""
    return "".join(character for character in text if character.isprintable())


@dataclass(slots=True)
class Inbox:
    """What one client has sent. Everything stays in one buffer, which its owner wipes.

    Attributes:
        connection: the client's socket.
        deadline_s: on the monotonic clock; a client that is slower is malformed.
        buffer: room for a request line and a secret.
        filled: how many bytes of it are there.
    """

    connection: socket.socket
    deadline_s: float
    buffer: bytearray
    filled: int = 0

    @classmethod
    def of(cls, connection: socket.socket, within_s: float) -> Inbox:
        """Make an empty inbox for a connection that was just accepted."""
        size = MAX_REQUEST_BYTES + 1 + CODE_CHARACTERS
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
        self._secret_into(pin)
        if not all(0x30 <= digit <= 0x39 for digit in pin):
            raise PinMalformed

    def code_into(self, code: bytearray) -> None:
        """Wait for a one-time code and put it into `code`, in place.

        Args:
            code: `CODE_CHARACTERS` bytes, wiped by their owner.

        Raises:
            RequestMalformed: too late, cut short, or followed by more.
            PinMalformed: of another length; what was sent is not read further.
        """
        self._secret_into(code)

    def _secret_into(self, secret: bytearray) -> None:
        self._fill_to(1)
        if self.buffer[0] != len(secret):
            raise PinMalformed
        self._fill_to(1 + len(secret))
        if self.filled > 1 + len(secret):
            raise RequestMalformed
        for place in range(len(secret)):
            secret[place] = self.buffer[1 + place]

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

"""Protocol between PAM clients and the daemon, on one Unix stream socket.

One connection carries one request and one reply. `docs/protocol.md` describes it for those who
write a client; this module is what the daemon does.

    request   one line of ASCII, at most 256 bytes with its line feed:
              cps1 SP VERB SP ACCOUNT SP SERVICE LF
    secret    after `verify`, `last` and `code` only: one byte of length, then as many characters
    reply     at most 4096 bytes, then the daemon closes:
              RESULT SP CODE SP ATTEMPTS SP NEXT LF         the answer; ATTEMPTS a number or -
              TEXT LF                                       up to 8 lines to show, UTF-8

`ask` and `require` (no password counts) return the one question to put to the person; `verify`
logs in with the PIN, `last` does so on the last attempt too, `code` with a one-time code of the
administrator. NEXT says what an answer to the question is for. The one reply that opens a session
is `VERIFIED`, byte for byte; a client compares it whole. A client keeps its side open until
it has the reply: one that has closed or half-closed is gone, and its PIN is dropped.
`ask` and `require` are answered at once by the reply to `ping`, and by their own behind it.
"""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Literal, cast, get_args

import msgspec

from cps_auth.errors import PeerNotAllowed, PinMalformed, RequestMalformed
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

Verb = Literal["ask", "require", "verify", "last", "code", "ping"]
Next = Literal["card", "card+code", "any", "any+code", "password", "-"]
SECRET_LENGTHS: dict[Verb, int] = {
    "verify": PIN_DIGITS,
    "last": PIN_DIGITS,
    "code": CODE_CHARACTERS,
}
"""Lengths of secrets, for the verbs that have one."""

_NAME = r"[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,63}"
Name = Annotated[str, msgspec.Meta(pattern=rf"^{_NAME}\Z")]
"""A Unix account or PAM service; nothing that a request or a log line would have to escape."""

_VERB = "|".join(get_args(Verb))
_REQUEST = re.compile(rf"{VERSION} ({_VERB}) ({_NAME}) ({_NAME})".encode("ascii"))


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end of the socket (SO_PEERCRED, unix(7))."""

    pid: int
    uid: int

    def executable(self) -> tuple[int, int]:
        """Return the file that it runs, by device and inode; zeros when nobody can tell."""
        with suppress(OSError):
            status = os.stat(f"/proc/{self.pid}/exe")  # noqa: PTH116 - the kernel's, followed
            return status.st_dev, status.st_ino
        return 0, 0


def peer_of(connection: socket.socket) -> Peer:
    """Return the process at the other end, as the kernel says.

    Raises:
        PeerNotAllowed: the kernel does not say.
    """
    layout = struct.Struct("3i")
    try:
        unverified = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size)
        pid, uid, _ = layout.unpack(unverified)
    except (OSError, struct.error):
        raise PeerNotAllowed from None
    return Peer(pid, uid)


def ping(path: str, within_s: float) -> Peer | None:
    """Return the process that answers on the daemon's socket, asked as by clients; None for none.

    Args:
        path: of the socket.
        within_s: how long each step may take.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(within_s)
        try:
            connection.connect(path)
            peer = peer_of(connection)
            connection.sendall(f"{VERSION} ping root watchdog\n".encode())
            reply = connection.recv(MAX_REPLY_BYTES)
        except (OSError, PeerNotAllowed):
            return None
    return peer if reply.startswith(b"PAM_AUTHINFO_UNAVAIL alive ") else None


@dataclass(frozen=True, slots=True)
class Request:
    """A client's request line."""

    verb: Verb
    account: str
    service: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The daemon's answer."""

    result: PamResult
    code: str  # of cps_auth.errors, or "question", "verified", "code-accepted", "alive"
    lines: tuple[str, ...] = ()
    attempts_left: int | None = None
    next: Next = "-"


VERIFIED = Reply("PAM_SUCCESS", "verified")
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
    shown = (one for one in text if one.isprintable() or one == "\N{NO-BREAK SPACE}")
    return "".join(shown)  # French has a no-break space before a colon


@dataclass(slots=True)
class Inbox:
    """Bytes that one client has sent. Everything stays in one buffer, which its owner wipes.

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

    def secret_of(self, request: Request) -> bytearray:
        """Wait for the secret of a request and return it; empty for a verb that has none.

        Returns:
            What was sent, which the caller wipes; it stands nowhere else.

        Raises:
            RequestMalformed: too late, cut short, or followed by more.
            PinMalformed: of another length, or a PIN that is not digits; it is read no further.
        """
        length = SECRET_LENGTHS.get(request.verb, 0)
        if length:
            self._fill_to(1)
            if self.buffer[0] != length:
                raise PinMalformed
            self._fill_to(1 + length)
        if self.filled > 1 + length or (self.filled and not length):
            raise RequestMalformed
        if length == PIN_DIGITS and not all(0x30 <= d <= 0x39 for d in self.buffer[1 : 1 + length]):
            raise PinMalformed
        secret = bytearray(length)
        for place in range(length):
            secret[place] = self.buffer[1 + place]
            self.buffer[1 + place] = 0
        return secret

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

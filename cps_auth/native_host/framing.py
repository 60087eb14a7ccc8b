"""Messages between a browser and its native host: a length in native order, then JSON.

Source: "Native messaging protocol" of Chrome's and of Firefox's extension documentation.
"""

from __future__ import annotations

import json
import os
import select
import struct
from collections.abc import Mapping
from time import monotonic

from cps_auth.errors import RequestMalformed

REQUEST_MIN_BYTES, REQUEST_MAX_BYTES = 5, 8192
"""What Web eID's native application accepts; the browsers themselves would send far more."""

REPLY_MAX_BYTES = 1024 * 1024
"""The most that a browser takes from a host."""

BEGUN_WITHIN_S = 10.0
"""Once its first byte came, a message is there within so many seconds, or never will be."""

_LENGTH = struct.Struct("=I")


def read_message(descriptor: int, *, within_s: float = BEGUN_WITHIN_S) -> bytes | None:
    """Wait for one message and return its JSON text, unverified.

    Args:
        descriptor: what the browser writes to.
        within_s: for the rest of a message, once it has begun.

    Returns:
        The text; None when the browser closed the connection between two messages.

    Raises:
        RequestMalformed: message-cut-off (it ended or stopped before its time), message-length.
    """
    first = os.read(descriptor, 1)
    if not first:
        return None
    deadline = monotonic() + within_s
    prefix = first + _read_exactly(descriptor, _LENGTH.size - 1, deadline)
    (length,) = _LENGTH.unpack(prefix)
    if not REQUEST_MIN_BYTES <= length <= REQUEST_MAX_BYTES:
        raise RequestMalformed("message-length")
    return _read_exactly(descriptor, length, deadline)


def write_message(descriptor: int, message: Mapping[str, object]) -> None:
    """Send one message.

    Args:
        descriptor: what the browser reads from.
        message: what JSON can say.

    Raises:
        RequestMalformed: reply-length, longer than a browser takes: it would end us.
        BrokenPipeError: the browser closed the connection.
    """
    text = json.dumps(message).encode()
    if len(text) > REPLY_MAX_BYTES:
        raise RequestMalformed("reply-length")
    rest = memoryview(_LENGTH.pack(len(text)) + text)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _read_exactly(descriptor: int, count: int, deadline: float) -> bytes:
    content = b""
    while len(content) < count:
        ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - monotonic()))
        more = os.read(descriptor, count - len(content)) if ready else b""
        if not more:
            raise RequestMalformed("message-cut-off")
        content += more
    return content

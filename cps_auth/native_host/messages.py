"""Native messaging: a length, then JSON, on standard input and output.

Source: Chrome, "Native messaging protocol": 32-bit length in native byte order, UTF-8 JSON.
"""

from __future__ import annotations

import json
import os
import struct
from typing import Any

from cps_auth.errors import RequestMalformed
from cps_auth.login.web_eid import read_strict_json

REQUEST_MIN_BYTES, REQUEST_MAX_BYTES = 5, 8192
"""As the Web eID application: what is outside is refused unread."""

_LENGTH = struct.Struct("=I")
_MAX_DEPTH = 4


def read_request(descriptor: int) -> dict[str, Any] | None:
    """Read one request.

    Args:
        descriptor: a pipe, read without any buffer.

    Returns:
        The request; None when the browser closed the pipe between two of them.

    Raises:
        RequestMalformed: a length that lies or is not allowed, an end in the middle, or JSON
            of which there is more than one reading. Nothing more can be read after it.
    """
    head = _read(descriptor, _LENGTH.size)
    if not head:
        return None
    if len(head) < _LENGTH.size:
        raise RequestMalformed("message-cut-off")
    (length,) = _LENGTH.unpack(head)
    if not REQUEST_MIN_BYTES <= length <= REQUEST_MAX_BYTES:
        raise RequestMalformed("message-length")
    text = _read(descriptor, length)
    if len(text) < length:
        raise RequestMalformed("message-cut-off")
    try:
        request = read_strict_json(text, max_depth=_MAX_DEPTH)
    except ValueError as error:
        raise RequestMalformed(f"message-{error}") from None
    if not isinstance(request, dict):
        raise RequestMalformed("message-not-an-object")
    return request


def write_reply(descriptor: int, reply: dict[str, Any]) -> None:
    """Write one message to the browser.

    Raises:
        BrokenPipeError: the browser is gone.
    """
    text = json.dumps(reply).encode()
    message = memoryview(_LENGTH.pack(len(text)) + text)
    while message:
        message = message[os.write(descriptor, message) :]


def _read(descriptor: int, length: int) -> bytes:
    parts = b""
    while len(parts) < length and (part := os.read(descriptor, length - len(parts))):
        parts += part
    return parts

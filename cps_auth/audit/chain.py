"""The chain of the audit journal: digests that hold each line to the one before, and seals.

A line is `{…,"digest":"D","seal":"S"}`. D is the SHA-256 of all that stands before it; the next
line's `previous` is the SHA-256 of this whole line. So a changed byte shows in its own line, a
removed, added or moved line at the next one. Whoever may write the file could compute all of this
anew: against them there is S, an HMAC under a key that is replaced by its own hash after each line
and kept nowhere. Only who has the first key (the practice, on paper) can verify seals, and nobody
who breaks in later can make those of earlier lines.

Source: the idea is that of forward secure sealing, `journalctl --setup-keys`; of journald's own,
only the system journal of one PC has the benefit, and no web application.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from typing import NamedTuple

import msgspec

from cps_auth.audit.entry import Line

BEGINNING = "0" * 64
"""Digest that the first line of a journal names as the one before."""

_SEAL_BYTES = 16
_TAIL = re.compile(rb'^(.*),"digest":"([0-9a-f]{64})"(?:,"seal":"([0-9a-f]{32})")?\}$', re.DOTALL)
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Line).decode


class ReadLine(NamedTuple):
    """A line that is what it says itself; nothing is known of its place in the chain."""

    line: Line
    digest_hex: str
    seal_hex: str | None


def write_line(line: Line, key: bytes | None) -> bytes:
    """Return a line of the journal, without its line end.

    Args:
        line: what it says.
        key: to seal it with, None while the journal has none.
    """
    body = _encode(line)[:-1]
    digest_hex = hashlib.sha256(body).hexdigest()
    seal = f',"seal":"{seal_of(digest_hex, key)}"' if key else ""
    return body + f',"digest":"{digest_hex}"{seal}}}'.encode()


def read_line(unverified: bytes) -> ReadLine:
    """Read a line, and check that it is what its digest was made of.

    Args:
        unverified: one line, without its line end.

    Raises:
        ValueError: not a line of a journal, or one that was changed.
    """
    parts = _TAIL.match(unverified)
    if parts is None:
        raise ValueError("not a line of the journal")
    body, digest_hex, seal_hex = parts[1], parts[2].decode(), parts[3]
    if hashlib.sha256(body).hexdigest() != digest_hex:
        raise ValueError("changed")
    try:
        line = _decode(body + b"}")
    except msgspec.MsgspecError as error:
        raise ValueError(f"not understood: {error}") from None
    return ReadLine(line, digest_hex, seal_hex.decode() if seal_hex else None)


def digest_of(whole_line: bytes) -> str:
    """Return what the next line names as `previous`."""
    return hashlib.sha256(whole_line).hexdigest()


def seal_of(digest_hex: str, key: bytes) -> str:
    """Return the seal of a line."""
    return hmac.digest(key, digest_hex.encode(), "sha256")[:_SEAL_BYTES].hex()


def next_key(key: bytes) -> bytes:
    """Return the key of the next line; this one is to be forgotten."""
    return hashlib.sha256(b"cps-auth audit journal" + key).digest()


def new_key() -> bytes:
    """Return a first key."""
    return os.urandom(32)


def key_text(key: bytes) -> str:
    """Return a key as it is shown once, to be kept on paper."""
    text = base64.b32encode(key).decode().rstrip("=")
    return "-".join(text[at : at + 4] for at in range(0, len(text), 4))


def key_from_text(text: str) -> bytes:
    """Return the key that somebody typed from paper.

    Raises:
        ValueError: not one.
    """
    plain = re.sub(r"[\s-]", "", text).upper()
    key = base64.b32decode(plain + "=" * (-len(plain) % 8))
    if len(key) != 32:
        raise ValueError("not a key of 32 bytes")
    return key


def key_name(key: bytes) -> str:
    """Return what the journal calls a first key by; tells nothing of it."""
    return hashlib.sha256(b"name" + key).hexdigest()[:16]

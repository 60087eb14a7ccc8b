"""Calls PC/SC, and nothing else does: pyscard's C-level wrapper, and three calls beside it.

pyscard's own monitors end silently when pcscd does, so they are not used. The three calls that take
readers' names go to the library itself: pyscard's take only ASCII, or fail for all readers at once
where one has a name that is not UTF-8. A name is bytes there; here it is text that every
store, page and log takes: bytes that are not UTF-8 are written in hexadecimal, such as \\xb0.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

from cps_auth.errors import ConfigurationError, ReaderServiceLost

try:
    from smartcard import scard as scard
except ImportError as missing:
    raise ConfigurationError("pyscard is missing: install cps-auth[pcsc]") from missing

PROTOCOLS = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1

MOST_STATES: Final = 16
"""How many readers one SCardGetStatusChange takes: PCSCLITE_MAX_READERS_CONTEXTS."""
_LIBRARY: Final = "libpcsclite.so.1"
_MAX_ATR_BYTES: Final = 33  # pcsclite.h
_DWORD, _CONTEXT = ctypes.c_ulong, ctypes.c_long  # wintypes.h and pcsclite.h, on Linux
_WRITTEN_BYTE: Final = re.compile(rb"\\x([89a-f][0-9a-f])")
_LIST_TRIES: Final = 3  # readers may come between asking for the length and for the names
_INSUFFICIENT_BUFFER: Final = 0x80100008
_SOCKET: Final = "/run/pcscd/pcscd.comm"  # pcscd(8)
_HANGS_UP_WITHIN_S: Final = 1.0  # polkit was asked by then


class State(NamedTuple):
    """The state of one reader in PC/SC: SCARD_READERSTATE."""

    name: str
    flags: int  # SCARD_STATE_ in the lower half, the count of events in the upper one
    atr: bytes


class _ReaderState(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("user_data", ctypes.c_void_p),
        ("current", _DWORD),
        ("event", _DWORD),
        ("atr_length", _DWORD),
        ("atr", ctypes.c_ubyte * _MAX_ATR_BYTES),
    )


def hangs_up_unasked() -> bool:
    """Return whether pcscd ends a connection on which it was asked nothing: polkit said no."""
    import socket  # here: where all goes well nobody needs it

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_HANGS_UP_WITHIN_S)
        try:
            probe.connect(os.environ.get("PCSCLITE_CSOCK_NAME", _SOCKET))
            return probe.recv(1) == b""
        except OSError:  # nobody is there, or waits for what we want
            return False


def list_readers(context: int) -> tuple[int, list[str]]:
    """Return the code of SCardListReaders and the names of all readers."""
    call = _call("SCardListReaders")
    for _ in range(_LIST_TRIES):
        length = _DWORD(0)
        code = call(_CONTEXT(context), None, None, ctypes.byref(length))
        if code:
            return code, []
        buffer = ctypes.create_string_buffer(max(1, length.value))
        code = call(_CONTEXT(context), None, buffer, ctypes.byref(length))
        if code & 0xFFFFFFFF != _INSUFFICIENT_BUFFER:
            break
    names = buffer.raw[: length.value].split(b"\0") if code == 0 else []
    return code, [_text(name) for name in names if name]


def get_status_change(
    context: int, timeout_ms: int, expected: Sequence[tuple[str, int]]
) -> tuple[int, list[State]]:
    """Return the code of SCardGetStatusChange and what it says of each reader.

    Args:
        context: of SCardEstablishContext.
        timeout_ms: how long to wait for a difference.
        expected: names, each with the state that is known; at most MOST_STATES.
    """
    states = (_ReaderState * len(expected))()
    for state, (name, flags) in zip(states, expected, strict=True):
        state.name, state.current = _bytes(name), flags
    call = _call("SCardGetStatusChange")
    code = call(_CONTEXT(context), _DWORD(timeout_ms), states, _DWORD(len(expected)))
    told = [
        State(name, state.event, bytes(state.atr[: min(state.atr_length, _MAX_ATR_BYTES)]))
        for state, (name, _) in zip(states, expected, strict=True)
    ]
    return code, told


def connect(context: int, reader: str) -> tuple[int, int, int]:
    """Return the code of SCardConnect, shared; the handle; and the protocol that is used."""
    handle, protocol = ctypes.c_long(0), _DWORD(0)
    code = _call("SCardConnect")(
        _CONTEXT(context),
        _bytes(reader),
        _DWORD(scard.SCARD_SHARE_SHARED),
        _DWORD(PROTOCOLS),
        ctypes.byref(handle),
        ctypes.byref(protocol),
    )
    return code, handle.value, protocol.value


def _call(name: str) -> ctypes._NamedFuncPointer:
    """Return a function of pcsc-lite, which pyscard has loaded.

    Raises:
        ReaderServiceLost: there is no such library, or no such function in it.
    """
    try:
        return getattr(ctypes.CDLL(_LIBRARY), name)  # type: ignore[no-any-return]  # a function
    except (OSError, AttributeError) as missing:
        raise ReaderServiceLost(f"{_LIBRARY}: {missing}", "not-running") from None


def _text(name: bytes) -> str:
    return name.decode(errors="backslashreplace")


def _bytes(name: str) -> bytes:
    name_bytes = _WRITTEN_BYTE.sub(lambda byte: bytes.fromhex(byte[1].decode()), name.encode())
    return name_bytes if _text(name_bytes) == name else name.encode()

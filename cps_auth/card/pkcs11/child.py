"""The process that loads a vendor's PKCS#11 module: `python -I -m cps_auth.card.pkcs11.child`.

The module is foreign C code: it may crash, hang, print, or keep the PIN. Here it can do so
without harm: this process answers one parent over two pipes, sees one PIN at most, and ends. The
PIN is received into a bytearray, handed to C_Login from that very buffer, and wiped.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
from io import FileIO
from typing import Final, NoReturn

import msgspec

from cps_auth.card.pkcs11 import wire
from cps_auth.card.pkcs11.module import Module

_DETAIL_CHARACTERS_AT_MOST: Final = 200
_NOT_LOADED: Final = "OS exception while loading "  # python-pkcs11, before the path
_MEMORY_LIMIT_BYTES: Final = 2 << 30  # an attribute of absurd size fails instead of swapping
_NO_CORE_DUMP: Final = 1
"""It would hold the PIN. At 0 Linux still pipes it to a collector, at 1 not (fs/coredump.c)."""


def _serve_one(module: Module, request: wire.Question, requests: FileIO) -> wire.Reply:
    codes = [wire.read_frame(requests) for _ in range(wire.codes_after(request))]
    try:
        match request:
            case wire.ListSlots():
                return module.slots()
            case wire.ReadToken():
                return module.token(request)
            case wire.ReadPublicObjects():
                return module.public_objects(request)
            case wire.VerifyAndSign():
                return module.verify_and_sign(request, codes)
            case wire.ChangePin():
                return module.change_pin(request, codes)
            case wire.Unblock():
                return module.unblock(request, codes)
    except Exception as failure:
        # Whatever a vendor's module makes the binding raise is one answer: its name.
        return wire.Failed(type(failure).__name__)
    finally:
        for code in codes:
            code[:] = bytes(len(code))


def _serve(module: Module, requests: FileIO, replies: FileIO, deadline_s: int) -> None:
    decoder = msgspec.msgpack.Decoder(wire.Question | wire.Idle)
    signal.alarm(wire.IDLE_S)
    while True:
        request = decoder.decode(wire.read_frame(requests))
        if isinstance(request, wire.Idle):
            signal.alarm(wire.IDLE_S)
            continue
        signal.alarm(deadline_s)  # ends a hung module even when the parent has died
        reply = _serve_one(module, request, requests)
        signal.alarm(0)
        wire.write_message(replies, reply)


def _private_pipes() -> tuple[FileIO, FileIO]:
    """Keep the pipes for ourselves: a module that prints or reads finds /dev/null."""
    requests = FileIO(os.dup(0), "r")
    replies = FileIO(os.dup(1), "w")
    with FileIO(os.devnull, "r+") as nowhere:
        os.dup2(nowhere.fileno(), 0)
        os.dup2(nowhere.fileno(), 1)
    return requests, replies


def _harden() -> None:
    """Leave no core dump, and take no more memory than a module may need."""
    _limit(resource.RLIMIT_CORE, _NO_CORE_DUMP)
    _limit(resource.RLIMIT_AS, _MEMORY_LIMIT_BYTES)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))


def main(arguments: list[str]) -> NoReturn:
    """Serve one parent until it closes the pipe; load the module when it says so.

    Args:
        arguments: path of the module, and the longest time that one request may take, whole
            seconds.
    """
    path, deadline_s = arguments[0], int(arguments[1])
    _harden()
    requests, replies = _private_pipes()
    try:
        msgspec.msgpack.decode(wire.read_frame(requests), type=wire.Load)
    except EOFError:
        os._exit(0)  # a spare that nobody needed
    signal.alarm(deadline_s)
    try:
        module = Module(path)
    except Exception as failure:
        name, said = type(failure).__name__, str(failure)
        if said.startswith(_NOT_LOADED):  # what the system says begins with the path again
            name, said = "", said.removeprefix(_NOT_LOADED).partition(": ")[2]
        detail = said[-_DETAIL_CHARACTERS_AT_MOST:]  # what it is comes after the path
        wire.write_message(replies, wire.Failed(name, detail))
        os._exit(1)
    wire.write_message(replies, wire.Ready())
    try:
        _serve(module, requests, replies, deadline_s)
    except (EOFError, OSError):
        signal.alarm(deadline_s)
        module.finalize()
    finally:
        os._exit(0)  # the binding would unload the module, which some do not survive


if __name__ == "__main__":
    main(sys.argv[1:])

"""The process that loads a vendor's PKCS#11 module: `python -I -m cps_auth.card.pkcs11.child`.

The module is foreign C code: it may crash, hang, print, or keep the PIN. Here it can do so
without harm: this process answers one parent over two pipes, sees one PIN at most, and ends. The
PIN is received into a bytearray, handed to C_Login from that very buffer, and wiped.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from io import FileIO
from typing import Final, NoReturn

import msgspec

from cps_auth.card.pkcs11 import wire
from cps_auth.card.pkcs11.confinement import harden, private_pipes
from cps_auth.card.pkcs11.module import Module

_DETAIL_CHARACTERS_AT_MOST: Final = 200


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
    finally:
        for code in codes:
            code[:] = bytes(len(code))


def _attempt(work: Callable[[], wire.Reply]) -> wire.Reply:
    try:
        return work()
    except EOFError:
        raise
    except Exception as failure:
        # Whatever a vendor's module makes the binding raise is one answer: its name.
        return wire.Failed(type(failure).__name__)


def _serve(module: Module, requests: FileIO, replies: FileIO, deadline_s: int) -> None:
    decoder = msgspec.msgpack.Decoder(wire.Request)
    signal.alarm(wire.IDLE_S)
    while True:
        request = decoder.decode(wire.read_frame(requests))
        if isinstance(request, wire.Idle):
            signal.alarm(wire.IDLE_S)
            continue
        signal.alarm(deadline_s)  # ends a hung module even when the parent has died
        reply = _attempt(partial(_serve_one, module, request, requests))
        signal.alarm(0)
        wire.write_message(replies, reply)


def main(arguments: list[str]) -> NoReturn:
    """Serve one parent until it closes the pipe.

    Args:
        arguments: path of the module, and the longest time that one request may take, whole
            seconds.
    """
    path, deadline_s = arguments[0], int(arguments[1])
    harden()
    requests, replies = private_pipes()
    signal.alarm(deadline_s)
    try:
        module = Module(path)
    except Exception as failure:
        detail = str(failure)[-_DETAIL_CHARACTERS_AT_MOST:]  # what it is comes after the path
        wire.write_message(replies, wire.Failed(type(failure).__name__, detail))
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

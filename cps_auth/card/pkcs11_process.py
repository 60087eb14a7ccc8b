"""The parent's end of the module's child process: start, ask with a deadline, end.

The only module of the library that starts a process.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import IO, Final

import msgspec

from cps_auth.card import pkcs11_wire as wire
from cps_auth.errors import ModuleUnusable

_FAREWELL_S: Final = 1.0  # for C_Finalize, once the pipe is closed
_ALARM_MARGIN_S: Final = 2  # the child's own alarm is for a parent that died: after our deadline


class ModuleProcess:
    """One vendor module, freshly initialised, in one child process of ours."""

    def __init__(self, module: Path, *, open_deadline_s: float, longest_deadline_s: float) -> None:
        """Start the child and wait until the module is initialised.

        Args:
            module: the shared library.
            open_deadline_s: for loading and C_Initialize.
            longest_deadline_s: the longest deadline that `ask` will be given.

        Raises:
            ModuleUnusable: it cannot be loaded, crashed or did not answer in time.
        """
        self._child = _spawn(module, int(longest_deadline_s) + _ALARM_MARGIN_S)
        self._decoder: msgspec.msgpack.Decoder[wire.Reply] = msgspec.msgpack.Decoder(wire.Reply)
        self._expect_ready(open_deadline_s)

    def ask(
        self, request: wire.Request, *, deadline_s: float, codes: Sequence[bytearray] = ()
    ) -> wire.Reply:
        """Send one request and return its answer. After an error the child has ended.

        Args:
            request: what is asked.
            deadline_s: after so many seconds the child is killed.
            codes: PIN and PUK that follow the request; written to the pipe from these buffers.

        Raises:
            ModuleUnusable: it crashed, did not answer in time, or answered nonsense.
        """
        try:
            self._send(msgspec.msgpack.encode(request))
            for code in codes:
                self._send(code)
            return self._receive(monotonic() + deadline_s)
        except (OSError, EOFError, TimeoutError, msgspec.MsgspecError) as failure:
            raise ModuleUnusable(self._kill_and_say_why(failure)) from None

    def stop(self) -> None:
        """End the child: politely, then by force. Never raises, may be called twice."""
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._child.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def _expect_ready(self, deadline_s: float) -> None:
        try:
            reply = self._receive(monotonic() + deadline_s)
        except (OSError, EOFError, TimeoutError, msgspec.MsgspecError) as failure:
            raise ModuleUnusable(self._kill_and_say_why(failure)) from None
        except BaseException:
            self._kill()
            raise
        if not isinstance(reply, wire.Ready):
            self._kill()
            raise ModuleUnusable(_why_not_ready(reply))

    def _send(self, payload: bytes | bytearray) -> None:
        # Frames of ours are far smaller than a pipe's buffer: a stopped child cannot block us.
        pipe = _fileno(self._child.stdin)
        os.write(pipe, wire.length_prefix(payload))
        os.write(pipe, payload)

    def _receive(self, until: float) -> wire.Reply:
        length = wire.payload_length(self._read_exactly(wire.LENGTH_BYTES, until))
        if length is None:
            raise msgspec.DecodeError("oversized answer")
        return self._decoder.decode(self._read_exactly(length, until))

    def _read_exactly(self, count: int, until: float) -> bytearray:
        pipe = _fileno(self._child.stdout)
        readable = select.poll()
        readable.register(pipe, select.POLLIN)
        data = bytearray()
        while len(data) < count:
            if not readable.poll(max(0.0, until - monotonic()) * 1000):
                raise TimeoutError
            chunk = os.read(pipe, count - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def _kill_and_say_why(self, failure: Exception) -> str:
        if isinstance(failure, TimeoutError):
            self._kill()
            return "no answer in time"
        if isinstance(failure, msgspec.MsgspecError):
            self._kill()
            return "answered nonsense"
        status = self._kill()
        return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"

    def _kill(self) -> int:
        """Kill the child unless it ended by itself just now, and return its exit status."""
        try:
            status = self._child.wait(0.1)
        except subprocess.TimeoutExpired:
            self._child.kill()
            status = self._child.wait()
        self.stop()
        return status


def _spawn(module: Path, alarm_s: int) -> subprocess.Popen[bytes]:
    # -I: nothing of the caller's PYTHON* variables or current folder is imported.
    command = [sys.executable, "-I", "-m", "cps_auth.card.pkcs11_child"]
    try:
        return subprocess.Popen(  # noqa: S603  # our own module, no shell
            [*command, os.fspath(module.absolute()), str(alarm_s)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # a module's debug trace may hold the PIN
            start_new_session=True,  # Ctrl-C is for the parent, which then closes the pipe
        )
    except OSError as failure:
        raise ModuleUnusable(f"no process for it: {failure.strerror}") from None


def _why_not_ready(reply: wire.Reply) -> str:
    if isinstance(reply, wire.Failed):
        return ": ".join(part for part in (reply.name, reply.detail) if part)
    return "answered nonsense"


def _fileno(pipe: IO[bytes] | None) -> int:
    if pipe is None or pipe.closed:
        raise EOFError
    return pipe.fileno()

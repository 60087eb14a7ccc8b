"""The parent's end of the module's child process: ask with a deadline, end."""

from __future__ import annotations

import os
import select
from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import Final, Self

import msgspec

from cps_auth.card.pkcs11 import wire
from cps_auth.card.pkcs11.process_starters import StartChild, start_child
from cps_auth.errors import ModuleUnusable

_FAREWELL_S: Final = 1.0  # for C_Finalize, once the pipe is closed
_ALARM_MARGIN_S: Final = 2  # the child's own alarm is for a parent that died: after our deadline


class ModuleProcess:
    """One vendor module, freshly initialised, in one child process of ours."""

    def __init__(
        self,
        module: Path,
        *,
        open_deadline_s: float,
        longest_deadline_s: float,
        start: StartChild = start_child,
    ) -> None:
        """Start the child. It is of use once it is `ready`.

        Args:
            module: the shared library.
            open_deadline_s: for loading and C_Initialize, from now.
            longest_deadline_s: the longest deadline that `ask` will be given.
            start: makes the child process.

        Raises:
            ModuleUnusable: the system gives no process.
        """
        self._child = start(module, int(longest_deadline_s) + _ALARM_MARGIN_S)
        self._decoder: msgspec.msgpack.Decoder[wire.Reply] = msgspec.msgpack.Decoder(wire.Reply)
        self._ready_until_s = monotonic() + open_deadline_s
        self._is_ready = self._is_stopped = False

    def ready(self) -> Self:
        """Wait until the module is loaded and initialised, and return this process.

        Raises:
            ModuleUnusable: it cannot be loaded, crashed or did not answer in time.
        """
        if not self._is_ready:
            self._expect_ready()
            self._is_ready = True
        return self

    def is_alive(self) -> bool:
        """Tell whether the child runs."""
        return not self._is_stopped and self._child.wait(0) is None

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
            self._send(msgspec.msgpack.encode(request), *codes)
            return self._receive(monotonic() + deadline_s)
        except (OSError, EOFError, TimeoutError, msgspec.MsgspecError) as failure:
            raise ModuleUnusable(self._kill_and_say_why(failure)) from None

    def rest(self) -> None:
        """Tell the child that nobody asks anything now: it ends itself after `wire.IDLE_S`.

        Raises:
            ModuleUnusable: it has ended.
        """
        try:
            self._send(msgspec.msgpack.encode(wire.Idle()))
        except (OSError, EOFError) as failure:
            raise ModuleUnusable(self._kill_and_say_why(failure)) from None

    def stop(self) -> None:
        """End the child: politely, then by force. Never raises, may be called twice."""
        self._is_stopped = True
        self._child.close_pipes()
        if self._child.wait(_FAREWELL_S) is None:
            self._child.kill()
            self._child.wait()

    def _expect_ready(self) -> None:
        try:
            reply = self._receive(self._ready_until_s)
        except (OSError, EOFError, TimeoutError, msgspec.MsgspecError) as failure:
            raise ModuleUnusable(self._kill_and_say_why(failure)) from None
        except BaseException:
            self._kill()
            raise
        if not isinstance(reply, wire.Ready):
            self._kill()
            raise ModuleUnusable(_why_not_ready(reply))

    def _send(self, *payloads: bytes | bytearray) -> None:
        # Frames of ours are far smaller than a pipe's buffer: a stopped child cannot block us,
        # and all of them are written. From the PIN's own buffer: no copy is made.
        self._require_pipes()
        frames = ((wire.length_prefix(payload), payload) for payload in payloads)
        os.writev(self._child.requests, [part for frame in frames for part in frame])

    def _receive(self, until: float) -> wire.Reply:
        length = wire.payload_length(self._read_exactly(wire.LENGTH_BYTES, until))
        if length is None:
            raise msgspec.DecodeError("oversized answer")
        return self._decoder.decode(self._read_exactly(length, until))

    def _read_exactly(self, count: int, until: float) -> bytearray:
        self._require_pipes()
        pipe = self._child.replies
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
        status = self._child.wait(0.1)
        if status is None:
            self._child.kill()
            status = self._child.wait()
        self.stop()
        return status or 0

    def _require_pipes(self) -> None:
        if self._is_stopped:
            raise EOFError


def _why_not_ready(reply: wire.Reply) -> str:
    if isinstance(reply, wire.Failed):
        return ": ".join(part for part in (reply.name, reply.detail) if part)
    return "answered nonsense"

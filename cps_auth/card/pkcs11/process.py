"""The parent's end of a module's child process: start, ask with a deadline, end."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Final, Self

import msgspec

from cps_auth.card.pkcs11 import wire
from cps_auth.errors import ModuleUnusable

_FAREWELL_S: Final = 1.0  # for C_Finalize, once the pipe is closed
_LOOKS_EVERY_S: Final = 0.002  # whether it has ended
_ALARM_MARGIN_S: Final = 2  # the child's own alarm is for a parent that died: after our deadline


class ModuleProcess:
    """One child process of ours: it imports what it needs, and loads the module when told to."""

    def __init__(self, module: Path, *, open_deadline_s: float, sign_deadline_s: float) -> None:
        """Start the child. It is of use once it is `ready`.

        Args:
            module: the shared library.
            open_deadline_s: for loading it, and for each question that needs no PIN.
            sign_deadline_s: for each one that comes with a PIN.

        Raises:
            ModuleUnusable: there is no such file, or the system gives no process.
        """
        _require_file(module)
        alarm_s = int(max(open_deadline_s, sign_deadline_s)) + _ALARM_MARGIN_S
        self._process, self._requests, self._replies = _start(module.absolute(), alarm_s)
        self._close_pipes = weakref.finalize(self, _close_all, (self._requests, self._replies))
        self._decoder: msgspec.msgpack.Decoder[wire.Reply] = msgspec.msgpack.Decoder(wire.Reply)
        self._open_deadline_s = open_deadline_s
        self._sign_deadline_s = sign_deadline_s
        self._owner_pid = os.getpid()
        self._is_stopped = False

    @property
    def is_ours(self) -> bool:
        """Return whether this process started it, not the one that this was forked from."""
        return self._owner_pid == os.getpid()

    def is_alive(self) -> bool:
        """Return whether the child runs; of one that has ended nothing is left then."""
        if not self.is_ours or self._is_stopped:
            return False
        if self._has_ended():
            self._end_session(0)
            return False
        return True

    def ready(self) -> Self:
        """Have the module loaded and initialised, and return this process.

        Raises:
            ModuleUnusable: it cannot be loaded, crashed or did not answer in time.
        """
        reply = self.ask(wire.Load())
        if not isinstance(reply, wire.Ready):
            self._kill()
            raise ModuleUnusable(_why_not_ready(reply))
        return self

    def ask(self, request: wire.Request, codes: Sequence[bytearray] = ()) -> wire.Reply:
        """Send one request and return its answer. After an error the child has ended.

        Args:
            request: what is asked.
            codes: PIN and PUK that follow the request; written to the pipe from these buffers.

        Raises:
            ModuleUnusable: it crashed, did not answer in time, or answered nonsense.
        """
        has_pin = isinstance(request, wire.WithPin)
        deadline_s = self._sign_deadline_s if has_pin else self._open_deadline_s
        return self._or_why(lambda: self._exchange(request, codes, monotonic() + deadline_s))

    def idle(self) -> None:
        """Send the child an idle notice: it ends itself after `wire.IDLE_S`.

        Raises:
            ModuleUnusable: it has ended.
        """
        self._or_why(lambda: self._send(msgspec.msgpack.encode(wire.Idle())))

    def stop(self) -> None:
        """End the child: politely, then by force. Never raises, may be called twice."""
        self._is_stopped = True
        self._close_pipes()
        if self.is_ours:
            self._end_session(_FAREWELL_S)

    def _or_why(self, talk: Callable[[], wire.Reply | None]) -> wire.Reply:
        try:
            return talk() or wire.Done()
        except (OSError, EOFError, TimeoutError, msgspec.MsgspecError) as failure:
            raise ModuleUnusable(self._kill_and_say_why(failure)) from None
        except BaseException:
            self._kill()
            raise

    def _exchange(
        self, request: wire.Request, codes: Sequence[bytearray], until_s: float
    ) -> wire.Reply:
        self._send(msgspec.msgpack.encode(request), *codes)
        length = wire.payload_length(self._read_exactly(wire.LENGTH_BYTES, until_s))
        if length is None:
            raise msgspec.DecodeError("oversized answer")
        return self._decoder.decode(self._read_exactly(length, until_s))

    def _send(self, *payloads: bytes | bytearray) -> None:
        # Frames of ours are far smaller than a pipe's buffer: a stopped child cannot block us,
        # and all of them are written. From the PIN's own buffer: no copy is made.
        self._require_pipes()
        frames = ((wire.length_prefix(payload), payload) for payload in payloads)
        os.writev(self._requests, [part for frame in frames for part in frame])

    def _read_exactly(self, count: int, until_s: float) -> bytearray:
        self._require_pipes()
        readable = select.poll()
        readable.register(self._replies, select.POLLIN)
        data = bytearray()
        while len(data) < count:
            if not readable.poll(max(0.0, until_s - monotonic()) * 1000):
                raise TimeoutError
            chunk = os.read(self._replies, count - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return data

    def _kill_and_say_why(self, failure: Exception) -> str:
        status = self._kill()
        if isinstance(failure, TimeoutError):
            return "no answer in time"
        if isinstance(failure, msgspec.MsgspecError):
            return "answered nonsense"
        return f"ended by signal {-status}" if status < 0 else f"ended with status {status}"

    def _kill(self) -> int:
        """Kill the child unless it ended by itself just now, and return its exit status."""
        if self.is_ours:
            self._end_session(0.1)
        self.stop()
        return self._process.returncode or 0

    def _end_session(self, farewell_s: float) -> None:
        """End the child, and what its module forked and left behind in its session."""
        until_s = monotonic() + farewell_s
        while not self._has_ended() and monotonic() < until_s:
            sleep(_LOOKS_EVERY_S)
        if self._process.returncode is None:  # not waited for yet: the number is still its own
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _has_ended(self) -> bool:
        """Return whether the child has ended, without waiting for it."""
        if self._process.returncode is not None:
            return True
        try:
            ended = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # somebody else in this process waited for it
            return self._process.poll() is not None
        return ended is not None

    def _require_pipes(self) -> None:
        if self._is_stopped:
            raise EOFError


def _start(module: Path, alarm_s: int) -> tuple[subprocess.Popen[bytes], int, int]:
    """Start the process; return it, where its requests are written and its replies read."""
    requests, ours_to_write, ours_to_read, replies = _two_pipes()
    program = "cps_auth.card.pkcs11.child"
    try:
        # -I: nothing of the caller's PYTHON* variables or current folder is imported.
        process = subprocess.Popen(  # noqa: S603  # our own module, no shell
            [sys.executable, "-I", "-m", program, os.fspath(module), str(alarm_s)],
            stdin=requests,
            stdout=replies,
            stderr=subprocess.DEVNULL,  # a module's debug trace may hold the PIN
            start_new_session=True,  # Ctrl-C is for the parent, which then closes the pipe
        )
    except OSError as failure:
        _close_all((ours_to_write, ours_to_read))
        raise ModuleUnusable(f"no process for it: {failure.strerror}") from None
    finally:
        _close_all((requests, replies))
    return process, ours_to_write, ours_to_read


def _two_pipes() -> tuple[int, int, int, int]:
    first: tuple[int, ...] = ()
    try:
        first = os.pipe()
        return *first, *os.pipe()
    except OSError as failure:
        _close_all(first)
        raise ModuleUnusable(f"no process for it: {failure.strerror}") from None


def _require_file(module: Path) -> None:
    try:
        module.stat()
    except OSError as error:
        path = os.fsencode(module).decode(errors="backslashreplace")
        raise ModuleUnusable(f"{path}: {error.strerror}", "missing") from None


def _close_all(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _why_not_ready(reply: wire.Reply) -> str:
    if isinstance(reply, wire.Failed):
        return ": ".join(part for part in (reply.name, reply.detail) if part)
    return "answered nonsense"

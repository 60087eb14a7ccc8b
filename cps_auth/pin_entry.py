"""Reads a PIN from a person or a pipe into a buffer that its reader wipes.

Nothing here makes a `str` or `bytes` of it: those cannot be wiped.
"""

from __future__ import annotations

import contextlib
import locale
import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from types import FrameType

from cps_auth.errors import PinEntryCancelled

_BUFFER_BYTES = 64
"""Longer than any PIN; what is longer is not one."""
_LINE_FEED, _CARRIAGE_RETURN = 0x0A, 0x0D

_Handler = Callable[[int, FrameType | None], object] | signal.Handlers

_ENDS = (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM)
"""What ends a program at once unless it says otherwise; Ctrl-C raises KeyboardInterrupt."""


class _EndedBySignal(BaseException):
    """A signal that ends the program came while a terminal did not echo."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def pin_from_pipe(descriptor: int = 0) -> Iterator[bytearray]:
    """Read one line from a pipe; the buffer is wiped when the block ends.

    Args:
        descriptor: file descriptor to read from, standard input by default.

    Raises:
        PinEntryCancelled: nothing came, or it cannot be read.
    """
    try:
        line = _read_line(descriptor)
    except OSError:
        raise PinEntryCancelled from None
    with _wiped(line) as pin:
        yield pin


@contextlib.contextmanager
def pin_from_terminal(prompt: str) -> Iterator[bytearray]:
    """Ask on the controlling terminal, without echo; the buffer is wiped when the block ends.

    The terminal echoes again whatever happens meanwhile: a signal that ends the program does so
    afterwards, and one that stops it (Ctrl-Z) finds the terminal as it was; the question is asked
    anew when the program goes on.

    Args:
        prompt: what to write before it.

    Raises:
        PinEntryCancelled: there is no terminal, or the person gave up.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        raise PinEntryCancelled from None
    asked = prompt.encode(locale.getpreferredencoding(do_setlocale=False), "replace")
    try:
        line = _ask(terminal, asked)
    except (KeyboardInterrupt, OSError, termios.error):
        raise PinEntryCancelled from None
    except _EndedBySignal as ended:
        os.kill(os.getpid(), ended.number)  # by the handler that was there before: the end, mostly
        raise PinEntryCancelled from None
    finally:
        os.close(terminal)
    with _wiped(line) as pin:
        yield pin


def wipe(pin: bytearray) -> None:
    """Overwrite a PIN in place. A binding that made copies of its own keeps them."""
    pin[:] = bytes(len(pin))


@contextlib.contextmanager
def _wiped(pin: bytearray) -> Iterator[bytearray]:
    try:
        if not pin:
            raise PinEntryCancelled
        yield pin
    finally:
        wipe(pin)


def _ask(terminal: int, prompt: bytes) -> bytearray:
    """Ask for a line, and read it without echo.

    Raises:
        _EndedBySignal, KeyboardInterrupt: instead of a line; the terminal echoes again.
        OSError, termios.error: the terminal is gone.
    """
    echoing = termios.tcgetattr(terminal)
    silent = list(echoing)
    silent[3] &= ~termios.ECHO

    def ask() -> None:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
        os.write(terminal, prompt)

    def echo() -> None:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, echoing)

    def stop(number: int, _frame: FrameType | None) -> None:
        echo()
        with _handled({number: signal.SIG_DFL}):
            os.kill(os.getpid(), number)  # this returns when the program goes on
        ask()

    with _handled({**dict.fromkeys(_ENDS, _end), signal.SIGTSTP: stop}):
        try:
            ask()
            return _read_line(terminal)
        finally:
            with contextlib.suppress(OSError, termios.error):
                echo()
                os.write(terminal, b"\n")


def _end(number: int, _frame: FrameType | None) -> None:
    raise _EndedBySignal(number)


@contextlib.contextmanager
def _handled(handlers: Mapping[int, _Handler]) -> Iterator[None]:
    """Handle signals in our way for a while; what is ignored stays ignored (nohup).

    Python hears signals in the main thread only, so in another one nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with contextlib.ExitStack() as afterwards:
        for number, handler in handlers.items():
            before = signal.getsignal(number)
            if before is not signal.SIG_IGN:
                afterwards.callback(signal.signal, number, before)
                signal.signal(number, handler)
        yield


def _read_line(descriptor: int) -> bytearray:
    """Read up to a line feed, the end or the buffer's size, one byte at a time, in place.

    Returns:
        The line without its end (LF, or CR LF), in a buffer of its own size: one that is cut
        shorter in place may be moved, and leaves a copy where it was.

    Raises:
        OSError: it cannot be read.
    """
    if sys.stdout is not None:
        sys.stdout.flush()
    buffer, length = bytearray(_BUFFER_BYTES), 0
    try:
        with memoryview(buffer) as view:
            while length < _BUFFER_BYTES and os.readv(descriptor, [view[length : length + 1]]):
                if buffer[length] == _LINE_FEED:
                    break
                length += 1
        if length and buffer[length - 1] == _CARRIAGE_RETURN:
            length -= 1
        return buffer[:length]
    finally:
        wipe(buffer)

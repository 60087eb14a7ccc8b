"""Reads a PIN from a person or a pipe into a buffer that its reader wipes.

Nothing here makes a `str` or `bytes` of it: those cannot be wiped.
"""

from __future__ import annotations

import contextlib
import os
import sys
import termios
from collections.abc import Iterator

from cps_auth.errors import PinEntryCancelled

_BUFFER_BYTES = 64
"""Longer than any PIN; what is longer is not one."""
_LINE_FEED, _CARRIAGE_RETURN = 0x0A, 0x0D


@contextlib.contextmanager
def pin_from_pipe(descriptor: int = 0) -> Iterator[bytearray]:
    """Read one line from a pipe; the buffer is wiped when the block ends.

    Args:
        descriptor: file descriptor to read from, standard input by default.

    Raises:
        PinEntryCancelled: nothing came.
    """
    with _wiped(_read_line(descriptor)) as pin:
        yield pin


@contextlib.contextmanager
def pin_from_terminal(prompt: str) -> Iterator[bytearray]:
    """Ask on the controlling terminal, without echo; the buffer is wiped when the block ends.

    Args:
        prompt: what to write before it.

    Raises:
        PinEntryCancelled: there is no terminal, or the person gave up.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        raise PinEntryCancelled from None
    try:
        with _no_echo(terminal):
            os.write(terminal, prompt.encode())
            try:
                line = _read_line(terminal)
            except KeyboardInterrupt:
                raise PinEntryCancelled from None
            finally:
                os.write(terminal, b"\n")
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


@contextlib.contextmanager
def _no_echo(terminal: int) -> Iterator[None]:
    saved = termios.tcgetattr(terminal)
    silent = list(saved)
    silent[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSAFLUSH, silent)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSAFLUSH, saved)


def _read_line(descriptor: int) -> bytearray:
    """Read up to a line feed, the end or the buffer's size, one byte at a time, in place.

    Returns:
        The line without its end (LF, or CR LF), in a buffer of its own size: one that is cut
        shorter in place may be moved, and leaves a copy where it was.
    """
    sys.stdout.flush()
    buffer, length = bytearray(_BUFFER_BYTES), 0
    with memoryview(buffer) as view:
        while length < _BUFFER_BYTES and os.readv(descriptor, [view[length : length + 1]]):
            if buffer[length] == _LINE_FEED:
                break
            length += 1
    if length and buffer[length - 1] == _CARRIAGE_RETURN:
        length -= 1
    line = buffer[:length]
    wipe(buffer)
    return line

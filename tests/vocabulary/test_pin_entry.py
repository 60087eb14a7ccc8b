"""A PIN is read in place and wiped by who read it."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from cps_auth.errors import PinEntryCancelled
from cps_auth.pin_entry import pin_from_pipe


def _pipe(content: bytes) -> int:
    reading, writing = os.pipe()
    os.write(writing, content)
    os.close(writing)
    return reading


@pytest.mark.parametrize("content", [b"1234", b"1234\n", b"1234\r\n", b"1234\nrest"])
def test_one_line_is_read_and_wiped_afterwards(content: bytes) -> None:
    """The digits are there inside the block and zeros after it."""
    with pin_from_pipe(_pipe(content)) as pin:
        assert pin == b"1234"
    assert pin == bytes(4)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_two_lines_are_two_codes(end: bytes) -> None:
    """Old and new PIN come one a line, whichever way lines end."""
    pipe = _pipe(b"1234" + end + b"4321" + end)
    with pin_from_pipe(pipe) as old, pin_from_pipe(pipe) as new:
        assert (old, new) == (b"1234", b"4321")


def test_it_is_wiped_when_the_block_fails() -> None:
    """An error inside leaves nothing behind."""
    with pytest.raises(RuntimeError), pin_from_pipe(_pipe(b"4321\n")) as pin:
        raise RuntimeError
    assert pin == bytes(4)


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_nothing_is_a_cancelled_entry(content: bytes) -> None:
    """No line, or an empty one, is not a PIN."""
    with pytest.raises(PinEntryCancelled), pin_from_pipe(_pipe(content)):
        pass


def test_an_endless_line_is_cut() -> None:
    """Only as much is read as could not be a PIN any more."""
    with pin_from_pipe(_pipe(b"1" * 5000)) as pin:
        assert len(pin) <= 64


ASK = """
from cps_auth.pin_entry import pin_from_terminal
with pin_from_terminal("PIN? ") as pin:
    print("length", len(pin))
"""


def test_the_terminal_does_not_echo_it() -> None:
    """What is typed on the terminal is read, and never shown."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", ASK])  # noqa: S606  # our own Python
    shown = os.read(terminal, 100)
    os.write(terminal, b"1234\n")
    while True:
        try:
            chunk = os.read(terminal, 100)
        except OSError:  # the child's end of the terminal is closed
            break
        if not chunk:
            break
        shown += chunk
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"PIN? " in shown
    assert b"length 4" in shown
    assert b"1234" not in shown


def test_without_a_terminal_the_entry_is_cancelled() -> None:
    """A program without a terminal is refused, it does not wait for ever."""
    done = subprocess.run(
        [sys.executable, "-c", ASK], start_new_session=True, capture_output=True, check=False
    )
    assert b"PinEntryCancelled" in done.stderr

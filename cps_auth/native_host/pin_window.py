"""Our end of the PIN window: a process of its own, a pipe to it and a pipe from it.

What is shown goes there as one line of JSON a view. What comes back is a record of six bytes and
nothing else: `P`, four digits, and `1` if the person confirmed the last attempt; or `C`, cancelled.
Where the PIN is typed on the reader's keypad the four digits are zeros, and mean nothing.
The other end is `pin_window_program`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, Self

from cps_auth.errors import ConfigurationError, PinEntryCancelled
from cps_auth.pin_entry import wipe

PROGRAM: Final = Path(__file__).with_name("pin_window_program.py")
SYSTEM_PYTHON: Final = Path("/usr/bin/python3")
"""Where python3-tk belongs; a Python of one's own is often built without Tk."""

RECORD_BYTES: Final = 6
PIN_DIGITS: Final = 4
_FAREWELL_S: Final = 1.0
NO_TK, NO_DISPLAY = 3, 4
_WHY_IT_ENDED: Final = {
    NO_TK: "the PIN window needs Tk for Python: install python3-tk",
    NO_DISPLAY: "the PIN window has no display to open on",
}
"""Exit codes of the program, in English for the administrator."""


@dataclass(frozen=True, slots=True)
class View:
    """The content of the window. All texts are in the person's language; empty ones are not shown.

    Attributes:
        kind: message (wait, or nothing more to do), pin (four digits are asked for), or pad (they
            will be, on the reader's keypad).
        title: of the window.
        asks: the words above the origin.
        origin: who asks, exactly as it is signed.
        caution: what makes the origin easy to mistake for another.
        heading: the main sentence.
        detail: what it means, what to do.
        note: said quietly below.
        alert: what went wrong just now.
        entry: the words above the digits.
        hint: said once a key was no digit.
        attempts: how many are left.
        confirm: what must be ticked before the digits are taken; empty when nothing must.
        accept: the button that takes the digits.
        cancel: the button that ends.
        busy: said while the card works.
    """

    kind: Literal["message", "pin", "pad"]
    title: str
    asks: str
    origin: str
    heading: str
    cancel: str
    caution: str = ""
    detail: str = ""
    note: str = ""
    alert: str = ""
    entry: str = ""
    hint: str = ""
    attempts: str = ""
    confirm: str = ""
    accept: str = ""
    busy: str = ""


class PinWindow:
    """One window, from its opening to its closing. A context manager that closes it."""

    def __init__(self, python: Path | None = None, program: Path = PROGRAM) -> None:
        """Start the program; it shows nothing before its first view.

        Args:
            python: the interpreter, one that has Tk; None to choose.
            program: what it runs.

        Raises:
            ConfigurationError: there is no such interpreter.
        """
        command = [str(python or python_with_tk()), "-I", str(program)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 (our own program, no shell)
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
        except OSError as error:
            raise ConfigurationError(f"{command[0]}: {error.strerror}") from None

    def fileno(self) -> int:
        """Return a descriptor that is readable when the person answered, or the window ended."""
        if self._process.stdout is None:
            raise PinEntryCancelled
        return self._process.stdout.fileno()

    def show(self, view: View) -> None:
        """Show a view, in place of the one before."""
        with contextlib.suppress(BrokenPipeError):  # it ended: the next answer tells
            if self._process.stdin is not None:
                self._process.stdin.write(json.dumps(asdict(view)).encode() + b"\n")

    @contextlib.contextmanager
    def answer(self) -> Iterator[tuple[bytearray, bool]]:
        """Read the person's answer, which is there; the digits are wiped when the block ends.

        Yields:
            The PIN, ASCII digits, and whether the use of the last attempt was confirmed.

        Raises:
            PinEntryCancelled: the person gave up.
            ConfigurationError: the window could not be opened.
        """
        record = bytearray(RECORD_BYTES)
        pin = bytearray(PIN_DIGITS)
        try:
            if not self._fill(record):
                self._say_why_it_ended()
            if record[:1] != b"P":
                raise PinEntryCancelled
            pin[:] = memoryview(record)[1 : 1 + PIN_DIGITS]
            yield pin, record[-1:] == b"1"
        finally:
            wipe(record)
            wipe(pin)

    def close(self) -> None:
        """Close the window: politely, then by force. May be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(_FAREWELL_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _fill(self, record: bytearray) -> bool:
        with memoryview(record) as view:
            filled = 0
            while filled < RECORD_BYTES:
                count = os.readv(self.fileno(), [view[filled:]])
                if not count:
                    return False
                filled += count
        return True

    def _say_why_it_ended(self) -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            why = _WHY_IT_ENDED.get(self._process.wait(_FAREWELL_S))
            if why is not None:
                raise ConfigurationError(why)
        raise PinEntryCancelled  # it was ended from outside: nobody answers any more


def can_open_where_there_is_a_display() -> bool:
    """Return whether this computer has what the window takes, apart from a display."""
    command = [str(python_with_tk()), "-I", str(PROGRAM)]
    try:
        done = subprocess.run(  # noqa: S603 (our own program, no shell)
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=False
        )
    except OSError:
        return False
    return done.returncode in (0, NO_DISPLAY)


def python_with_tk() -> Path:
    """Return an interpreter for the window: this one if it has Tk, the system's otherwise."""
    if importlib.util.find_spec("_tkinter") is not None:
        return Path(sys.executable)
    return SYSTEM_PYTHON

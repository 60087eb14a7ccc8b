"""Talks with the PIN window, which is a process of its own (`pin_window`).

A process of its own, because tkinter needs a Python that was built with it, which the one that
runs us may not be; and because a window that hangs or crashes takes nothing else with it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cps_auth.errors import ModuleUnusable, PinEntryCancelled
from cps_auth.pin_entry import wipe

_PROGRAM = Path(__file__).with_name("pin_window.py")
_SYSTEM_PYTHON = Path("/usr/bin/python3")
_ANSWER_BYTES = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What the person typed; whoever gets it wipes it."""

    pin: bytearray = field(repr=False)
    last_attempt_allowed: bool


class Window:
    """The window while it is open; a context manager that closes it."""

    def __init__(self) -> None:
        """Start it.

        Raises:
            ModuleUnusable: no Python of this machine has tkinter.
        """
        self._shown: dict[str, object] = {}
        self._process = subprocess.Popen(  # noqa: S603 (our own program, by our own path)
            [_python_with_tkinter(), "-I", str(_PROGRAM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
        )

    def show(self, words: dict[str, object]) -> None:
        """Show something else; what is shown already stays, with the digits typed so far.

        Args:
            words: as `pin_window` reads them.

        Raises:
            ModuleUnusable: the window is gone, or there is no display.
        """
        if words == self._shown:
            return
        line = json.dumps(words).encode() + b"\n"
        self._shown = words
        try:
            os.write(self._stdin, line)
        except OSError:
            raise ModuleUnusable("the PIN window cannot be shown") from None

    def wait(self, changed: int, deadline: float) -> Answer | None:
        """Wait for the person, or for something else.

        Args:
            changed: a descriptor; when it can be read, the wait ends.
            deadline: of `time.monotonic`.

        Returns:
            The answer; None when `changed` came first.

        Raises:
            PinEntryCancelled: the person gave up, or the time is over.
            ModuleUnusable: the window is gone, or there is no display.
        """
        left = deadline - time.monotonic()
        ready, _, _ = select.select([self._stdout, changed], [], [], max(0.0, left))
        if not ready:
            raise PinEntryCancelled
        return self._read_answer() if self._stdout in ready else None

    def _read_answer(self) -> Answer | None:
        buffer = bytearray(_ANSWER_BYTES)
        try:
            length = os.readv(self._stdout, [buffer])
            if not length:
                raise ModuleUnusable("the PIN window is gone")
            kind = buffer[:1]
            if kind == b"C":
                raise PinEntryCancelled
            with memoryview(buffer) as view:
                pin = bytearray(view[1 : length - 1])
            return Answer(pin, last_attempt_allowed=kind == b"L")
        finally:
            wipe(buffer)

    def close(self) -> None:
        """Close it; may be called twice."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def _stdin(self) -> int:
        assert self._process.stdin is not None  # noqa: S101 (given to Popen above)
        return self._process.stdin.fileno()

    @property
    def _stdout(self) -> int:
        assert self._process.stdout is not None  # noqa: S101 (given to Popen above)
        return self._process.stdout.fileno()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self.close()


def _python_with_tkinter() -> str:
    if importlib.util.find_spec("_tkinter") is not None:
        return sys.executable
    if _SYSTEM_PYTHON.exists():
        return str(_SYSTEM_PYTHON)
    raise ModuleUnusable("tkinter: install python3-tk")

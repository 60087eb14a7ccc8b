"""The terminal view of `serve`: the card's state and its traffic, PIN hidden. Plain ANSI."""

from __future__ import annotations

import os
import shutil
import sys
import termios
import threading
import tty
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from hardware_mocks.card.command import COMMAND_NAMES, secret_from
from hardware_mocks.card.virtual_card import VirtualCard

_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
_BOLD, _DIM, _GREEN, _RED, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[32m", "\x1b[31m", "\x1b[0m"
_CLEAR_SCREEN = "\x1b[2J"
_KEPT_EXCHANGES = 200
_STATUS_WORD_BYTES = 2
_OWN_LINES = 9  # of the screen, around the traffic
_NARROWEST = 40


class TerminalView:
    """One card on one screen. `note` from any thread, `draw` from one."""

    def __init__(self, card: VirtualCard, where: str, screen: TextIO = sys.stdout) -> None:
        """Remember what to show.

        Args:
            card: whose state is shown.
            where: address of the slot.
            screen: a terminal.
        """
        self._card = card
        self._where = where
        self._screen = screen
        self._exchanges: deque[tuple[str, str]] = deque(maxlen=_KEPT_EXCHANGES)
        self._mutex = threading.Lock()
        self._is_new = True

    def note(self, command: bytes, answer: bytes) -> None:
        """Remember one exchange, without its PIN."""
        with self._mutex:
            self._exchanges.append((_command_line(command), _answer_line(answer)))

    def draw(self, *, is_inserted: bool) -> None:
        """Show everything as it is now."""
        columns, lines = shutil.get_terminal_size()
        text = self.text(is_inserted=is_inserted, columns=max(columns, _NARROWEST), lines=lines)
        start = _CLEAR_SCREEN if self._is_new else ""
        self._is_new = False
        shown = "".join(f"{line}{_CLEAR_LINE}\r\n" for line in text)
        self._screen.write(f"{start}{_HOME}{shown}{_CLEAR_BELOW}")
        self._screen.flush()

    def text(self, *, is_inserted: bool, columns: int, lines: int) -> list[str]:
        """Return the lines that are shown, escape sequences included."""
        card, persona = self._card, self._card.persona
        holder = " ".join(n for n in (persona.given_name, persona.surname) if n)
        state = f"{_GREEN}in the reader" if is_inserted else f"{_RED}pulled"
        return [
            f"{_BOLD}{card.kind}{_PLAIN} of {_BOLD}{holder or persona.organisation}{_PLAIN}"
            f" ({persona.name}), chip {card.serial}",
            f"{self._where}  {state}{_PLAIN}",
            "",
            f"PIN  {_attempts(card.pin_attempts_left)}   {_verified(card)}",
            f"PUK  {_attempts(card.puk_attempts_left)}",
            "",
            *self._traffic(columns, max(lines - _OWN_LINES, 2)),
            "",
            f"{_DIM}p pull   i insert   q quit{_PLAIN}",
        ]

    def _traffic(self, columns: int, lines: int) -> list[str]:
        with self._mutex:
            newest = list(self._exchanges)[-(lines // 2) :]
        return [
            line
            for command, answer in newest
            for line in (_cut(f"> {command}", columns), _cut(f"< {answer}", columns))
        ]


def _attempts(left: int | None) -> str:
    if left is None:
        return "none on this interface"
    if left == 0:
        return f"{_RED}blocked{_PLAIN}"
    return f"{left} attempt{'s' if left > 1 else ''} left"


def _verified(card: VirtualCard) -> str:
    return f"{_GREEN}verified{_PLAIN}" if card.is_pin_verified else "not verified"


def _command_line(command: bytes) -> str:
    if len(command) < 2:
        return command.hex(" ").upper()
    name = COMMAND_NAMES.get(command[1], "")
    start = secret_from(command)
    shown = command[:start].hex(" ").upper() + " **" * (len(command) - start)
    return f"{name:<14}{shown}"


def _answer_line(answer: bytes) -> str:
    data, status = answer[:-_STATUS_WORD_BYTES], answer[-_STATUS_WORD_BYTES:]
    size = f"{len(data)} bytes" if data else ""
    return f"{status.hex().upper():<6}{size:<10}{data.hex(' ').upper()}"


def _cut(line: str, columns: int) -> str:
    return line if len(line) <= columns else line[: columns - 1] + "…"


@contextmanager
def keys_of_terminal(press: Callable[[str], None], *, wanted: bool) -> Iterator[None]:
    """Report each key pressed inside the block, in a thread; the terminal is restored after it.

    Args:
        press: is given one character, in lower case.
        wanted: False does nothing at all.
    """
    if not wanted:
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)

    def read() -> None:
        while key := os.read(terminal, 1):
            press(key.decode("ascii", "replace").lower())

    tty.setcbreak(terminal)
    try:
        threading.Thread(target=read, name="keys", daemon=True).start()
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)

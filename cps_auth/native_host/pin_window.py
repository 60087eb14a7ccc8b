"""The window that asks for the PIN: a program of its own, on the standard library only.

It is run by path, by whichever Python of this machine has tkinter, and knows nothing but what
its parent tells it: JSON lines on standard input. It answers in lines on standard output: `P`
and the digits, `L` and the digits when the last attempt was agreed to, `C` when cancelled. The
digits are collected key by key in one buffer that is wiped: no text field ever holds them.
When its parent goes, it goes.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import tkinter as tk
from typing import Any

DIGITS = 4
_POLL_MS = 20
_PAPER, _INK, _QUIET, _ACCENT, _ALARM = "#f4f3ee", "#1d2b2a", "#56645f", "#17594a", "#8c2b1d"
_DIGITS = tuple("0123456789")
_FULL, _EMPTY = "●", "○"


class PinWindow:
    """One window; what it shows is replaced with every line from the parent."""

    def __init__(self, root: tk.Tk) -> None:
        self._root = root
        self._pin = bytearray()
        self._lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._asking = self._last = False
        self._agreed = tk.BooleanVar(value=False)
        self._build()
        root.protocol("WM_DELETE_WINDOW", self._cancel)
        root.bind("<Key>", self._on_key)
        root.bind("<Escape>", lambda _event: self._cancel())
        threading.Thread(target=self._listen, daemon=True).start()
        root.after(_POLL_MS, self._poll)

    def _build(self) -> None:
        root = self._root
        root.configure(bg=_PAPER, padx=28, pady=24)
        root.resizable(width=False, height=False)
        root.attributes("-topmost", True)
        self._intro = self._label(11, _QUIET)
        self._origin = self._label(15, _INK, bold=True)
        self._name = self._label(12, _INK)
        self._message = self._label(11, _ALARM)
        self._prompt = self._label(11, _QUIET)
        self._dots = self._label(26, _ACCENT)
        self._attempts = self._label(11, _QUIET)
        self._agree = tk.Checkbutton(
            root, variable=self._agreed, bg=_PAPER, fg=_ALARM, activebackground=_PAPER,
            highlightthickness=2, wraplength=380, justify="left", command=self._refresh,
        )  # fmt: skip
        self._caution = self._label(9, _QUIET)
        row = tk.Frame(root, bg=_PAPER)
        row.pack(side="bottom", fill="x", pady=(18, 0))
        self._ok = tk.Button(
            row, command=self._submit, bg=_ACCENT, fg="white", activebackground="#0e4438",
            activeforeground="white", disabledforeground="#c9d6d1", relief="flat", padx=18, pady=8,
        )  # fmt: skip
        self._cancel_button = tk.Button(
            row, command=self._cancel, bg=_PAPER, fg=_INK, relief="flat", padx=14, pady=8
        )
        self._ok.pack(side="right")
        self._cancel_button.pack(side="right", padx=(0, 10))

    def _label(self, size: int, colour: str, *, bold: bool = False) -> tk.Label:
        font = ("DejaVu Sans", size, "bold" if bold else "normal")
        return tk.Label(
            self._root, font=font, fg=colour, bg=_PAPER, wraplength=400, justify="left", anchor="w"
        )

    def _listen(self) -> None:
        for line in sys.stdin.buffer:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def _poll(self) -> None:
        try:
            while True:
                shown = self._lines.get_nowait()
                if shown is None:
                    self._close()
                    return
                self._show(shown)
        except queue.Empty:
            self._root.after(_POLL_MS, self._poll)

    def _show(self, shown: dict[str, Any]) -> None:
        self._wipe()
        self._asking, self._last = bool(shown["ask"]), bool(shown.get("last"))
        self._agreed.set(False)
        self._root.title(shown["title"])
        for label, name in (
            (self._intro, "intro"), (self._origin, "origin"), (self._name, "name"),
            (self._message, "message"), (self._prompt, "prompt"), (self._dots, "dots"),
            (self._attempts, "attempts"), (self._agree, "agree"), (self._caution, "caution"),
        ):  # fmt: skip
            text = _EMPTY * DIGITS if name == "dots" else shown.get(name, "")
            visible = text and (self._asking or name in ("intro", "origin", "message"))
            label.pack_forget()
            if visible and (name != "agree" or self._last):
                label.configure(text=text)
                label.pack(fill="x", pady=(0, 6))
        self._ok.configure(text=shown["ok"])
        self._cancel_button.configure(text=shown["cancel"])
        self._root.deiconify()
        self._root.lift()
        self._root.focus_force()
        self._refresh()

    def _refresh(self) -> None:
        self._dots.configure(text=(_FULL * len(self._pin)).ljust(DIGITS, _EMPTY))
        may = self._asking and len(self._pin) == DIGITS and (not self._last or self._agreed.get())
        self._ok.configure(state="normal" if may else "disabled")

    def _on_key(self, event: tk.Event[tk.Misc]) -> None:
        if event.keysym in ("Return", "KP_Enter"):
            self._submit()
        elif event.keysym == "BackSpace" and self._pin:
            self._pin[-1] = 0
            del self._pin[-1]
        elif self._asking and event.char in _DIGITS and len(self._pin) < DIGITS:
            self._pin += event.char.encode()
        self._refresh()

    def _submit(self) -> None:
        if str(self._ok["state"]) != "normal":
            return
        line = bytearray(b"L" if self._last else b"P") + self._pin + b"\n"
        try:
            os.write(sys.stdout.fileno(), line)
        finally:
            line[:] = bytes(len(line))
            self._wipe()
            self._asking = False
            self._refresh()

    def _cancel(self) -> None:
        os.write(sys.stdout.fileno(), b"C\n")
        self._close()

    def _wipe(self) -> None:
        self._pin[:] = bytes(len(self._pin))
        self._pin.clear()

    def _close(self) -> None:
        self._wipe()
        self._root.destroy()


def main() -> None:
    """Show the window until it is answered or its parent goes."""
    root = tk.Tk(className="cps-auth")
    root.withdraw()
    PinWindow(root)
    root.mainloop()


if __name__ == "__main__":
    main()

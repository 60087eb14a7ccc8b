"""The PIN window itself: shows views, returns four digits or a cancel. Standard library only.

Run as a file, isolated (-I), by whichever Python has Tk: it imports nothing of this package.
Views come on standard input, a line of JSON each; its end closes the window. Records go to
standard output, see `pin_window`. The digits are collected key by key in a bytearray that is
wiped when sent: no text field holds them, nothing can be pasted.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable

NO_TK, NO_DISPLAY = 3, 4
DIGITS = 4
DEAF_S = 0.4  # digits that were meant for what had the focus before are not taken

try:
    import tkinter as tk
    from tkinter import font as fonts
except ImportError:
    sys.exit(NO_TK)

PAPER, SHEET, INK, QUIET, LINE = "#f4f3ee", "#ffffff", "#1d2b2a", "#56645f", "#d9dcd3"
ACCENT, STRONG, ON_ACCENT, PALE = "#17594a", "#0e4438", "#ffffff", "#9fb5ae"
REFUSED, WARNED = ("#8c2b1d", "#fbefec"), ("#4a3500", "#ffe9a8")
"""The colours of the login page, cps.css."""

LOOKS = f"""
*borderWidth 0 *background {SHEET} *activeBackground {SHEET} *selectColor {SHEET} *foreground {INK}
*highlightBackground {SHEET} *highlightColor {ACCENT} *disabledForeground {ON_ACCENT}
*Button.background {PAPER} *Button.activeBackground {LINE} *Button.highlightThickness 2
*Canvas.highlightThickness 0 *Checkbutton.highlightThickness 2 *Checkbutton.indicatorOn 0
*Checkbutton.offRelief flat *Checkbutton.overRelief flat *Checkbutton.compound left
*Checkbutton.anchor w *Checkbutton.justify left
""".split()  # of X: a pattern and its value, by turns

FAMILIES = ("Inter", "Noto Sans", "Ubuntu", "Cantarell", "DejaVu Sans")


class Window:
    """The window and its state."""

    def __init__(self) -> None:
        self.root = tk.Tk(className="cps-auth-pin")
        self.root.withdraw()
        for pattern, value in zip(LOOKS[::2], LOOKS[1::2]):  # noqa: B905 (Python 3.9)
            self.root.option_add(pattern, value)
        self.unit = max(1.0, self.root.winfo_fpixels("1i") / 96)
        self.width = round(440 * self.unit)
        self._choose_fonts()
        self.digits, self.is_asking = bytearray(), False
        self.deaf_until, self.unread = 0.0, b""
        self.view: dict[str, str] = {}
        self.confirmed = tk.BooleanVar(self.root)
        self.sheet = tk.Frame(self.root)
        self.root.resizable(width=False, height=False)
        self.root.protocol("WM_DELETE_WINDOW", self.cancel)
        self.root.bind("<Key>", self.on_key)
        self.root.tk.createfilehandler(sys.stdin.fileno(), tk.READABLE, self.on_input)

    def _choose_fonts(self) -> None:
        family = next((f for f in FAMILIES if f in fonts.families(self.root)), "TkDefaultFont")

        def make(size: int, weight: str = "normal") -> fonts.Font:
            return fonts.Font(self.root, (family, -round(size * self.unit), weight))

        self.small, self.text, self.bold = make(13), make(15), make(15, "bold")
        *self.origins, self.heading = (make(size, "bold") for size in (22, 20, 17, 18))

    def on_input(self, _descriptor: object, _mask: int) -> None:
        """Take the views that came; the end of the input ends the window."""
        content = os.read(sys.stdin.fileno(), 65536)
        if not content:
            self.root.destroy()
            return
        *lines, self.unread = (self.unread + content).split(b"\n")
        for line in lines:
            self.show(json.loads(line))

    def show(self, view: dict[str, str]) -> None:
        """Show a view in place of the one before."""
        is_first = not self.view
        self.wipe()
        self.view = view
        self.is_asking = view["kind"] != "message"
        self.taken = tuple("0123456789") if view["kind"] == "pin" else ()
        self.confirmed.set(False)
        self.draw()
        if is_first:
            self.place()
        self.deaf_until = time.monotonic() + (0.0 if view["alert"] else DEAF_S)

    def place(self) -> None:
        """Put the window where it is seen, above the browser, with the keyboard."""
        self.root.update_idletasks()
        wide = self.root.winfo_screenwidth() - self.width
        high = self.root.winfo_screenheight() - self.root.winfo_reqheight()
        self.root.geometry(f"+{max(0, wide // 2)}+{max(0, high // 3)}")
        self.root.attributes("-topmost", True)
        self.root.deiconify()
        self.root.lift()
        self.root.focus_force()

    def draw(self) -> None:
        """Lay the view out."""
        self.root.title(self.view["title"])
        self.sheet.destroy()
        self.sheet = tk.Frame(self.root)
        self.sheet.pack(fill="both", expand=True)
        self._draw_band()
        body = tk.Frame(self.sheet, padx=self.px(24), pady=self.px(18))
        body.pack(fill="both", expand=True)
        self._draw_box(body, self.view["caution"], *WARNED)
        self._draw_box(body, self.view["alert"], *REFUSED)
        self.say(body, self.view["heading"], self.heading, INK)
        self.say(body, self.view["detail"], self.text, INK, above=6)
        self.say(body, self.view["note"], self.small, QUIET, above=6)
        if self.is_asking:
            self._draw_entry(body)
        self._draw_buttons(body)

    def px(self, count: int) -> int:
        """Return a length on this screen."""
        return round(count * self.unit)

    def say(
        self, body: tk.Frame, text: str, font: fonts.Font, ink: str, above: int = 0, inset: int = 48
    ) -> tk.Label:
        """Add a paragraph, unless it is empty."""
        label = tk.Label(body, text=text, font=font, fg=ink, bg=body["bg"])
        label.configure(wraplength=self.width - self.px(inset), justify="left", anchor="w")
        if text:
            label.pack(fill="x", pady=(self.px(above), 0))
        return label

    def _draw_band(self) -> None:
        band = tk.Frame(self.sheet, bg=ACCENT, padx=self.px(24), pady=self.px(16))
        band.pack(fill="x")
        room = self.width - self.px(48)
        tk.Frame(band, bg=ACCENT, width=room).pack()
        self.say(band, self.view["asks"], self.small, ON_ACCENT)
        origin = self.view["origin"]
        font = next((f for f in self.origins if f.measure(origin) <= room), self.origins[-1])
        self.say(band, break_at_dots(origin, font, room), font, ON_ACCENT, above=2)

    def _draw_box(self, body: tk.Frame, text: str, ink: str, ground: str) -> None:
        if text:
            box = tk.Frame(body, bg=ground, padx=self.px(12), pady=self.px(10))
            box.configure(highlightbackground=ink, highlightthickness=1)
            box.pack(fill="x", pady=(0, self.px(14)))
            self.say(box, text, self.text, ink, inset=78)

    def _draw_entry(self, body: tk.Frame) -> None:
        self.say(body, self.view["entry"], self.text, INK, above=14)
        self.boxes = tk.Canvas(body, height=self.px(58))
        if self.taken:
            self.boxes.pack(fill="x", pady=(self.px(6), 0))
        self.hint = self.say(body, " " if self.taken else "", self.small, REFUSED[0])
        self._draw_digits()
        self.say(body, self.view["attempts"], self.bold, INK)
        if self.view["confirm"]:
            self.ticks = [self._tick_box(filled=filled) for filled in (False, True)]
            tick = tk.Checkbutton(body, text=self.view["confirm"], variable=self.confirmed)
            tick.configure(image=self.ticks[0], selectimage=self.ticks[1], command=self.refresh)
            tick.configure(font=self.text, fg=REFUSED[0], wraplength=self.width - self.px(96))
            tick.bind("<Return>", only(self.send))  # Tk would untick it
            tick.pack(fill="x", pady=(self.px(8), 0))

    def _tick_box(self, *, filled: bool) -> tk.PhotoImage:
        side, edge, gap = self.px(22), self.px(2), self.px(6)
        box = tk.PhotoImage(master=self.root, width=side + self.px(8), height=side)
        for ink, at in ((REFUSED[0], 0), (SHEET, edge), (REFUSED[0] if filled else SHEET, gap)):
            box.put(ink, to=(at, at, side - at, side - at))
        return box

    def _draw_digits(self) -> None:
        self.boxes.delete("all")
        side, gap, edge = self.px(52), self.px(12), self.px(2)
        for place in range(DIGITS):
            left = edge + place * (side + gap)
            ink, width = (ACCENT, self.px(3)) if place == len(self.digits) else (LINE, 1)
            box = (left, edge, left + side, edge + side)
            self.boxes.create_rectangle(*box, fill=PAPER, outline=ink, width=width)
            if place < len(self.digits):
                x, y, radius = left + side / 2, edge + side / 2, self.px(7)
                self.boxes.create_oval(x - radius, y - radius, x + radius, y + radius, fill=INK)

    def _draw_buttons(self, body: tk.Frame) -> None:
        row = tk.Frame(body)
        row.pack(fill="x", pady=(self.px(20), 0))
        if self.is_asking:
            self.accept = self._button(row, self.view["accept"], self.send)
            self.accept.pack(side="right")
            self.refresh()
        leave = self._button(row, self.view["cancel"], self.cancel)
        leave.bind("<Return>", only(self.cancel))
        leave.pack(side="right", padx=(0, self.px(10)))

    def _button(self, row: tk.Frame, text: str, command: Callable[[], None]) -> tk.Button:
        padx, pady = self.px(16), self.px(7)
        return tk.Button(row, text=text, command=command, font=self.bold, padx=padx, pady=pady)

    def refresh(self) -> None:
        """Let the digits be sent only when that would do something."""
        ready = self.may_send()
        self.accept.configure(state="normal" if ready else "disabled", bg=ACCENT if ready else PALE)
        self.accept.configure(fg=ON_ACCENT, activeforeground=ON_ACCENT, activebackground=STRONG)

    def may_send(self) -> bool:
        """Return whether what is asked for is there: four digits, none for a keypad; the tick."""
        confirmed = self.confirmed.get() or not self.view["confirm"]
        typed = len(self.digits) == DIGITS or not self.taken
        return self.is_asking and typed and confirmed

    def on_key(self, event: tk.Event[tk.Misc]) -> None:
        """Take a digit, take one back, send, or give up."""
        if event.keysym == "Escape":
            self.cancel()
        if not self.is_asking or time.monotonic() < self.deaf_until:
            return
        if event.keysym in ("Return", "KP_Enter"):
            self.send()
        elif event.keysym == "BackSpace":
            self.digits[-1:] = b"\0"[: len(self.digits)]
            del self.digits[-1:]
        elif event.char in self.taken:
            self.digits.extend(map(ord, event.char[: DIGITS - len(self.digits)]))
        elif event.keysym.startswith("KP_") or (event.char.strip() and event.char.isprintable()):
            self.root.bell()  # a French keyboard gives digits with Shift, a number pad maybe not
            self.hint["text"] = self.view["hint"]
        if self.is_asking:
            self._draw_digits()
            self.refresh()

    def send(self) -> None:
        """Hand the digits over, once; a click that was meant for another window does nothing."""
        if not self.may_send() or time.monotonic() < self.deaf_until:
            self.root.bell()
            return
        record = bytearray(b"P0000" + (b"1" if self.confirmed.get() else b"0"))
        record[1 : 1 + len(self.digits)] = self.digits
        self.is_asking = False
        self.wipe()
        kept = {name: self.view[name] for name in ("title", "asks", "origin", "cancel")}
        self.view = {**dict.fromkeys(self.view, ""), **kept, "heading": self.view["busy"]}
        self.draw()
        self.root.update_idletasks()
        self.write(record)
        record[:] = bytes(len(record))

    def cancel(self) -> None:
        """Report that the person gave up; whoever started us closes the window."""
        self.is_asking = False
        self.wipe()
        self.write(bytearray(b"C00000"))

    def write(self, record: bytearray) -> None:
        """Write a record; where nobody reads any more, the end of the input follows."""
        with contextlib.suppress(OSError):
            os.write(sys.stdout.fileno(), record)

    def wipe(self) -> None:
        """Forget the digits."""
        self.digits[:] = bytes(len(self.digits))
        self.digits.clear()


def only(act: Callable[[], None]) -> Callable[[object], str]:
    """Return a binding that acts, and keeps Tk from doing anything else."""
    return lambda _event: act() or "break"  # type: ignore[func-returns-value]  # None: go on


def break_at_dots(origin: str, font: fonts.Font, room: int) -> str:
    """Break a long name where its parts end; all of it is shown, whatever its length."""
    lines = [""]
    for part in origin.replace(".", ".\0").split("\0"):
        if lines[-1] and font.measure(lines[-1] + part) > room:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def main() -> None:
    """Open the window and run it to its end."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # no digit in a core dump
    try:
        Window().root.mainloop()
    except tk.TclError:
        sys.exit(NO_DISPLAY)


main()

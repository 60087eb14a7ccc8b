"""Strict APDU transcripts: what was said to a card, as text that a person can read.

    card: cps3
    # The PIN, in the one form that a CPS takes.
    > 00 20 00 01 04 {pin}
    < 90 00
    # Its counter is not asked by an empty VERIFY alone.
    > 00 CB 3F FF 0A 4D 08 70 06 BF 81 01 02 A0 80
    < 61 18
    reset

`>` is a command, `<` its answer, `#` a comment on the step below it, `reset` the loss of what
only power keeps. A secret stands as `{name}` or, in a recording, as `**` per byte; it is never
written out. `00x32` is a byte 32 times. In the answer `..` stands for any byte, `...` for any
number of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hardware_mocks.card.command import PIN_CARRYING, hide_pin

_WORDS = {
    "command": re.compile(r"[0-9A-Fa-f]{2}|\*\*|\{[a-z_]+\}"),
    "answer": re.compile(r"[0-9A-Fa-f]{2}|\.\.\.|\.\."),
}
_REPEATED = re.compile(r"([0-9A-Fa-f]{2})x([1-9][0-9]{0,2})")
_HEADER_BYTES = 4  # CLA INS P1 P2: never secret


@dataclass(frozen=True, slots=True)
class Step:
    """One command and its answer, or a reset when there is no command."""

    command: tuple[str, ...] = ()  # words
    answer: tuple[str, ...] = ()  # words
    comment: str = ""

    @property
    def is_reset(self) -> bool:
        """Return whether nothing was said here."""
        return not self.command

    def command_bytes(self, secrets: Mapping[str, bytes]) -> bytes:
        """Return the command with its secrets filled in.

        Raises:
            KeyError: a secret is not given; `**` never is.
        """
        return b"".join(_word_bytes(word, secrets) for word in self.command)

    def takes(self, command: bytes, secrets: Mapping[str, bytes]) -> bool:
        """Return whether this is the command of the step; a secret that is not given may be any."""
        parts = (
            re.escape(_word_bytes(word, secrets)) if _is_open(word, secrets) else _any(word)
            for word in self.command
        )
        return re.fullmatch(b"".join(parts), command, re.DOTALL) is not None

    def is_answered_by(self, answer: bytes) -> bool:
        """Return whether the answer is the one of the step."""
        parts = (_any(w) if "." in w else re.escape(bytes.fromhex(w)) for w in self.answer)
        return re.fullmatch(b"".join(parts), answer, re.DOTALL) is not None

    def answer_bytes(self) -> bytes:
        """Return the answer of a recorded step.

        Raises:
            ValueError: it has gaps.
        """
        return bytes.fromhex("".join(self.answer))


def _is_open(word: str, secrets: Mapping[str, bytes]) -> bool:
    return word[0] not in "*{" or word.strip("{}") in secrets


def _word_bytes(word: str, secrets: Mapping[str, bytes]) -> bytes:
    return secrets[word.strip("{}")] if word[0] in "*{" else bytes.fromhex(word)


def _any(word: str) -> bytes:
    return b".*" if word == "..." or word[0] == "{" else b"."


@dataclass(frozen=True, slots=True)
class Transcript:
    """A card, and what was said to it."""

    kind: str  # in CARD_KINDS, or a word of whoever recorded it
    steps: tuple[Step, ...] = field(default=())

    @classmethod
    def parse(cls, text: str) -> Transcript:
        """Read the text form.

        Raises:
            ValueError: it is not one; says in which line.
        """
        kind, steps, comments = "", [], []
        lines = _numbered(text)
        for number, line in lines:
            if line.startswith("#"):
                comments.append(line[1:].strip())
                continue
            if line.startswith("card:"):
                kind = line.removeprefix("card:").strip()
            elif line == "reset":
                steps.append(Step(comment=" ".join(comments)))
            elif line.startswith(">"):
                steps.append(_step(line, next(lines, (number, "")), number, " ".join(comments)))
            else:
                raise ValueError(f"line {number}: neither command, comment nor reset")
            comments = []
        if not kind:
            raise ValueError("no line that says which card: `card: cps3`")
        return cls(kind, tuple(steps))

    def text(self) -> str:
        """Return the text form, which `parse` reads."""
        return "\n".join((f"card: {self.kind}", *_lines(self.steps))) + "\n"


def _numbered(text: str) -> Iterator[tuple[int, str]]:
    lines = ((number, line.strip()) for number, line in enumerate(text.splitlines(), 1))
    return ((number, line) for number, line in lines if line)


def _step(line: str, answer: tuple[int, str], number: int, comment: str) -> Step:
    if not answer[1].startswith("<"):
        raise ValueError(f"line {number}: a command without an answer")
    command = _split("command", line[1:], number)
    header = command[:_HEADER_BYTES]
    if any(word[0] in "*{" for word in header):
        raise ValueError(f"line {number}: the header of a command is no secret")
    hides = any(word[0] in "*{" for word in command)
    if hides and (len(header) < 2 or int(header[1], 16) not in PIN_CARRYING):
        raise ValueError(f"line {number}: this command carries no PIN")
    if _writes_pin_out(command, hides=hides):
        raise ValueError(f"line {number}: a PIN must not be written out")
    return Step(command, _split("answer", answer[1][1:], answer[0]), comment)


def _writes_pin_out(command: tuple[str, ...], *, hides: bool) -> bool:
    if not hides:
        whole = bytes.fromhex("".join(command))
        return hide_pin(whole) != whole
    behind_lc = [word for word in command[_HEADER_BYTES + 1 :] if word[0] not in "*{"]
    return behind_lc not in ([], ["00"])  # Le


def _split(what: str, text: str, number: int) -> tuple[str, ...]:
    pattern = _WORDS[what]
    written = _REPEATED.sub(lambda found: found[1] * int(found[2]), text).split()
    words = [word for part in written for word in pattern.findall(part)]
    if not words or "".join(words) != "".join(written):
        raise ValueError(f"line {number}: not the bytes of this {what}")
    return tuple(word.upper() if word[0] != "{" else word for word in words)


def _lines(steps: Iterable[Step]) -> Iterator[str]:
    for step in steps:
        yield ""
        if step.comment:
            yield f"# {step.comment}"
        if step.is_reset:
            yield "reset"
        else:
            yield f"> {' '.join(step.command)}"
            yield f"< {' '.join(step.answer)}"

"""Faults as a line of text, for the command line: `pull:during@0088`.

    ACTION[=VALUE][:MOMENT]@WHEN

ACTION is pull, answer=6982, delay=0.5, hang, hang=5, truncate=1 or garbage=20; MOMENT is before
(the default), during or after; WHEN is #12 for the twelfth command, or the first bytes of a
command in hexadecimal (`.` for any digit), with `+` behind them for each such command.
"""

from __future__ import annotations

import re

from hardware_mocks.readers.faults import (
    Action,
    Answer,
    Delay,
    Fault,
    Garbage,
    Hang,
    Moment,
    Pull,
    Truncate,
    When,
    at,
    on,
)

_LINE = re.compile(r"([a-z]+)(?:=([^:@]+))?(?::([a-z]+))?@(#?)([0-9A-Fa-f.]+)(\+?)")
_LONGEST_ANSWER_BYTES = 258


def parse_fault(text: str) -> Fault:
    """Read one fault.

    Raises:
        ValueError: it is not one.
    """
    found = _LINE.fullmatch(text)
    if found is None:
        raise ValueError(f"not a fault: {text!r}")
    name, value, moment, is_number, where, always = found.groups()
    try:
        when = _when(is_number, where, always)
        return Fault(_action(name, value), when, Moment(moment or Moment.BEFORE.value))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"not a fault: {text!r} ({error})") from error


def _when(is_number: str, where: str, always: str) -> When:
    if not is_number:
        return on(where, always=bool(always))
    if always or int(where) < 1:
        raise ValueError("commands are counted from #1, each happens once")
    return at(int(where))


def _action(name: str, value: str | None) -> Action:
    if name == "pull" and value is None:
        return Pull()
    if name == "hang" and value is None:
        return Hang()
    if value is None:
        raise ValueError(f"{name} is not an action, or lacks its value")
    if name == "answer":
        answer = bytes.fromhex(value)
        if not 2 <= len(answer) <= _LONGEST_ANSWER_BYTES:
            raise ValueError("an answer is data and a status word")
        return Answer(int.from_bytes(answer[-2:]), answer[:-2])
    if name in ("delay", "hang"):
        return (Delay if name == "delay" else Hang)(_seconds(value))
    if name in ("truncate", "garbage"):
        return (Truncate if name == "truncate" else Garbage)(_size(value))
    raise ValueError(f"{name} is not an action")


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", text):
        raise ValueError("seconds are a number")
    return float(text)


def _size(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > _LONGEST_ANSWER_BYTES:
        raise ValueError(f"at most {_LONGEST_ANSWER_BYTES} bytes")
    return int(text)

"""The files of a card as text: what `python -m hardware_mocks files` prints."""

from __future__ import annotations

from collections.abc import Iterator

from hardware_mocks.card.content.contents import CardContents
from hardware_mocks.card.content.file_system import (
    ALWAYS,
    NEVER,
    READ,
    UPDATE,
    USER_PIN,
    AccessRules,
    DedicatedFile,
    ElementaryFile,
)

_SHOWN_BYTES = 24
_WORDS = {ALWAYS: "always", NEVER: "never", USER_PIN: "PIN"}


def listing(contents: CardContents) -> Iterator[str]:
    """Yield one line per file, then per PIN and per key; secrets are not in it."""
    yield from _tree(contents.master_file, "")
    if contents.cps2ter_volume is not None:
        yield "class A0:"
        yield from _tree(contents.cps2ter_volume, "")
    for pin in contents.pins.values():
        size = len(pin.value)
        yield f"PIN {pin.reference:02X}  {size} digits, {pin.attempts_left} of {pin.attempts_max}"
    for key in contents.keys.values():
        yield f"key {key.reference:02X}  rules {key.rules.encoded().hex(' ').upper()}"


def _tree(directory: DedicatedFile, path: str) -> Iterator[str]:
    here = f"{path}{directory.fid:04X}"
    yield f"{here}  {directory.aid.hex().upper()}".rstrip()
    for file in directory.children:
        if isinstance(file, DedicatedFile):
            yield from _tree(file, f"{here}/")
        else:
            yield f"{here}/{_file(file)}"


def _file(file: ElementaryFile) -> str:
    short = "" if file.sfi is None else f"SFI {file.sfi:02X}"
    start = file.content[:_SHOWN_BYTES].hex().upper()
    more = "…" if len(file.content) > _SHOWN_BYTES else ""
    access = f"read {_word(file.rules, READ)}, update {_word(file.rules, UPDATE)}"
    return f"{file.fid:04X}  {len(file.content):>5} bytes  {short:<6}  {access:<27}  {start}{more}"


def _word(rules: AccessRules, operation: int) -> str:
    condition = rules.condition(operation)
    return _WORDS.get(condition, f"{condition:02X}")

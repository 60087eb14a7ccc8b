"""A card's memory without power, in a file: `python -m hardware_mocks serve --memory FILE`.

The card's PINs and counters, and the files that a host may write. It stands for the memory of
the chip, so PIN and PUK are in it, readable by its owner only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hardware_mocks.card import status_words as sw
from hardware_mocks.card.content.contents import CardContents
from hardware_mocks.card.content.file_system import (
    NEVER,
    UPDATE,
    DedicatedFile,
    ElementaryFile,
)
from hardware_mocks.card.virtual_card import VirtualCard


class KeptCard:
    """A card whose memory is a file: written before each answer, as by a chip."""

    def __init__(self, card: VirtualCard, path: Path) -> None:
        """Take up what the file remembers; without a file the card is new.

        Raises:
            OSError: the file cannot be read or written.
            ValueError: it is not the memory of this card.
        """
        self._card = card
        self._path = path
        if path.exists():
            _recall(card, json.loads(path.read_text(encoding="utf-8")))
        self._written = ""
        self._keep()

    @property
    def atr(self) -> bytes:
        """Return its answer to reset."""
        return self._card.atr

    @property
    def protocol(self) -> int:
        """Return 0 for T=0, 1 for T=1."""
        return self._card.protocol

    def transmit(self, command: bytes) -> bytes:
        """Answer a command, once what it changed is written; 6581 if it cannot be."""
        answer = self._card.transmit(command)
        try:
            self._keep()
        except OSError:
            return sw.MEMORY_FAILURE.to_bytes(2)
        return answer

    def power_on(self) -> None:
        """Begin anew."""
        self._card.power_on()

    def power_off(self) -> None:
        """Forget what only power keeps."""
        self._card.power_off()

    def reset(self) -> None:
        """Warm reset."""
        self._card.reset()

    def _keep(self) -> None:
        text = json.dumps(_memory(self._card), indent=1)
        if text == self._written:
            return
        whole = self._path.with_name(self._path.name + ".new")
        whole.unlink(missing_ok=True)
        with os.fdopen(os.open(whole, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
        whole.replace(self._path)
        self._written = text


def _memory(card: VirtualCard) -> dict[str, Any]:
    pins = card.contents.pins.values()
    return {
        "chip": card.serial,
        "pins": {
            str(pin.reference): {"value": pin.value.hex(), "attempts_left": pin.attempts_left}
            for pin in pins
        },
        "files": {f"{file.fid:04X}": file.content.hex() for file in _writable(card.contents)},
    }


def _recall(card: VirtualCard, unverified: Any) -> None:
    new = _memory(card)
    if not isinstance(unverified, dict) or unverified.get("chip") != new["chip"]:
        raise ValueError("the memory of another card")
    try:
        for pin in card.contents.pins.values():
            known = unverified["pins"][str(pin.reference)]
            value, left = bytes.fromhex(known["value"]), int(known["attempts_left"])
            if len(value) != len(pin.value) or not 0 <= left <= pin.attempts_max:
                raise ValueError("not a PIN of this card")
            pin.value[:], pin.attempts_left = value, left
        for file in _writable(card.contents):
            content = bytes.fromhex(unverified["files"][f"{file.fid:04X}"])
            if len(content) != len(file.content):
                raise ValueError("not a file of this card")
            file.content[:] = content
    except (KeyError, TypeError) as error:
        raise ValueError("not the memory of a card") from error


def _writable(contents: CardContents) -> Iterator[ElementaryFile]:
    for directory in contents.master_file.directories():
        for file in directory.children:
            if not isinstance(file, DedicatedFile) and file.rules.condition(UPDATE) != NEVER:
                yield file

"""What the promises of the card port are tried on: a source of cards, and hands at a reader."""

from __future__ import annotations

import time
from typing import Protocol

from cps_auth.card.port import CardSource
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS, Persona
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.faults import Moment

PIN_CARRYING = frozenset({0x20, 0x24, 0x2C})


class TappedCard(VirtualCard):
    """A virtual card that keeps the commands that reached it."""

    def __init__(self, igc: FakeIgcSante, persona: str | Persona, kind: str = "cps3") -> None:
        chosen = PERSONAS[persona] if isinstance(persona, str) else persona
        self.credentials = igc.credentials(chosen.name)
        super().__init__(chosen, self.credentials, kind)
        self.commands: list[bytes] = []
        self.last_command_at = time.monotonic()

    def transmit(self, command: bytes) -> bytes:
        """Answer like any card."""
        self.commands.append(command)
        self.last_command_at = time.monotonic()
        return super().transmit(command)

    @property
    def codes_received(self) -> int:
        """How many commands carried a PIN or a PUK."""
        return sum(command[1] in PIN_CARRYING and len(command) > 5 for command in self.commands)

    @property
    def pin(self) -> bytes:
        """Its PIN now."""
        return bytes(self.contents.pins[1].value)


class Bench(Protocol):
    """One reader, and sources of cards that see it. Hands return when PC/SC sees it too."""

    kind: str
    """Which of CARD_KINDS the cards are."""
    moments: tuple[Moment, ...]
    """When, around a command, to pull a card: some benches are slow."""

    def cards(self) -> CardSource:
        """Return a source that knows no card yet."""

    def insert(self, card: TappedCard, plan: FaultPlan | None = None) -> None:
        """Put a card in the empty reader, with what goes wrong around its commands."""

    def remove(self) -> None:
        """Pull the card if it is still there, and wait until that is seen."""

    def needed(self, commands: list[bytes], moment: Moment) -> int:
        """Return up to which command, of a rehearsal, a pull at this moment must be noticed."""

    def walk(self, commands: list[bytes]) -> list[int]:
        """Return the numbers, from 1, of the commands around which to make things go wrong."""

"""What the promises of the card port are tried on: a source of cards, and hands at a reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from cps_auth.card.port import CardSource
from hardware_mocks.igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS, Persona
from hardware_mocks.virtual_card import VirtualCard

VERIFY = 0x20


class TappedCard(VirtualCard):
    """A virtual CPS3 that keeps the commands it was sent and can be pulled before one of them."""

    def __init__(self, igc: FakeIgcSante, persona: str | Persona) -> None:
        chosen = PERSONAS[persona] if isinstance(persona, str) else persona
        self.credentials = igc.credentials(chosen.name)
        super().__init__(chosen, self.credentials)
        self.commands: list[bytes] = []
        self.before_command: Callable[[int], None] | None = None

    def transmit(self, command: bytes) -> bytes:
        """Answer like any card, after `before_command` was told the command's number."""
        if self.before_command is not None:
            self.before_command(len(self.commands) + 1)
        self.commands.append(command)
        return super().transmit(command)

    @property
    def pins_received(self) -> int:
        """How many VERIFY commands carried a PIN."""
        return sum(command[1] == VERIFY and len(command) > 5 for command in self.commands)

    @property
    def has_verified_pin(self) -> bool:
        """Whether the card would sign now: asked with an empty VERIFY, as OpenSC does."""
        return super().transmit(bytes.fromhex("0020000100")) == b"\x90\x00"


class Bench(Protocol):
    """One reader, and a `CardSource` that sees it. Hands return when the source sees it too."""

    cards: CardSource

    def insert(self, card: TappedCard) -> None:
        """Put a card in the empty reader."""

    def remove(self) -> None:
        """Pull the card, and wait until that is seen."""

    def pull_before(self, card: TappedCard, number: int) -> None:
        """Make the card leave instead of answering its command number `number`."""

    def pull_points(self, commands: list[bytes]) -> list[int]:
        """Return before which of the commands of a login to pull the card."""

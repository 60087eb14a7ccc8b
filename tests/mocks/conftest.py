"""Virtual cards of every kind, and a way to talk to them in hexadecimal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS


class Wire:
    """One virtual card, spoken to in hexadecimal."""

    def __init__(self, card: VirtualCard) -> None:
        self.card = card

    def ask(self, command_hex: str, data: bytes = b"", end_hex: str = "") -> str:
        """Send a command, optionally with data and what follows it; return the answer."""
        body = bytes([len(data)]) + data if data else b""
        command = bytes.fromhex(command_hex) + body + bytes.fromhex(end_hex)
        return self.card.transmit(command).hex().upper()


@pytest.fixture
def wire(igc: FakeIgcSante) -> Callable[..., Wire]:
    """Make a new card: kind, then persona."""

    def make(kind: str = "cps3", persona: str = "doctor") -> Wire:
        return Wire(VirtualCard(PERSONAS[persona], igc.credentials(persona), kind))

    return make

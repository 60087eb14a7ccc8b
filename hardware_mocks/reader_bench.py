"""The state that virtual readers, contexts and connections share, under one lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from cps_auth.model import ReaderState, Snapshot
from hardware_mocks.virtual_card import VirtualCard

_EVENT_COUNT_MODULUS = 0x10000  # dwEventState keeps it in its upper half


@dataclass(slots=True, eq=False)
class Insertion:
    """One card in one reader, from insertion to removal; never used again afterwards."""

    card: VirtualCard
    is_present: bool = True
    connections: int = 0
    resets: int = 0  # each one ends the connections that did not ask for it
    holder: object | None = None  # the connection that has the card for itself
    depth: int = 0  # how many times over


@dataclass(slots=True, eq=False)
class Reader:
    """One reader, with or without a card."""

    name: str
    insertion: Insertion | None = None
    event_count: int = 0

    def put(self, insertion: Insertion) -> None:
        """Insert a card; the reader must be empty."""
        self.insertion = insertion
        self.event_count = (self.event_count + 1) % _EVENT_COUNT_MODULUS

    def take(self) -> None:
        """Pull the card, if there is one: it loses power."""
        if self.insertion is None:
            return
        self.insertion.is_present = False
        self.insertion.card.power_off()
        self.insertion = None
        self.event_count = (self.event_count + 1) % _EVENT_COUNT_MODULUS

    def state(self) -> ReaderState:
        """Return what PC/SC would tell."""
        atr = None if self.insertion is None else self.insertion.card.atr
        return ReaderState(self.name, atr, self.event_count)


@dataclass(slots=True, eq=False)
class Bench:
    """Everything on the table. Hold `changed` while reading or writing the rest."""

    readers: dict[str, Reader]
    changed: threading.Condition = field(
        default_factory=lambda: threading.Condition(threading.RLock())
    )
    epoch: int = 0  # rises with each start of the service
    is_up: bool = True
    commands: list[bytes] = field(default_factory=list)
    before_transmit: Callable[[int, bytes], None] | None = None

    def serves(self, epoch: int) -> bool:
        """Whether the service of that epoch still runs."""
        return self.is_up and self.epoch == epoch

    def snapshot(self) -> Snapshot:
        """Return all readers now."""
        return Snapshot(tuple(reader.state() for reader in self.readers.values()))

"""The state that virtual readers, contexts and connections share, under one lock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from cps_auth.model import ReaderState, Snapshot
from hardware_mocks.card.virtual_card import Insertable
from hardware_mocks.readers.fault_plan import FaultPlan

_EVENT_COUNT_MODULUS = 0x10000  # dwEventState keeps it in its upper half


@dataclass(slots=True, eq=False)
class Insertion:
    """One card in one reader, from insertion to removal; never used again afterwards."""

    card: Insertable
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

    plans: dict[str, FaultPlan] = field(default_factory=dict)  # by reader

    def remove(self, reader: str) -> None:
        """Pull the card, if there is one."""
        with self.changed:
            self.readers[reader].take()
            self.changed.notify_all()

    def swap(self, reader: str, card: Insertable) -> None:
        """Pull the card and insert another before anybody can look."""
        with self.changed:
            self.readers[reader].take()
            self.readers[reader].put(Insertion(card))
            self.changed.notify_all()

    def stop(self) -> None:
        """End the daemon: the cards that are in lose power."""
        with self.changed:
            self.is_up = False
            for reader in self.readers.values():
                if reader.insertion is not None:
                    reader.insertion.card.power_off()
            self.changed.notify_all()

    def start(self) -> None:
        """Start the daemon, unless it runs: it finds the cards that are in, and counts from one."""
        with self.changed:
            if self.is_up:
                return
            self.is_up = True
            self.epoch += 1
            for reader in self.readers.values():
                reader.event_count = 0
                if reader.insertion is not None:
                    reader.put(Insertion(reader.insertion.card))
            self.changed.notify_all()

    def serves(self, epoch: int) -> bool:
        """Return whether the service of that epoch still runs."""
        return self.is_up and self.epoch == epoch

    def snapshot(self) -> Snapshot:
        """Return all readers now."""
        return Snapshot(tuple(reader.state() for reader in self.readers.values()))

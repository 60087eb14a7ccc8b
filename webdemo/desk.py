"""The virtual desk: one reader, and a drawer with a card of every persona."""

from __future__ import annotations

import threading

from cps_auth.card.native.source import NativeCards
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

READER = "Lecteur virtuel 00 00"


class VirtualDesk:
    """The virtual desk: cards and a reader in a person's hands. Safe from several threads.

    Attributes:
        readers: the machine's readers and their service.
        cards: the product's own native driver on them.
    """

    def __init__(self, igc: FakeIgcSante) -> None:
        self._igc = igc
        self._mutex = threading.RLock()
        self._drawer: dict[str, VirtualCard] = {}
        self._inserted: str | None = None
        self.service_is_up = True
        self.readers = VirtualReaders(READER)
        self.cards = NativeCards(self.readers.service)

    @property
    def inserted(self) -> str | None:
        """Return the name of the persona whose card is in the reader."""
        return self._inserted

    def card(self, persona: str) -> VirtualCard:
        """Return the one card of a persona; its counters outlive its visits to the reader."""
        with self._mutex:
            if persona not in self._drawer:
                credentials = self._igc.credentials(persona)
                self._drawer[persona] = VirtualCard(PERSONAS[persona], credentials)
            return self._drawer[persona]

    def insert(self, persona: str) -> None:
        """Insert a card, swapping it for the one that is there."""
        with self._mutex:
            if self._inserted is None:
                self.readers.insert(READER, self.card(persona))
            else:
                self.readers.swap(READER, self.card(persona))
            self._inserted = persona

    def pull(self) -> None:
        """Pull the card, if there is one."""
        with self._mutex:
            self.readers.remove(READER)
            self._inserted = None

    def stop_service(self) -> None:
        """Let the reader service die."""
        with self._mutex:
            self.readers.stop_service()
            self.service_is_up = False

    def start_service(self) -> None:
        """Bring the reader service back."""
        with self._mutex:
            self.readers.start_service()
            self.service_is_up = True

    def renew_cards(self) -> None:
        """Put new cards in the drawer, with full PIN counters; the reader is empty then."""
        with self._mutex:
            self.pull()
            self._drawer.clear()

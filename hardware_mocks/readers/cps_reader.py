"""One virtual reader for a test: personas' cards go in by name."""

from __future__ import annotations

from cps_auth.card.native.source import NativeCards
from cps_auth.card.port import CardSource
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import find_persona
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.virtual_readers import VirtualReaders

READER_NAME = "Virtual reader 00 00"


class CpsReader:
    """A reader and whoever plays with it. `cards` is what an application is given.

    Attributes:
        name: of the reader, as PC/SC has it.
        readers: the machine's readers and their service, to play deeper.
        cards: the product's own native driver on them.
    """

    def __init__(self, igc: FakeIgcSante) -> None:
        """Plug in one reader, empty."""
        self._igc = igc
        self.name = READER_NAME
        self.readers = VirtualReaders(READER_NAME)
        self.cards: CardSource = NativeCards(self.readers.service)

    def make_card(self, persona: str = "doctor", kind: str = "cps3") -> VirtualCard:
        """Return a new card, not inserted.

        Raises:
            KeyError: no such persona, or no such kind.
        """
        return VirtualCard(find_persona(persona), self._igc.credentials(persona), kind)

    def insert(self, card: VirtualCard | str = "doctor", kind: str = "cps3") -> VirtualCard:
        """Insert a card, or a new one of a persona; one that is there is swapped.

        Raises:
            KeyError: no such persona, or no such kind.
        """
        inserted = self.make_card(card, kind) if isinstance(card, str) else card
        self.readers.swap(self.name, inserted)
        return inserted

    def pull(self) -> None:
        """Pull the card, if there is one."""
        self.readers.remove(self.name)

    def arm(self, plan: FaultPlan | None) -> None:
        """Let the faults of a plan happen around the commands that follow."""
        self.readers.arm(self.name, plan)

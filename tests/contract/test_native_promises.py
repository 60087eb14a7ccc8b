"""The native adapter keeps the promises of the card port, on readers in this process."""

from __future__ import annotations

import pytest

from cps_auth.card.native import NativeCards
from hardware_mocks.virtual_readers import VirtualReaders
from tests.contract.bench import TappedCard
from tests.contract.promises import CardPromises

READER = "Virtual reader"


class InProcessBench:
    """One virtual reader under the native adapter."""

    def __init__(self) -> None:
        self._readers = VirtualReaders(READER)
        self.cards = NativeCards(self._readers.service)

    def insert(self, card: TappedCard) -> None:
        """Put a card in the empty reader."""
        self._readers.insert(READER, card)

    def remove(self) -> None:
        """Pull the card."""
        self._readers.before_transmit = None
        self._readers.remove(READER)

    def pull_before(self, card: TappedCard, number: int) -> None:
        """Make the card leave before its command number `number`."""

        def leave(_total: int, _command: bytes) -> None:
            if len(card.commands) + 1 == number:
                self._readers.remove(READER)

        self._readers.before_transmit = leave

    def pull_points(self, commands: list[bytes]) -> list[int]:
        """Return every command: nothing is slow here."""
        return list(range(1, len(commands) + 1))


class TestNative(CardPromises):
    """The native adapter, without pcscd."""

    @pytest.fixture
    def bench(self) -> InProcessBench:
        """An empty virtual reader."""
        return InProcessBench()

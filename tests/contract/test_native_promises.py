"""The native adapter keeps the promises of the card port, on readers in this process."""

from __future__ import annotations

import pytest

from cps_auth.card.native.source import NativeCards
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.faults import Moment
from hardware_mocks.readers.virtual_readers import VirtualReaders
from tests.contract.bench import TappedCard
from tests.contract.cycles import CyclePromises
from tests.contract.promises import CardPromises
from tests.contract.pulls import PullPromises

READER = "Virtual reader"


class InProcessBench:
    """One virtual reader under the native adapter."""

    moments = tuple(Moment)

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._readers = VirtualReaders(READER)

    def cards(self) -> NativeCards:
        """Return a new source."""
        return NativeCards(self._readers.service)

    def insert(self, card: TappedCard, plan: FaultPlan | None = None) -> None:
        """Put a card in the empty reader."""
        self._readers.arm(READER, plan)
        self._readers.insert(READER, card)

    def remove(self) -> None:
        """Pull the card."""
        self._readers.arm(READER, None)
        self._readers.remove(READER)

    def needed(self, commands: list[bytes], moment: Moment) -> int:
        """Return all, but for a card that leaves once everything was answered."""
        return len(commands) - (moment is Moment.AFTER)

    def walk(self, commands: list[bytes]) -> list[int]:
        """Return every command: nothing is slow here."""
        return list(range(1, len(commands) + 1))


@pytest.fixture(params=["cps3", "cps4", "cps4-t0", "cps4-rc"])
def bench(request: pytest.FixtureRequest) -> InProcessBench:
    """An empty virtual reader, for each kind of card."""
    return InProcessBench(request.param)


class TestNative(CardPromises):
    """The native adapter, without pcscd."""


class TestNativeCycles(CyclePromises):
    """The native adapter, without pcscd, many times over."""


class TestNativePulled(PullPromises):
    """The native adapter, without pcscd, whose cards leave."""

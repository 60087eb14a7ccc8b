"""The native adapter keeps the promises of the card port through the real pcscd."""

from __future__ import annotations

from typing import Any

import pytest

from cps_auth.card.open import open_cards
from cps_auth.card.pcsc import PcscService
from cps_auth.model import Snapshot
from tests.contract.bench import VERIFY, TappedCard
from tests.contract.promises import CardPromises

pytestmark = pytest.mark.system


class PcscdBench:
    """One slot of vpcd behind a private pcscd."""

    def __init__(self, pcscd: Any) -> None:
        self._pcscd = pcscd
        self._inserted: Any = None
        self._seen = Snapshot()
        self.cards = open_cards()

    def insert(self, card: TappedCard) -> None:
        """Put a card in the slot and wait until pcscd has powered it."""
        self._inserted = self._pcscd.insert(persona=card)
        self._seen = Snapshot(self.cards.readers())

    def remove(self) -> None:
        """Pull the card and wait until pcscd has counted that.

        An exchange that broke off empties the reader before pcscd looks at it; a card inserted
        in between would never be seen.
        """
        self._inserted.remove()
        service = PcscService()
        counted = {one.name: one.event_count for one in self._seen.readers}
        now = self._seen
        while {one.name: one.event_count for one in now.readers} == counted:
            now = service.wait_for_change(now, 20.0)
        service.close()

    def pull_before(self, card: TappedCard, number: int) -> None:
        """Cut the link to vpcd at the card's command number `number`."""
        first = len(card.commands)

        def leave(count: int) -> None:
            if count - first == number:
                raise ConnectionAbortedError

        card.before_command = leave

    def pull_points(self, commands: list[bytes]) -> list[int]:
        """Return the first command, VERIFY and everything after it: each costs half a second."""
        verify = next(
            number
            for number, command in enumerate(commands, 1)
            if command[1] == VERIFY and len(command) > 5
        )
        return [1, *range(verify, len(commands) + 1)]


class TestPcsc(CardPromises):
    """The native adapter over pcscd."""

    @pytest.fixture
    def bench(self, private_pcscd: Any) -> PcscdBench:
        """An empty slot of a private pcscd."""
        return PcscdBench(private_pcscd)

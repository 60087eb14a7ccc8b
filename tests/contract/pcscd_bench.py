"""One slot of vpcd behind a private pcscd, for the promises of the card port."""

from __future__ import annotations

import threading
from typing import Any

from cps_auth.card.open import open_cards
from cps_auth.card.pcsc.service import PcscService
from cps_auth.card.port import CardSource
from cps_auth.model import ReaderState, Snapshot
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.faults import Moment
from hardware_mocks.vpcd.slot import VpcdSlot
from tests.contract.bench import PIN_CARRYING, TappedCard

_INSERTIONS = 3
DEADLINE_S = 20.0
NOTICED_S = 1.0  # pcscd looks at a reader every 0.4 s


class PcscdBench:
    """One slot of vpcd behind a private pcscd."""

    def __init__(self, pcscd: Any, kind: str, module: str | None = None) -> None:
        self.kind = kind
        self._module = module
        self.moments = (Moment.BEFORE, Moment.DURING) if kind == "cps3" else (Moment.DURING,)
        self._reader = pcscd.readers[0]
        self._slot = VpcdSlot(pcscd.vpcd_address)
        self._seen = self._state()

    def cards(self) -> CardSource:
        """Return a new source."""
        return open_cards(self._module)

    def insert(self, card: TappedCard, plan: FaultPlan | None = None) -> None:
        """Put a card in the slot and wait until pcscd has powered it.

        On a busy machine pcscd gives a card up as mute and never asks again; then, as a person
        would, it is taken out and put in once more. It has seen no command of anybody's yet.
        """
        for _ in range(_INSERTIONS):
            self._slot.insert(card, plan)
            try:
                self._seen = self._await(lambda now: bool(now.atr))
            except TimeoutError as mute:
                told = mute
                self._slot.pull()
                self._await(lambda now: now.event_count % 2 == 0)
            else:
                return
        raise told

    def remove(self) -> None:
        """Pull the card and wait until pcscd has counted that.

        An exchange that broke off empties the reader before pcscd looks at it; a card inserted
        in between would never be seen. One that was swapped and pulled in between never was.
        """
        if self._slot.plan is not None:
            self._slot.plan.cancel()
        self._slot.pull()
        counted = self._seen.event_count
        service = PcscService()
        seen = service.snapshot()
        while (now := self._of(seen)).atr is not None or now.event_count <= counted:
            fresh = service.wait_for_change(seen, NOTICED_S)
            if fresh == seen and now.atr is None:
                break
            seen = fresh
        service.close()
        for thread in threading.enumerate():  # the card has no power once its thread has ended
            while thread.name.startswith("vpcd ") and thread.is_alive():
                self._slot.pull()  # a swap may have put the second card in just now
                thread.join(NOTICED_S)

    def needed(self, commands: list[bytes], moment: Moment) -> int:
        """Return all, but for a card that leaves once everything was answered."""
        return len(commands) - (moment is Moment.AFTER)

    def walk(self, commands: list[bytes]) -> list[int]:
        """Return the first command, one in the middle, and from the first code to the end.

        Each costs a second, until pcscd has seen the removal and the insertion; so for other
        cards than the CPS3 only the first code and the end.
        """
        codes = [
            number
            for number, command in enumerate(commands, 1)
            if command[1] in PIN_CARRYING and len(command) > 5
        ]
        first = codes[0] if codes else len(commands)
        if self.kind != "cps3":
            return sorted({first, len(commands)})
        return sorted({1, len(commands) // 2, *range(first, len(commands) + 1)})

    def close(self) -> None:
        """Pull the card."""
        self._slot.pull()

    def _state(self) -> ReaderState:
        return self._of(Snapshot(open_cards().readers()))

    def _of(self, seen: Snapshot) -> ReaderState:
        return next(one for one in seen.readers if one.name == self._reader)

    def _await(self, is_so: Any) -> ReaderState:
        service = PcscService()
        try:
            seen = service.snapshot()
            while True:
                now = self._of(seen)
                if is_so(now):
                    return now
                fresh = service.wait_for_change(seen, DEADLINE_S)
                if fresh == seen:
                    raise TimeoutError(f"pcscd saw nothing: {now}")
                seen = fresh
        finally:
            service.close()

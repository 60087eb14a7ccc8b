"""One connection to a card in a virtual reader: what SCardConnect returns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cps_auth.errors import CardBusy, CardMisbehaved, CardRemoved, ReaderServiceLost
from hardware_mocks.card.command import hide_pin
from hardware_mocks.card.virtual_card import Insertable
from hardware_mocks.readers.fault_plan import AnswerLost, FaultPlan
from hardware_mocks.readers.reader_bench import Bench, Insertion

_STATUS_WORD_BYTES = 2
BUSY_TIMEOUT_S = 0.2
"""How long `exclusive` waits for another holder. PC/SC waits for ever; a test must not."""


class VirtualTransport:
    """A `cps_auth.card.port.Transport` that dies with its card, as a real one does."""

    def __init__(self, bench: Bench, epoch: int, reader: str, insertion: Insertion) -> None:
        """Connect; the caller holds `bench.changed` and knows that the card is there."""
        if insertion.connections == 0:
            insertion.card.power_on()
        insertion.connections += 1
        self._bench = bench
        self._epoch = epoch
        self._reader = reader
        self._insertion = insertion
        self._resets = insertion.resets
        self._is_open = True
        self._resets_when_closed = False

    @property
    def protocol(self) -> int:
        """Return 0 for T=0, 1 for T=1."""
        return self._insertion.card.protocol

    def transmit(self, command: bytes) -> bytes:
        """Send one command, after `before_transmit` had its chance to pull the card.

        Raises:
            CardRemoved: the card left, was swapped, or was reset by another connection.
            ReaderServiceLost: the service was stopped.
            CardBusy: another connection holds it.
            CardMisbehaved: fewer than two bytes came back, as only a fault makes it.
        """
        bench, hidden = self._bench, hide_pin(command)
        with bench.changed:
            self._require_usable()
            plan = bench.plans.get(self._reader)
        if bench.before_transmit is not None:
            bench.before_transmit(len(bench.commands) + 1, hidden)
        answer = self._deliver(command) if plan is None else self._follow(plan, command)
        if len(answer) < _STATUS_WORD_BYTES:
            raise CardMisbehaved(f"response of {len(answer)} bytes")
        return answer

    def _deliver(self, command: bytes) -> bytes:
        with self._bench.changed:
            self._require_usable()
            self._bench.commands.append(hide_pin(command))
            return self._insertion.card.transmit(command)

    def _follow(self, plan: FaultPlan, command: bytes) -> bytes:
        try:
            outcome = plan.carry_out(command, self, self._deliver)
        except AnswerLost:
            with self._bench.changed:
                self._require_usable()
            raise CardRemoved from None
        with self._bench.changed:
            self._require_usable()  # somebody else may have pulled it meanwhile
        outcome.then()
        return outcome.answer

    # --- The hands of a fault plan ---------------------------------------------

    def pull(self) -> None:
        """Pull this card, if it is there."""
        with self._bench.changed:
            if self._insertion.is_present:
                self._bench.remove(self._reader)

    def swap(self, card: Insertable) -> None:
        """Put another card in its place, before anybody can look."""
        self._bench.swap(self._reader, card)

    def restart_service(self) -> None:
        """Kill the reader service and start it again."""
        with self._bench.changed:
            self._bench.stop()
            self._bench.start()

    def is_present(self) -> bool:
        """Return whether this card is still in its reader, and served."""
        return self._has_card()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other connections off the card inside the block.

        A reset by another connection before the block is no obstacle: it was the same card, and
        nothing that it forgets was ours.

        Raises:
            CardBusy: another connection holds it for longer than BUSY_TIMEOUT_S.
            CardRemoved, ReaderServiceLost: as in `transmit`.
        """
        self._acquire()
        try:
            yield
        finally:
            self._release()

    def will_verify(self) -> None:
        """Note that a PIN is sent next: the card is reset when this connection ends."""
        self._resets_when_closed = True

    def resume(self) -> bool:
        """Go on after another connection reset the card, unless something of ours was verified."""
        with self._bench.changed:
            if self._resets_when_closed or not self._has_card() or self._is_usable():
                return False
            self._resets = self._insertion.resets
            return True

    def reset(self) -> None:
        """Reset the card: other connections end, this one goes on. Never raises."""
        with self._bench.changed:
            if self._is_usable() and not self._is_held_by_another():
                self._resets_when_closed = False
                self._insertion.card.reset()
                self._insertion.resets += 1
                self._resets = self._insertion.resets

    def close(self) -> None:
        """Let go of the card, resetting it after a PIN. Never raises, may be called twice."""
        with self._bench.changed:
            if not self._is_open:
                return
            if self._resets_when_closed:
                self.reset()
            self._is_open = False
            self._insertion.connections -= 1
            if self._insertion.holder is self:
                self._insertion.holder, self._insertion.depth = None, 0
                self._bench.changed.notify_all()

    def _acquire(self) -> None:
        bench, insertion = self._bench, self._insertion
        with bench.changed:
            bench.changed.wait_for(
                lambda: not self._has_card() or not self._is_held_by_another(), BUSY_TIMEOUT_S
            )
            if insertion.holder is None:
                self._resets = insertion.resets
            self._require_usable()
            insertion.holder = self
            insertion.depth += 1

    def _release(self) -> None:
        insertion = self._insertion
        with self._bench.changed:
            if insertion.holder is not self:
                return
            insertion.depth -= 1
            if insertion.depth == 0:
                insertion.holder = None
                self._bench.changed.notify_all()

    def _require_usable(self) -> None:
        if not self._bench.serves(self._epoch):
            raise ReaderServiceLost("stopped")
        if not self._is_usable():
            raise CardRemoved
        if self._is_held_by_another():
            raise CardBusy

    def _is_usable(self) -> bool:
        return self._has_card() and self._resets == self._insertion.resets

    def _has_card(self) -> bool:
        return self._is_open and self._insertion.is_present and self._bench.serves(self._epoch)

    def _is_held_by_another(self) -> bool:
        return self._insertion.holder not in (None, self)

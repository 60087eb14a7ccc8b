"""One slot of vpcd in which cards come and go while their faults happen."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable

from hardware_mocks.card.virtual_card import Insertable
from hardware_mocks.readers.fault_plan import AnswerLost, CommandOutcome, FaultPlan
from hardware_mocks.transcripts.cards import TranscriptBroken
from hardware_mocks.vpcd.reader import DEFAULT_ADDRESS, VpcdLink, VpcdUnreachable

_RECONNECT_S = 20.0  # how long a card waits in its reader for a service that was restarted
_POLL_S = 0.05


class VpcdSlot:
    """The hands at one slot: what is in it is served by a thread. Safe from several threads."""

    def __init__(
        self,
        address: tuple[str, int] = DEFAULT_ADDRESS,
        *,
        restart_service: Callable[[], None] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        """Take an empty slot.

        Args:
            address: where vpcd listens for it.
            restart_service: kills pcscd and starts it again, for the fault of that name.
            on_lost: called in the card's thread when vpcd closes the connection.
        """
        self._address = address
        self._restart = restart_service
        self._on_lost = on_lost
        self._mutex = threading.RLock()
        self._insertion: _Insertion | None = None
        self.card: Insertable | None = None
        self.plan: FaultPlan | None = None
        self.observe: Callable[[bytes, bytes], None] | None = None

    def insert(self, card: Insertable, plan: FaultPlan | None = None) -> None:
        """Put a card in and wait until pcscd has noticed.

        Args:
            card: what is inserted; pull the one before first.
            plan: of what goes wrong with it.

        Raises:
            VpcdUnreachable: no vpcd there, or another card is in its slot.
        """
        with self._mutex:
            self.plan = plan
            self._put(card)

    def _put(self, card: Insertable) -> None:
        self._insertion = _Insertion(self, card, self._address)
        self.card = card
        self._insertion.start()

    def pull(self) -> None:
        """Pull the card, if there is one."""
        with self._mutex:
            insertion, self._insertion, self.card = self._insertion, None, None
        if insertion is not None:
            insertion.end()

    def swap(self, card: Insertable) -> None:
        """Pull the card and insert another as soon as pcscd has looked, which it does every 0.4 s.

        A card that is there again before it has looked is not taken for another: pcscd 1.9 goes
        on as if nothing had happened, or says for ever that there is none. Real readers tell.

        Raises:
            VpcdUnreachable: as in `insert`.
        """
        with self._mutex:
            self.pull()
            self._let_it_look(card)
            self._put(card)

    def _let_it_look(self, card: Insertable) -> None:
        was_seen_empty = False
        while not was_seen_empty:
            link = VpcdLink(card, self._address)
            was_seen_empty = link.was_looked_for
            link.hang_up()

    def restart_service(self) -> None:
        """Restart the service; the card stays in its reader and is found again.

        Raises:
            VpcdUnreachable: it does not come back.
        """
        if self._restart is None:
            raise VpcdUnreachable("this slot does not know how to restart its service")
        with self._mutex:
            card = self.card
            self.pull()
            self._restart()
            if card is not None:
                self._put_again(card)

    def _put_again(self, card: Insertable) -> None:
        deadline = time.monotonic() + _RECONNECT_S
        while True:
            try:
                self._put(card)
            except VpcdUnreachable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(_POLL_S)
            else:
                return

    def lost(self, insertion: _Insertion) -> None:
        """Note that vpcd closed the connection of a card."""
        if self.is_serving(insertion):
            self._insertion = self.card = None
            if self._on_lost is not None:
                self._on_lost()

    def is_serving(self, insertion: _Insertion) -> bool:
        """Return whether this is the card that is in the slot now."""
        return self._insertion is insertion


class _Insertion:
    """One card from insertion to removal: link, thread, and the hands of its fault plan."""

    def __init__(self, slot: VpcdSlot, card: Insertable, address: tuple[str, int]) -> None:
        self._slot = slot
        self._card = card
        self._link = VpcdLink(card, address, self._exchange)
        self._thread = threading.Thread(target=self._serve, name=f"vpcd {address[1]}")

    def start(self) -> None:
        self._thread.start()

    def _serve(self) -> None:
        was_pulled = False
        try:
            with contextlib.suppress(TranscriptBroken):  # a replay tells when it finishes
                was_pulled = self._link.serve()
        finally:
            if not was_pulled:
                self._slot.lost(self)

    def end(self) -> None:
        self._link.close()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _exchange(self, command: bytes) -> CommandOutcome:
        plan, observe = self._slot.plan, self._slot.observe
        if plan is None:
            outcome = CommandOutcome(self._transmit(command), _nothing)
        else:
            outcome = plan.carry_out(command, self, self._transmit)
        if not outcome.answer:  # vpcd would wait for its bytes, and all of pcscd with it
            self.pull()
            raise AnswerLost
        if observe is not None:
            observe(command, outcome.answer)
        return outcome

    def _transmit(self, command: bytes) -> bytes:
        if not self.is_present():
            raise AnswerLost
        return self._card.transmit(command)

    def pull(self) -> None:
        """Pull this card, if it is there."""
        if self.is_present():
            self._slot.pull()

    def swap(self, card: Insertable) -> None:
        """Put another card in its place."""
        self._do_elsewhere(lambda: self._slot.swap(card))

    def restart_service(self) -> None:
        """Restart the service."""
        self._do_elsewhere(self._slot.restart_service)

    def _do_elsewhere(self, act: Callable[[], None]) -> None:
        """In another thread, since it ends this one; what fails there leaves an empty slot."""
        self._link.close()

        def run() -> None:
            with contextlib.suppress(VpcdUnreachable):
                act()

        threading.Thread(target=run, name="vpcd hands").start()

    def is_present(self) -> bool:
        """Return whether this card is still in the slot, and served."""
        return self._link.is_open and self._slot.is_serving(self)


def _nothing() -> None:
    """Do nothing: no fault follows this answer."""

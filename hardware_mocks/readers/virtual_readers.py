"""PC/SC in this process: readers, cards that come and go, a service that dies and comes back.

One `VirtualReaders` stands for the readers and the daemon of a machine; `service()` gives each
thread its own context. `NativeCards(readers.service)` is all that it takes to put a virtual
card in front of the product.
"""

from __future__ import annotations

from collections.abc import Callable

from cps_auth.card.port import ReaderService
from hardware_mocks.card.virtual_card import Insertable
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.reader_bench import Bench, Reader
from hardware_mocks.readers.virtual_service import VirtualService


class VirtualReaders:
    """The readers of one machine, to be played with from any thread."""

    def __init__(self, *names: str) -> None:
        """Plug in readers of these names, empty, and start the service."""
        self._bench = Bench({name: Reader(name) for name in names})

    def service(self) -> ReaderService:
        """Return a context for one thread; it is dead for ever once the service was stopped."""
        return VirtualService(self._bench)

    # --- What a test sees ------------------------------------------------------

    @property
    def commands(self) -> tuple[bytes, ...]:
        """Return every command that reached a card so far, `*` for each byte of a PIN."""
        with self._bench.changed:
            return tuple(self._bench.commands)

    @property
    def apdu_count(self) -> int:
        """Return how many commands reached a card so far."""
        return len(self.commands)

    @property
    def before_transmit(self) -> Callable[[int, bytes], None] | None:
        """Return the hook that is called before each command, in the thread that sends it.

        It gets the number of the command, from 1, and its bytes, `*` for each byte of a PIN. It
        may pull the card: then the command does not reach it.
        """
        return self._bench.before_transmit

    @before_transmit.setter
    def before_transmit(self, hook: Callable[[int, bytes], None] | None) -> None:
        self._bench.before_transmit = hook

    # --- What hands do ---------------------------------------------------------

    def insert(self, reader: str, card: Insertable) -> None:
        """Put a card in an empty reader.

        Raises:
            KeyError: no such reader.
            ValueError: there is a card in it.
        """
        with self._bench.changed:
            if self._bench.readers[reader].insertion is not None:
                raise ValueError(f"there is a card in {reader}")
            self.swap(reader, card)

    def remove(self, reader: str) -> None:
        """Pull the card, if there is one.

        Raises:
            KeyError: no such reader.
        """
        self._bench.remove(reader)

    def swap(self, reader: str, card: Insertable) -> None:
        """Pull the card and insert another, or the same again, before anybody can look.

        Raises:
            KeyError: no such reader.
        """
        self._bench.swap(reader, card)

    def add_reader(self, name: str) -> None:
        """Plug a reader in, empty.

        Raises:
            ValueError: one of that name is there.
        """
        with self._bench.changed:
            if name in self._bench.readers:
                raise ValueError(f"there is a reader called {name}")
            self._bench.readers[name] = Reader(name)
            self._bench.changed.notify_all()

    def drop_reader(self, name: str) -> None:
        """Unplug a reader; the card in it goes with it.

        Raises:
            KeyError: no such reader.
        """
        with self._bench.changed:
            self._bench.readers.pop(name).take()
            self._bench.changed.notify_all()

    def stop_service(self) -> None:
        """End the daemon: contexts and connections are dead, cards stay in, without power."""
        self._bench.stop()

    def start_service(self) -> None:
        """Start the daemon again: it finds the cards that are in, and counts from one."""
        self._bench.start()

    # --- What goes wrong -------------------------------------------------------

    def arm(self, reader: str, plan: FaultPlan | None) -> None:
        """Let the faults of a plan happen around the commands of this reader; None: no more.

        Raises:
            KeyError: no such reader.
        """
        with self._bench.changed:
            if reader not in self._bench.readers:
                raise KeyError(reader)
            earlier = self._bench.plans.pop(reader, None)
            if plan is not None:
                self._bench.plans[reader] = plan
        if earlier is not None:
            earlier.cancel()

"""One context of the virtual PC/SC: what SCardEstablishContext returns."""

from __future__ import annotations

from dataclasses import replace

from cps_auth.errors import NoCard, NoReader, ReaderServiceLost
from cps_auth.model import Snapshot
from hardware_mocks.readers.reader_bench import Bench
from hardware_mocks.readers.virtual_transport import VirtualTransport


class VirtualService:
    """A `cps_auth.card.port.ReaderService`; dead for ever once the service was stopped."""

    def __init__(self, bench: Bench) -> None:
        """Establish a context; one made while the service is down never works."""
        self._bench = bench
        with bench.changed:
            self._epoch = bench.epoch if bench.is_up else -1
        self._is_open = True
        self._is_cancelled = False

    def snapshot(self) -> Snapshot:
        """Return all readers now.

        Raises:
            ReaderServiceLost: the service was stopped, or this context closed.
        """
        with self._bench.changed:
            self._require_service()
            return self._bench.snapshot()

    def wait_for_change(self, seen: Snapshot, timeout_s: float) -> Snapshot:
        """Block until something differs from `seen`, the timeout, or `cancel`.

        Raises:
            ReaderServiceLost: the service was stopped, or this context closed.
        """
        known = replace(seen, readers=tuple(replace(r, generation=0) for r in seen.readers))
        with self._bench.changed:
            if not self._is_cancelled:
                self._bench.changed.wait_for(lambda: self._must_tell(known), timeout_s)
            else:
                self._is_cancelled = False  # spent on this call
            return self.snapshot()

    def _must_tell(self, known: Snapshot) -> bool:
        return self._is_cancelled or not self._is_alive() or self._bench.snapshot() != known

    def cancel(self) -> None:
        """End the blocked wait at once, and the next one too. From any thread."""
        with self._bench.changed:
            self._is_cancelled = True
            self._bench.changed.notify_all()

    def connect(self, reader: str) -> VirtualTransport:
        """Power the card in `reader` and return it.

        Raises:
            NoReader, NoCard, ReaderServiceLost
        """
        with self._bench.changed:
            self._require_service()
            if reader not in self._bench.readers:
                raise NoReader(reader)
            insertion = self._bench.readers[reader].insertion
            if insertion is None:
                raise NoCard
            return VirtualTransport(self._bench, self._epoch, reader, insertion)

    def close(self) -> None:
        """Release the context. Never raises, may be called twice."""
        with self._bench.changed:
            self._is_open = False
            self._bench.changed.notify_all()

    def _is_alive(self) -> bool:
        return self._is_open and self._bench.serves(self._epoch)

    def _require_service(self) -> None:
        if not self._is_alive():
            raise ReaderServiceLost("stopped")

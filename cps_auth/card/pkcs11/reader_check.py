"""Reader checks by PC/SC behind a PKCS#11 module, which cannot be trusted with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Final

from cps_auth.card.port import ReaderService
from cps_auth.errors import CardRemoved, CpsAuthError, NoCard, NoReader, ReaderServiceLost
from cps_auth.model import ReaderState, Snapshot

log = logging.getLogger(__name__)

NOTICE_REMOVAL_S: Final = 0.8
"""How long to wait for a removal to show: pcscd looks at a reader every 400 ms at worst."""


def no_pcsc() -> ReaderService:
    """Stand for PC/SC where nobody gave a service: it is lost."""
    raise ReaderServiceLost("no PC/SC service was given")


class ReaderPresence:
    """PC/SC, asked one question at a time."""

    def __init__(self, services: Callable[[], ReaderService]) -> None:
        self._services = services

    def snapshot(self) -> Snapshot:
        """Return all readers now.

        Raises:
            ReaderServiceLost: nobody can tell.
        """
        with self._service() as service:
            return _certain(service.snapshot())

    def holds(self, reader: ReaderState) -> bool:
        """Return whether the card seen in `reader` has stayed there since.

        Raises:
            ReaderServiceLost: nobody can tell.
        """
        return _has(self.snapshot(), reader)

    def require(self, reader: ReaderState) -> None:
        """Check that the card seen in `reader` has stayed there since.

        Raises:
            CardRemoved: it left, or left and came back, or another took its place.
            ReaderServiceLost: nobody can tell.
        """
        if not self.holds(reader):
            raise CardRemoved

    def require_after_doubt(self, reader: ReaderState, within_s: float) -> None:
        """As `require`, giving PC/SC `within_s` seconds to notice a removal that just happened."""
        until = monotonic() + within_s
        with self._service() as service:
            seen = _certain(service.snapshot())
            while _has(seen, reader):
                remaining_s = until - monotonic()
                if remaining_s <= 0:
                    return
                seen = _certain(service.wait_for_change(seen, remaining_s))
        raise CardRemoved

    def reset(self, reader: ReaderState) -> None:
        """Reset the card, so that it forgets a verified PIN. Never raises.

        C_Logout is not enough: not every module tells the card, and one that was killed told
        nobody. A card that has left forgets by itself; any other failure is logged.
        """
        try:
            with self._service() as service:
                transport = service.connect(reader.name)
                try:
                    with transport.exclusive():  # a reset waits for others' without end
                        transport.reset()
                finally:
                    transport.close()
        except (CardRemoved, NoCard, NoReader):
            return
        except CpsAuthError as failure:
            log.warning("card not reset after use: %s", failure)

    @contextmanager
    def _service(self) -> Iterator[ReaderService]:
        service = self._services()
        try:
            yield service
        finally:
            service.close()


def _certain(snapshot: Snapshot) -> Snapshot:
    if not snapshot.service_up:
        raise ReaderServiceLost
    return snapshot


def _has(snapshot: Snapshot, reader: ReaderState) -> bool:
    return any(
        (now.name, now.atr, now.event_count) == (reader.name, reader.atr, reader.event_count)
        for now in snapshot.readers
    )

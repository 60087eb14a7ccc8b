"""Cards driven by this package itself, without vendor middleware, over any `ReaderService`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from cps_auth.card.atr import kind_of
from cps_auth.card.iasecc import IasEccCard, open_iasecc
from cps_auth.card.port import CardListener, ReaderService
from cps_auth.card.watch import CardWatcher
from cps_auth.errors import CardRemoved, NoCard, NoReader, SeveralCards, UnsupportedCard
from cps_auth.model import CardKind, ReaderState, Snapshot

_DRIVEN = frozenset({CardKind.CPS3, CardKind.CPS3_CONTACTLESS})
"""Kinds of cards that this package can drive; a CPS4 is recognised and refused."""


class NativeCards:
    """A `CardSource` over PC/SC, or over whatever else is a `ReaderService`."""

    def __init__(self, services: Callable[[], ReaderService]) -> None:
        """Remember how to reach the service; nothing is opened yet.

        Args:
            services: makes a connection to the service; one is made per card and per watcher.
        """
        self._services = services

    def readers(self) -> tuple[ReaderState, ...]:
        """Return all readers now.

        Raises:
            ReaderServiceLost: nobody can tell.
        """
        service = self._services()
        try:
            return service.snapshot().readers
        finally:
            service.close()

    def open_card(self, reader: str | None = None) -> IasEccCard:
        """Open the one usable card, or the one in the named reader.

        Raises:
            ReaderServiceLost, NoReader, NoCard, CardBusy, CardRemoved, CardMisbehaved
            UnsupportedCard: cards are present, none is one that this package drives.
            SeveralCards: more than one is, and `reader` is None.
        """
        owned = ExitStack()
        try:
            return self._open(reader, owned)
        except BaseException:
            owned.close()
            raise

    def watch(self, listener: CardListener) -> CardWatcher:
        """Start telling `listener` every change: see `cps_auth.card.watch`."""
        return CardWatcher(self._services, listener)

    def _open(self, reader: str | None, owned: ExitStack) -> IasEccCard:
        service = self._services()
        owned.callback(service.close)
        chosen = choose_reader(service.snapshot(), reader)
        transport = service.connect(chosen.name)
        owned.callback(transport.close)
        if chosen not in service.snapshot().readers:
            raise CardRemoved  # swapped since it was chosen: the ATR is not this card's
        return open_iasecc(
            transport, reader=chosen.name, atr=chosen.atr or b"", kind=_kind(chosen), owned=owned
        )


def choose_reader(snapshot: Snapshot, reader: str | None) -> ReaderState:
    """Return the reader whose card to open.

    One card in contact is chosen over any contactless one: a dual reader shows the same card
    twice, and a contactless card proves nobody.

    Args:
        snapshot: all readers now.
        reader: the name of the wanted one, None for the only usable one.

    Raises:
        NoReader, NoCard, UnsupportedCard, SeveralCards
    """
    candidates = [state for state in snapshot.readers if reader in (None, state.name)]
    present = [state for state in candidates if state.atr is not None]
    if not candidates:
        raise NoReader(reader)
    if not present:
        raise NoCard
    usable = [state for state in present if _kind(state) in _DRIVEN]
    if not usable:
        raise UnsupportedCard((present[0].atr or b"").hex().upper())
    best = [state for state in usable if not _kind(state).is_contactless] or usable
    if len(best) > 1:
        raise SeveralCards(tuple(state.name for state in best))
    return best[0]


def _kind(state: ReaderState) -> CardKind:
    return kind_of(state.atr or b"")

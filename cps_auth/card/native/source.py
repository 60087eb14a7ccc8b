"""Cards driven by this package itself, without vendor middleware, over any `ReaderService`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Final

from cps_auth.card.native.application import CardApplication
from cps_auth.card.native.card import NativeCard
from cps_auth.card.native.card_cache import CardCache, CardMemory
from cps_auth.card.native.chipdoc import ChipDoc
from cps_auth.card.native.iasecc import IasEcc
from cps_auth.card.native.layout import (
    APPLICATION_CONTACT,
    APPLICATION_CONTACTLESS,
    read_profile,
    read_serial,
)
from cps_auth.card.native.models import kind_of
from cps_auth.card.native.pin_pad import find_pin_pad
from cps_auth.card.port import CardListener, ReaderService, Transport
from cps_auth.card.reader_name import name_today
from cps_auth.card.watch import CardWatcher
from cps_auth.errors import (
    CardRemoved,
    CpsAuthError,
    NoCard,
    NoReader,
    ReaderServiceUnavailable,
    SeveralCards,
    UnsupportedCard,
)
from cps_auth.model import CardDescription, CardKind, ReaderState, Snapshot

DRIVERS: Final[dict[CardKind, type[CardApplication]]] = {
    CardKind.CPS3: IasEcc,
    CardKind.CPS3_CONTACTLESS: IasEcc,
    CardKind.CPS4: ChipDoc,
}
"""Kinds of cards that this package drives."""


class NativeCards:
    """A `CardSource` over PC/SC, or over whatever else is a `ReaderService`."""

    def __init__(
        self, services: Callable[[], ReaderService], cache: CardCache | None = None
    ) -> None:
        """Remember how to reach the service; nothing is opened yet.

        Args:
            services: makes a connection to the service; one is made per card and per watcher.
            cache: what is known of cards; without one, what this source has seen itself.
        """
        self._services = services
        self._cache = CardCache() if cache is None else cache

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

    def open_card(self, reader: str | None = None) -> NativeCard:
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

    def _open(self, reader: str | None, owned: ExitStack) -> NativeCard:
        service = self._services()
        owned.callback(service.close)
        before = service.snapshot()
        chosen = choose_reader(before, reader)
        card = self._connect(service, chosen, owned)
        if reader is None:
            self._require_one_card(service, before, card)
        return card

    def _connect(self, service: ReaderService, state: ReaderState, owned: ExitStack) -> NativeCard:
        transport = service.connect(state.name)
        owned.callback(transport.close)
        if state not in service.snapshot().readers:
            raise CardRemoved  # swapped since it was chosen: the ATR is not this card's
        return open_native(
            transport,
            insertion=state,
            kind=_kind(state),
            owned=owned,
            cache=self._cache,
            has_stayed=lambda: state in self.readers(),
        )

    def _require_one_card(self, service: ReaderService, before: Snapshot, card: NativeCard) -> None:
        """Refuse to choose between a card in contact and another one that is read without.

        A dual reader shows one card twice, and its serial number tells; a card that cannot be
        read without contact, as while it is in contact, cannot be confused with anything.

        Raises:
            SeveralCards, ReaderServiceLost
        """
        readers = [card.description.reader]
        for state in before.readers:
            if state.name == readers[0] or not _kind(state).is_contactless:
                continue
            serial = self._serial_without_contact(service, state)
            if serial not in (None, card.description.serial):
                readers.append(state.name)
        if len(readers) > 1:
            raise SeveralCards(tuple(readers))

    def _serial_without_contact(self, service: ReaderService, state: ReaderState) -> str | None:
        with ExitStack() as owned:
            try:
                return self._connect(service, state, owned).description.serial
            except ReaderServiceUnavailable:
                raise
            except CpsAuthError:
                return None


def choose_reader(snapshot: Snapshot, reader: str | None) -> ReaderState:
    """Return the reader whose card to open.

    One card in contact is chosen over any contactless one, which proves nobody; whether they
    are one card, shown twice by a dual reader, only their serial numbers tell.

    Args:
        snapshot: all readers now.
        reader: the name of the wanted one, None for the only usable one.

    Raises:
        NoReader, NoCard, UnsupportedCard, SeveralCards
    """
    reader = name_today(snapshot, reader)
    candidates = [state for state in snapshot.readers if reader in (None, state.name)]
    present = [state for state in candidates if state.atr is not None]
    if not candidates:
        raise NoReader(reader)
    if not present:
        raise NoCard
    usable = [state for state in present if _kind(state) in DRIVERS]
    if not usable:
        raise UnsupportedCard((present[0].atr or b"").hex().upper())
    best = [state for state in usable if not _kind(state).is_contactless] or usable
    if len(best) > 1:
        raise SeveralCards(tuple(state.name for state in best))
    return best[0]


def _kind(state: ReaderState) -> CardKind:
    return kind_of(state.atr or b"")


def open_native(
    transport: Transport,
    *,
    insertion: ReaderState,
    kind: CardKind,
    owned: ExitStack,
    cache: CardCache,
    has_stayed: Callable[[], bool],
) -> NativeCard:
    """Read what a CPS says of itself and return it, in use.

    Args:
        transport: the powered card.
        insertion: its reader now.
        kind: what the answer to reset stands for: a key of DRIVERS.
        owned: what the card closes when it is closed; stays the caller's when this raises.
        cache: what is known of cards; a known one is asked for its serial number only.
        has_stayed: asks PC/SC whether it has been in its reader all the time.

    Raises:
        UnsupportedCard: another issuer's card.
        CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
    """
    application = DRIVERS[kind](transport)
    with transport.exclusive():
        serial = application.awake(lambda: read_serial(application.files))
        memory = CardMemory(cache, kind, serial, insertion)
        known = memory.files
        profile = known.profile if known else read_profile(application.files, _aid(kind))
    return NativeCard(
        application,
        CardDescription(kind, insertion.name, serial, (insertion.atr or b"").hex().upper()),
        profile,
        owned=owned,
        memory=memory,
        has_stayed=has_stayed,
        pin_pad=find_pin_pad(transport),
    )


def _aid(kind: CardKind) -> bytes:
    return APPLICATION_CONTACTLESS if kind.is_contactless else APPLICATION_CONTACT

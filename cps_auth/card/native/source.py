"""Cards driven by this package itself, without vendor middleware, over any `ReaderService`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from cps_auth.card.native.card_cache import CachedCard, CardCache, CardMemory
from cps_auth.card.native.models import BY_ATR, MODELS, CardModel
from cps_auth.card.port import CardListener, ReaderService, Transport
from cps_auth.card.reader_name import name_today
from cps_auth.card.watch import CardWatcher
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    CpsAuthError,
    NoCard,
    NoReader,
    ReaderServiceUnavailable,
    SeveralCards,
    UnsupportedCard,
)
from cps_auth.model import CardDescription, ReaderState, Snapshot

if TYPE_CHECKING:
    from cps_auth.card.native.card import NativeCard
    from cps_auth.card.native.driver import CardDriver
    from cps_auth.card.native.layout import Pkcs15Layout

_EF_SN: Final = bytes.fromhex("3F00D003")
"""EF.SN.ICC, 12 bytes; path as in ANS cps3_pkcs11 5.2 card-cps.c."""
_SN_IDENTIFIER: Final = 0x1C
"""Its short identifier under the MF (the FCPs of a CPS3)."""
_ISSUER: Final = "8025000001"  # of every CPS, first ten digits of EF.SN
_SN_HEADER: Final = bytes.fromhex("5A0A")
_SN_BYTES: Final = 12


class NativeCards:
    """A `CardSource` over PC/SC, or over whatever else is a `ReaderService`."""

    def __init__(
        self,
        services: Callable[[], ReaderService],
        cache: CardCache | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Remember how to reach the service; nothing is opened yet.

        Args:
            services: makes a connection to the service; one is made per card and per watcher.
            cache: what is known of cards; without one, what this source has seen itself.
            clock: tells the time, aware, to choose between certificates of one card.
        """
        self._clock = clock
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

    def get_ready(self) -> None:
        """Import what drives a card, so that the first one does not wait for it."""
        import cps_auth.card.native.card  # noqa: F401  # for `open_native`

        for model in MODELS:
            model.load_driver()

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
            model=BY_ATR[state.atr],
            owned=owned,
            cache=self._cache,
            has_stayed=lambda: state in self.readers(),
            at=self._clock(),
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
            if state.name == readers[0] or not _is_contactless(state):
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
    reader = name_today(snapshot, reader) if reader is not None else None
    candidates = [state for state in snapshot.readers if reader in (None, state.name)]
    present = [state for state in candidates if state.atr is not None]
    if not candidates:
        raise NoReader(reader)
    if not present:
        raise NoCard
    usable = [state for state in present if state.atr in BY_ATR]
    if not usable:
        raise UnsupportedCard((present[0].atr or b"").hex().upper())
    if len(usable) > 1:
        usable = [state for state in usable if not _is_contactless(state)] or usable
    if len(usable) > 1:
        raise SeveralCards(tuple(state.name for state in usable))
    return usable[0]


def _is_contactless(state: ReaderState) -> bool:
    return state.atr in BY_ATR and BY_ATR[state.atr].kind.is_contactless


def open_native(
    transport: Transport,
    *,
    insertion: ReaderState,
    model: CardModel,
    owned: ExitStack,
    cache: CardCache,
    has_stayed: Callable[[], bool],
    at: datetime,
) -> NativeCard:
    """Read what a CPS says of itself and return it, in use.

    Args:
        transport: the powered card.
        insertion: its reader now.
        model: what its answer to reset stands for.
        owned: what the card closes when it is closed; stays the caller's when this raises.
        cache: what is known of cards; a known one is asked for its serial number only.
        has_stayed: asks PC/SC whether it has been in its reader all the time.
        at: now, aware.

    Raises:
        UnsupportedCard: another issuer's card.
        NoAuthenticationCertificate, SeveralCertificates
        CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
    """
    # Here, since who only lists readers does without what drives a card
    from cps_auth.card.native.card import NativeCard
    from cps_auth.card.native.layout import read_layout

    driver = model.load_driver()(transport)

    def read() -> tuple[str, bool, CardMemory, Pkcs15Layout, bytes | None]:
        serial, is_sound = read_serial(driver)
        memory = CardMemory(cache, model.kind, serial, insertion)
        card = memory.card
        if card is not None and _still_holds(card, at):
            return serial, is_sound, memory, card.layout, card.certificate_der
        return serial, is_sound, memory, *read_layout(driver, model.application, at)

    with transport.exclusive():
        serial, is_sound, memory, layout, der = driver.run(read)
    atr_hex = (insertion.atr or b"").hex().upper()
    return NativeCard(
        driver,
        CardDescription(model.kind, insertion.name, serial, atr_hex, is_sound),
        layout,
        owned=owned,
        memory=memory,
        certificate_der=der,
        has_stayed=has_stayed,
    )


def _still_holds(card: CachedCard, at: datetime) -> bool:
    """Return whether the certificate that was chosen among several is still the one valid now."""
    if not card.layout.is_choice:
        return True
    from cps_auth.card.certificates import is_valid  # as in `open_native`

    return is_valid(card.certificate_der, at)


# --- The serial number -----------------------------------------------------------


def read_serial(driver: CardDriver) -> tuple[str, bool]:
    """Read EF.SN: the 8 digits of the chip's serial number, and whether they check.

    Raises:
        UnsupportedCard: another issuer's card.
        CardMisbehaved: it has no such file, or what it holds is no serial number.
        CardRemoved, ReaderServiceLost: from the transport.
    """
    quick = driver.read_short(_SN_IDENTIFIER, _SN_BYTES)
    if quick is not None:
        try:
            return parse_serial(quick)
        except CardMisbehaved:
            pass  # another directory was current: that was another file
    from cps_auth.card.native.files import read_file  # as in `open_native`

    return parse_serial(read_file(driver, _EF_SN))


def parse_serial(unverified: bytes) -> tuple[str, bool]:
    """Return the 8 digits of the chip's serial number, and whether their check digit holds.

    A number that does not check is taken: it proves nothing, and no other program looks at it.

    Args:
        unverified: the content of EF.SN: 5A 0A, issuer (10 digits), serial (8 digits),
            Luhn digit over those 18 (ISO/IEC 7812-1 annex B), F.

    Raises:
        UnsupportedCard: another issuer's card.
        CardMisbehaved: not a serial number.
    """
    digits = unverified.removeprefix(_SN_HEADER).hex().upper()
    is_number = unverified.startswith(_SN_HEADER) and digits[:18].isdecimal()
    if len(unverified) != _SN_BYTES or not is_number:
        raise CardMisbehaved("EF.SN is not a serial number")
    if digits[:10] != _ISSUER:
        raise UnsupportedCard
    is_sound = digits[19] == "F" and digits[18].isdecimal() and _luhn_holds(digits[:19])
    return digits[10:18], is_sound


def _luhn_holds(digits: str) -> bool:
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    total = sum(int(digit) for digit in digits[::-2]) + sum(sum(divmod(n, 10)) for n in doubled)
    return total % 10 == 0

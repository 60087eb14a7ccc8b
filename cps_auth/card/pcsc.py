"""PC/SC through pyscard: the only module that imports it, and only its C-level wrapper.

pyscard's own monitors end silently when pcscd does, so they are not used.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from cps_auth.card import pcsc_errors as codes
from cps_auth.card.deadline import call_within
from cps_auth.errors import CardBusy, CardMisbehaved, CardRemoved, ConfigurationError
from cps_auth.model import ReaderState, Snapshot

try:
    from smartcard import scard
except ImportError as missing:
    raise ConfigurationError("pyscard is missing: install cps-auth[pcsc]") from missing

_PROTOCOLS = scard.SCARD_PROTOCOL_T0 | scard.SCARD_PROTOCOL_T1
_PNP = "\\\\?PnP?\\Notification"
"""Pseudo reader that changes when a reader comes or goes ([MS-RDPESC], SCardGetStatusChange)."""
_UNUSABLE = scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE | scard.SCARD_STATE_IGNORE
_LIST_TRIES = 3  # a reader may go between listing the readers and asking for their states
_BEGIN_TRIES = 3  # another program may reset the card between our reconnection and our turn
_CANCEL_RETRY_S = 0.005
_BUSY_AFTER_S = 5.0


class PcscService:
    """One connection to pcscd. Implements `cps_auth.card.port.ReaderService`."""

    def __init__(self) -> None:
        """Connect.

        Raises:
            ReaderServiceLost: pcscd does not run, or refuses us.
        """
        self._context = _establish_context()
        self._cancelled = threading.Event()
        self._idle = threading.Event()  # no thread is in wait_for_change
        self._idle.set()

    def snapshot(self) -> Snapshot:
        """Return all readers now.

        Raises:
            ReaderServiceLost: pcscd went away.
        """
        for _ in range(_LIST_TRIES):
            names = self._reader_names()
            code, states = self._status_change(0, [(n, scard.SCARD_STATE_UNAWARE) for n in names])
            if code in (codes.SUCCESS, codes.TIMEOUT):
                usable = (one for one in states if not one[1] & _UNUSABLE)
                return Snapshot(tuple(_reader_state(*one) for one in usable))
        raise codes.service_error(code, "SCardGetStatusChange")

    def wait_for_change(self, seen: Snapshot, timeout_s: float) -> Snapshot:
        """Block until something differs from `seen`, the timeout, or `cancel`; return what is.

        Raises:
            ReaderServiceLost: pcscd went away.
        """
        self._idle.clear()
        try:
            return self._wait(seen, time.monotonic() + timeout_s)
        finally:
            self._cancelled.clear()
            self._idle.set()

    def cancel(self) -> None:
        """End the blocked `wait_for_change` of another thread at once, or else the next one."""
        self._cancelled.set()
        scard.SCardCancel(self._context)
        while not self._idle.wait(_CANCEL_RETRY_S):  # it had not begun to block yet
            scard.SCardCancel(self._context)

    def connect(self, reader: str) -> PcscTransport:
        """Power the card in `reader` and return it.

        Raises:
            NoReader, NoCard, CardRemoved, ReaderServiceLost
            CardBusy: another program held it for five seconds.
            CardMisbehaved: the card does not answer.
        """

        def insertion() -> int | None:
            found = (one for one in self.snapshot().readers if one.name == reader)
            return next((one.event_count for one in found if one.atr is not None), None)

        before = insertion()
        context = _establish_context()
        try:
            code, handle, protocol = call_within(
                _BUSY_AFTER_S,
                lambda: scard.SCardConnect(context, reader, scard.SCARD_SHARE_SHARED, _PROTOCOLS),
                lambda _: scard.SCardReleaseContext(context),  # and the connection with it
            )
        except TimeoutError:
            raise CardBusy from None
        if codes.unsigned(code) != codes.SUCCESS:
            scard.SCardReleaseContext(context)
            raise codes.connect_error(code, reader)
        return PcscTransport(context, handle, protocol, lambda: insertion() == before)

    def close(self) -> None:
        """Release the connection. Never raises, may be called twice."""
        scard.SCardReleaseContext(self._context)

    def _reader_names(self) -> list[str]:
        code, names = scard.SCardListReaders(self._context, [])
        if codes.unsigned(code) == codes.NO_READERS_AVAILABLE:
            return []
        if codes.unsigned(code) != codes.SUCCESS:
            raise codes.service_error(code, "SCardListReaders")
        return names

    def _wait(self, seen: Snapshot, deadline: float) -> Snapshot:
        expected = [(state.name, _expected(state)) for state in seen.readers]
        expected.append((_PNP, len(seen.readers) << 16))
        while not self._cancelled.is_set():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                break
            self._status_change(int(left_s * 1000) + 1, expected)
            now = self.snapshot()
            if now != _without_generations(seen):
                return now
        return self.snapshot()

    def _status_change(
        self, timeout_ms: int, expected: list[tuple[str, int]]
    ) -> tuple[int, list[tuple[str, int, list[int]]]]:
        if not expected:
            return codes.SUCCESS, []
        code, states = scard.SCardGetStatusChange(
            self._context, min(timeout_ms, scard.INFINITE - 1), expected
        )
        code = codes.unsigned(code)
        if code in (codes.SUCCESS, codes.TIMEOUT, codes.CANCELLED, codes.UNKNOWN_READER):
            return code, states
        raise codes.service_error(code, "SCardGetStatusChange")


class PcscTransport:
    """One powered card. Implements `cps_auth.card.port.Transport`."""

    def __init__(
        self, context: int, handle: int, protocol: int, is_same_card: Callable[[], bool]
    ) -> None:
        self._context = context  # of its own: another thread may keep it busy, see _begin
        self._handle = handle
        self._protocol = protocol
        self._is_same_card = is_same_card  # asks PC/SC whether a card was inserted since
        self._is_closed = False

    @property
    def protocol(self) -> int:
        """Return 0 for T=0 or 1 for T=1."""
        return 0 if self._protocol == scard.SCARD_PROTOCOL_T0 else 1

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and return data, SW1, SW2.

        Raises:
            CardRemoved, CardMisbehaved, CardBusy, ReaderServiceLost
        """
        self._require_open()
        pci = scard.SCARD_PCI_T0 if self.protocol == 0 else scard.SCARD_PCI_T1
        code, answer = scard.SCardTransmit(self._handle, pci, list(command))
        if codes.unsigned(code) != codes.SUCCESS:
            raise codes.card_error(code, "SCardTransmit")
        if not answer:
            raise CardRemoved  # what some drivers say when the card leaves during the exchange
        if len(answer) < 2:
            raise CardMisbehaved("response of one byte")
        return bytes(answer)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other programs off the card inside the block.

        Raises:
            CardBusy: another program held it for five seconds; the transport is closed then.
            CardRemoved, CardMisbehaved, ReaderServiceLost
        """
        self._begin()
        try:
            yield
        finally:
            scard.SCardEndTransaction(self._handle, scard.SCARD_LEAVE_CARD)

    def reset(self) -> None:
        """Forget every verification: reset the card, or at least cut its power. Never raises."""
        code = self._reconnect(scard.SCARD_RESET_CARD)
        if code != codes.SUCCESS and not self._is_closed:
            self._is_closed = True
            self._let_go(scard.SCARD_UNPOWER_CARD)

    def close(self) -> None:
        """Let go of the card, resetting it. Never raises, may be called twice."""
        if not self._is_closed:
            self._is_closed = True
            self._let_go(scard.SCARD_RESET_CARD)

    def _let_go(self, disposition: int) -> None:
        scard.SCardDisconnect(self._handle, disposition)
        scard.SCardReleaseContext(self._context)

    def _begin(self) -> None:
        for _ in range(_BEGIN_TRIES):
            self._require_open()
            code = self._begin_before_deadline()
            if code == codes.SUCCESS:
                return
            if code != codes.RESET_CARD:
                raise codes.card_error(code, "SCardBeginTransaction")
            # Another program reset the card. Nothing of ours was verified on it, so go on,
            # unless the reset hid a swap: PC/SC keeps only the last of the two in the handle.
            if not self._is_same_card():
                raise CardRemoved
            code = self._reconnect(scard.SCARD_LEAVE_CARD)
            if code != codes.SUCCESS:
                raise codes.card_error(code, "SCardReconnect")
        raise CardBusy

    def _begin_before_deadline(self) -> int:
        """Begin a transaction; when another program keeps the card, give the connection up."""

        def too_late(_: int) -> None:
            self._let_go(scard.SCARD_RESET_CARD)

        try:
            code = call_within(
                _BUSY_AFTER_S, lambda: scard.SCardBeginTransaction(self._handle), too_late
            )
        except TimeoutError:
            self._is_closed = True
            raise CardBusy from None
        return codes.unsigned(code)

    def _reconnect(self, disposition: int) -> int:
        if self._is_closed:
            return codes.INVALID_HANDLE
        code, protocol = scard.SCardReconnect(
            self._handle, scard.SCARD_SHARE_SHARED, _PROTOCOLS, disposition
        )
        if codes.unsigned(code) == codes.SUCCESS:
            self._protocol = protocol
        return codes.unsigned(code)

    def _require_open(self) -> None:
        if self._is_closed:
            raise CardRemoved


def _establish_context() -> int:
    code, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    if codes.unsigned(code) != codes.SUCCESS:
        raise codes.service_error(code, "SCardEstablishContext")
    return context


def _reader_state(name: str, state: int, atr: list[int]) -> ReaderState:
    present = state & scard.SCARD_STATE_PRESENT
    # A card that does not answer (mute) is present, with an empty answer to reset
    return ReaderState(name, bytes(atr) if present else None, state >> 16 & 0xFFFF)


def _expected(seen: ReaderState) -> int:
    if seen.atr is None:
        flags = scard.SCARD_STATE_EMPTY
    else:
        flags = scard.SCARD_STATE_PRESENT | (0 if seen.atr else scard.SCARD_STATE_MUTE)
    return seen.event_count << 16 | flags


def _without_generations(seen: Snapshot) -> Snapshot:
    return replace(seen, readers=tuple(replace(state, generation=0) for state in seen.readers))

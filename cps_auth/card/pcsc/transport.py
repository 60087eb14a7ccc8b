"""PC/SC: one powered card. Every call has a deadline, and so has each time the card is held."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from cps_auth.card.pcsc import errors as codes
from cps_auth.card.pcsc.deadline import DeadlineThread
from cps_auth.card.pcsc.library import PROTOCOLS, scard
from cps_auth.card.pcsc.neighbours import busy
from cps_auth.errors import CardMisbehaved, CardRemoved

BUSY_AFTER_S = 1.5
"""After how long a card that another program keeps is busy; a signature takes about a second."""
ANSWER_S = 5.0
"""How long one command may take; a signature of a CPS takes about one second."""
HOLD_S = 30.0
"""How long one operation may hold the card, however many commands it takes."""

_NO_ANSWER = "no answer in time"
_BEGIN_TRIES = 3  # another program may reset the card between our reconnection and our turn

_T = TypeVar("_T")


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
        self._hangs = False
        self._thread = DeadlineThread("cps-auth-card")
        self._held_until = math.inf
        self._resets_when_closed = False
        self._was_reset = False  # by another program, says the last command

    @property
    def protocol(self) -> int:
        """Return 0 for T=0 or 1 for T=1."""
        return 0 if self._protocol == scard.SCARD_PROTOCOL_T0 else 1

    def transmit(self, command: bytes) -> bytes:
        """Send one command APDU and return data, SW1, SW2.

        Raises:
            CardRemoved, CardMisbehaved, CardBusy, ReaderServiceLost
        """
        pci = scard.SCARD_PCI_T0 if self.protocol == 0 else scard.SCARD_PCI_T1
        timeout_s = min(ANSWER_S, self._held_until - time.monotonic())
        code, answer = self._call(
            timeout_s, lambda: scard.SCardTransmit(self._handle, pci, list(command))
        )
        self._was_reset = codes.unsigned(code) == codes.RESET_CARD
        if codes.unsigned(code) != codes.SUCCESS:
            raise codes.card_error(code, "SCardTransmit")
        if not answer:
            raise CardRemoved  # what some drivers say when the card leaves during the exchange
        if len(answer) < 2:
            raise CardMisbehaved("response of one byte")
        return bytes(answer)

    def control(self, code: int, data: bytes, timeout_s: float) -> bytes:
        """Send a command to the reader itself: `cps_auth.card.native.pin_pad.ReaderControl`.

        Raises:
            CardRemoved, CardMisbehaved, CardBusy, ReaderServiceLost
        """
        self._held_until += timeout_s  # that is a person's time
        result, answer = self._call(
            timeout_s, lambda: scard.SCardControl(self._handle, code, list(data))
        )
        if codes.unsigned(result) != codes.SUCCESS:
            raise codes.control_error(result)
        return bytes(answer)

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Keep other programs off the card inside the block.

        Raises:
            CardBusy: another program held it for BUSY_AFTER_S; the transport is closed then.
            CardRemoved, CardMisbehaved, ReaderServiceLost
        """
        self._begin()
        try:
            yield
        finally:
            self._held_until = math.inf
            with contextlib.suppress(CardMisbehaved, CardRemoved):  # given up, or let go
                self._call(
                    ANSWER_S,
                    lambda: scard.SCardEndTransaction(self._handle, scard.SCARD_LEAVE_CARD),
                )

    def will_verify(self) -> None:
        """Note that a PIN is sent next: however this connection ends, the card is reset then."""
        self._resets_when_closed = True

    def resume(self) -> bool:
        """Go on with the same card after another program reset it. Never raises.

        Returns:
            Whether that was why the last command failed, and nothing of ours was verified.
        """
        if self._resets_when_closed or not self._was_reset or not self._is_same_card():
            return False
        return self._reconnect(scard.SCARD_LEAVE_CARD) == codes.SUCCESS

    def reset(self) -> None:
        """Forget every verification: reset the card, or at least cut its power. Never raises."""
        code = self._reconnect(scard.SCARD_RESET_CARD)
        if code == codes.SUCCESS:
            self._resets_when_closed = False
        elif not self._is_closed:
            self._is_closed = True
            self._let_go(scard.SCARD_UNPOWER_CARD)

    def close(self) -> None:
        """Let go of the card, as others use it; reset after a PIN of ours. Never raises."""
        if not self._is_closed:
            self._is_closed = True
            verified = self._resets_when_closed
            self._let_go(scard.SCARD_RESET_CARD if verified else scard.SCARD_LEAVE_CARD)

    def _let_go(self, disposition: int) -> None:
        with contextlib.suppress(TimeoutError):
            self._thread.call(ANSWER_S, lambda: self._disconnect(disposition))
        self._thread.stop()

    def _disconnect(self, disposition: int) -> None:
        scard.SCardDisconnect(self._handle, disposition)
        scard.SCardReleaseContext(self._context)

    def _call(self, timeout_s: float, call: Callable[[], _T]) -> _T:
        """Call, or give the connection up: what hangs in it is let go of when it returns.

        Raises:
            CardRemoved: let go of before.
            CardMisbehaved: it took too long.
        """
        self._require_open()
        try:
            return self._thread.call(timeout_s, call, self._too_late)
        except TimeoutError:
            self._is_closed = self._hangs = True
            raise CardMisbehaved(_NO_ANSWER, cause="no-answer") from None

    def _too_late(self, _: object) -> None:
        verified = self._resets_when_closed
        self._disconnect(scard.SCARD_UNPOWER_CARD if verified else scard.SCARD_LEAVE_CARD)

    def _begin(self) -> None:
        for _ in range(_BEGIN_TRIES):
            self._require_open()
            code = self._begin_before_deadline()
            if code == codes.SUCCESS:
                self._held_until = time.monotonic() + HOLD_S
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
        raise busy()

    def _begin_before_deadline(self) -> int:
        """Begin a transaction; when another program keeps the card, give the connection up."""

        def begin() -> int:
            return scard.SCardBeginTransaction(self._handle)

        try:
            code = self._thread.call(BUSY_AFTER_S, begin, self._too_late)
        except TimeoutError:
            self._is_closed = True
            raise busy() from None
        return codes.unsigned(code)

    def _reconnect(self, disposition: int) -> int:
        if self._is_closed:
            return codes.INVALID_HANDLE
        try:
            code, protocol = self._call(
                ANSWER_S,
                lambda: scard.SCardReconnect(
                    self._handle, scard.SCARD_SHARE_SHARED, PROTOCOLS, disposition
                ),
            )
        except CardMisbehaved:
            return codes.INVALID_HANDLE
        if codes.unsigned(code) == codes.SUCCESS:
            self._protocol = protocol
        return codes.unsigned(code)

    def _require_open(self) -> None:
        if self._hangs:
            raise CardMisbehaved(_NO_ANSWER, cause="no-answer")
        if self._is_closed:
            raise CardRemoved

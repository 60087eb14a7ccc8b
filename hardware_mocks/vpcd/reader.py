"""A virtual card behind the real pcscd: the protocol of vsmartcard's vpcd driver.

vpcd listens, the card calls. A message is two bytes of length, big-endian, and a body; a body
of one byte is a control: 00 power off, 01 power on, 02 reset, 04 asks for the ATR (the only
one that is answered). Anything else is a command APDU. The card is present as long as the
connection is.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from hardware_mocks.card.virtual_card import Insertable
from hardware_mocks.readers.fault_plan import AnswerLost, CommandOutcome

DEFAULT_ADDRESS = ("127.0.0.1", 35963)  # of Debian's vsmartcard-vpcd, first slot
_TAKEN_TIMEOUT_S = 5.0  # pcscd looks for a card every 0.4 s, and powers what it finds
_OFF, _ON, _RESET, _ATR = b"\x00", b"\x01", b"\x02", b"\x04"


Exchange = Callable[[bytes], CommandOutcome]
"""Carries one command out. Raises AnswerLost when nothing comes back: then the link ends."""


def _nothing() -> None:
    """Do nothing: no fault follows this answer."""


class VpcdUnreachable(Exception):
    """Nothing listens where vpcd should, or it does not take the card."""


class VpcdLink:
    """One card in one slot of vpcd, from the construction to `close`."""

    def __init__(
        self,
        card: Insertable,
        address: tuple[str, int] = DEFAULT_ADDRESS,
        exchange: Exchange | None = None,
    ) -> None:
        """Insert the card and wait until pcscd has noticed.

        Args:
            card: what is inserted.
            address: of the slot.
            exchange: sends each command on to the card and says what follows its answer; when
                None the card answers by itself.

        Raises:
            VpcdUnreachable: no vpcd there, or another card is in its slot.
        """
        self._card = card
        self._exchange = exchange or (
            lambda command: CommandOutcome(card.transmit(command), _nothing)
        )
        self._closing = threading.Event()
        where = f"{address[0]}:{address[1]}"
        try:
            self._socket = socket.create_connection(address, _TAKEN_TIMEOUT_S)
        except OSError as error:
            why = error.strerror or error
            raise VpcdUnreachable(
                f"no vpcd at {where}: {why} (is pcscd running, with vsmartcard-vpcd?)"
            ) from error
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._first = self._first_message(where)
        self._socket.settimeout(None)

    def _first_message(self, where: str) -> bytes:
        """Wait until pcscd powers the card: a slot that holds another one leaves it unanswered."""
        try:
            message = self._receive()
        except OSError:
            message = None
        if message is None:
            self._socket.close()
            raise VpcdUnreachable(f"vpcd at {where} does not take the card; is the slot empty?")
        return message

    @property
    def is_open(self) -> bool:
        """Return whether nobody has pulled the card from this side."""
        return not self._closing.is_set()

    @property
    def was_looked_for(self) -> bool:
        """Return whether pcscd's first message was its look for a card, and not a program's."""
        return self._first == _ATR

    def hang_up(self) -> None:
        """Leave without an answer to the first message: pcscd finds an empty slot."""
        self.close()
        self._socket.close()

    def serve(self) -> bool:
        """Answer until the link ends; return whether it was closed from this side.

        Whatever the card itself raises ends the link too.
        """
        try:
            self._serve_all()
        finally:  # a card that raises, such as a replay, leaves: pcscd would wait for it for ever
            self._socket.close()
        self._card.power_off()
        return self._closing.is_set()

    def _serve_all(self) -> None:
        message: bytes | None = self._first
        with contextlib.suppress(OSError, AnswerLost):
            while message is not None:
                self._serve(message)
                message = self._receive()

    def close(self) -> None:
        """Pull the card, from any thread or signal handler. May be called twice."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _serve(self, message: bytes) -> None:
        controls = {_OFF: self._card.power_off, _ON: self._card.power_on, _RESET: self._card.reset}
        control = controls.get(message)
        if message == _ATR:
            self._send(self._card.atr)
        elif control is not None:
            control()
        else:
            outcome = self._exchange(message)
            self._send(outcome.answer)
            outcome.then()

    def _send(self, answer: bytes) -> None:
        self._socket.sendall(len(answer).to_bytes(2) + answer)

    def _receive(self) -> bytes | None:
        length = self._receive_exactly(2)
        return None if length is None else self._receive_exactly(int.from_bytes(length))

    def _receive_exactly(self, size: int) -> bytes | None:
        received = b""
        while len(received) < size:
            # Without it each APDU takes 44 ms: vpcd writes length and body apart. Not sticky.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            part = self._socket.recv(size - len(received))
            if not part:
                return None
            received += part
        return received

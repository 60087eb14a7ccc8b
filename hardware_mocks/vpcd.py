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

from hardware_mocks.virtual_card import VirtualCard

DEFAULT_ADDRESS = ("127.0.0.1", 35963)  # of Debian's vsmartcard-vpcd, first slot
_CONNECT_TIMEOUT_S = 5.0
_OFF, _ON, _RESET, _ATR = b"\x00", b"\x01", b"\x02", b"\x04"


class VpcdUnreachable(Exception):
    """Nothing listens where vpcd should."""


class VpcdLink:
    """One card in one slot of vpcd, from the construction to `close`."""

    def __init__(self, card: VirtualCard, address: tuple[str, int] = DEFAULT_ADDRESS) -> None:
        """Insert the card.

        Raises:
            VpcdUnreachable: no vpcd there.
        """
        self._card = card
        self._closing = threading.Event()
        try:
            self._socket = socket.create_connection(address, _CONNECT_TIMEOUT_S)
        except OSError as error:
            raise VpcdUnreachable(f"no vpcd at {address[0]}:{address[1]}: {error}") from error
        self._socket.settimeout(None)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def serve(self) -> bool:
        """Answer until the link ends; return whether it was closed from this side."""
        with contextlib.suppress(OSError):
            while (message := self._receive()) is not None:
                reply = self._reply(message)
                if reply is not None:
                    self._socket.sendall(len(reply).to_bytes(2) + reply)
        self._card.power_off()
        self._socket.close()
        return self._closing.is_set()

    def close(self) -> None:
        """Pull the card, from any thread or signal handler. May be called twice."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _reply(self, message: bytes) -> bytes | None:
        if message == _ATR:
            return self._card.atr
        controls = {_OFF: self._card.power_off, _ON: self._card.power_on, _RESET: self._card.reset}
        control = controls.get(message)
        if control is None:
            return self._card.transmit(message)
        control()
        return None

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

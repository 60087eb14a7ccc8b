"""What the drivers of all CPS share: presenting a code, counting attempts, waking the card.

A driver is this and its family's way to sign and to change codes: `iasecc`, `chipdoc`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, TypeVar

from cps_auth.card.native.apdu import Command, Response, StatusWord, exchange
from cps_auth.card.native.dialect import Dialect
from cps_auth.card.native.files import CardFiles
from cps_auth.card.native.pin_pad import PinPad
from cps_auth.card.native.pkcs15 import Password, PrivateKey
from cps_auth.card.pin import PIN, PinKind
from cps_auth.card.port import Transport
from cps_auth.errors import CardMisbehaved
from cps_auth.model import CardSignature, Challenge

VERIFY, CHANGE_REFERENCE_DATA, RESET_RETRY_COUNTER = 0x20, 0x24, 0x2C
"""ISO/IEC 7816-4:2005 section 7.5."""
MANAGE_SECURITY_ENVIRONMENT, PERFORM_SECURITY_OPERATION = 0x22, 0x2A
"""ISO/IEC 7816-4:2005 section 7.5.11; ISO/IEC 7816-8:2004 section 5."""

SHA256_DIGEST_INFO: Final = bytes.fromhex("3031300D060960864801650304020105000420")
"""DER of DigestInfo before a SHA-256 digest. Source: RFC 8017 section 9.2 note 1."""

_T = TypeVar("_T")


class CardApplication(ABC):
    """The application of one powered card whose transport is held exclusively."""

    dialect: ClassVar[Dialect]

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.files = CardFiles(transport, self.dialect)
        self._is_asleep = self.dialect.is_selected_first
        self._is_verified = False  # as another program may have left it

    # --- Waking it up ------------------------------------------------------------

    def awake(self, action: Callable[[], _T]) -> _T:
        """Do something harmless first of all, with the application selected.

        Args:
            action: sends no code; it may be done twice, since another program may have
                selected another application meanwhile.

        Raises:
            CardMisbehaved: refused, with the application selected just before.
            CardRemoved, ReaderServiceLost: from the transport.
        """
        was_asleep = self._is_asleep
        if was_asleep:
            self._select()
        try:
            return action()
        except CardMisbehaved:
            if was_asleep:
                raise
            self._select()
            return action()

    def reset(self) -> None:
        """Forget every verification: reset the card. Never raises."""
        self._is_asleep = self.dialect.is_selected_first
        self.transport.reset()

    def _select(self) -> None:
        if not self.send(self.dialect.application).status.is_ok:
            for command in self.dialect.recovery:
                self.send(command)
            again = self.send(self.dialect.application)
            if again.status.sw1 != 0x61:  # under T=0: something waits that nobody wants
                again.require_ok("SELECT of the application")
        self._is_asleep = False

    # --- Codes -------------------------------------------------------------------

    def attempts_left(self, code: Password) -> int | None:
        """Return how many attempts a code has left; None when the card does not say.

        An empty VERIFY: without data it compares nothing and costs nothing
        (ISO/IEC 7816-4:2005 section 7.5.6).

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """
        status = self.send(self.command(VERIFY, 0x00, code.reference)).status
        self._is_verified = status.is_ok
        return 0 if status.is_blocked else status.attempts_left

    def attempts_left_once_reset(self, code: Password, enter: Callable[[], None]) -> int | None:
        """Ask again where the card said that the code is verified, which hides the number.

        Another program verified it, and is logged out by this.

        Args:
            code: which one.
            enter: selects its directory, with the application selected.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """
        if not self._is_verified:
            return None
        self.reset()
        self.awake(enter)
        return self.attempts_left(code)

    def attempts_by_object(self, code: Password) -> int | None:  # noqa: ARG002  # see IasEcc
        """Return the same, from the card's objects; may leave another directory selected.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """
        return None

    def verify(self, code: Password, typed: bytearray, kind: PinKind) -> None:
        """Present a code, exactly once.

        Args:
            code: which one.
            typed: what the person typed; its shape was checked.
            kind: for the error.

        Raises:
            WrongPin, PinBlocked, WrongPuk, PukBlocked, CardMisbehaved, CardRemoved,
            ReaderServiceLost
        """
        padded = code.padded(typed)
        try:
            # The transport takes immutable bytes: that copy dies with this call, unwiped
            command = self.command(VERIFY, 0x00, code.reference, bytes(padded))
            check_compared(self.send(command).status, "VERIFY", kind)
        finally:
            padded[:] = bytes(len(padded))

    def verify_on_pad(self, pin: Password, pad: PinPad) -> None:
        """Let the person type the PIN on the reader, exactly once.

        Raises:
            WrongPin, PinBlocked, PinEntryCancelled, PinMalformed, CardMisbehaved, CardRemoved,
            ReaderServiceLost
        """
        check_compared(pad.verify(self.dialect.cla, VERIFY, pin), "VERIFY on the PIN pad", PIN)

    @abstractmethod
    def change_pin(self, pin: Password, old: bytearray, new: bytearray) -> None:
        """Replace the PIN. Nothing is sent again, whatever comes back.

        Raises:
            WrongPin, PinBlocked, CardMisbehaved, CardRemoved, ReaderServiceLost
        """

    @abstractmethod
    def set_pin_after_puk(self, pin: Password, new: bytearray) -> None:
        """Unblock the PIN and replace it, the PUK being verified.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """

    # --- Signing -----------------------------------------------------------------

    @abstractmethod
    def sign(self, key: PrivateKey, challenge: Challenge) -> CardSignature:
        """Sign a challenge; the PIN is verified and the key's directory is selected.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """

    # --- Sending -----------------------------------------------------------------

    def command(
        self, ins: int, p1: int, p2: int, data: bytes = b"", le: int | None = None
    ) -> Command:
        """Return a command in the family's class."""
        return Command(self.dialect.cla, ins, p1, p2, data, le)

    def send(self, command: Command) -> Response:
        """Send one command and return the whole answer."""
        return exchange(self.transport, command)


def digest_of(challenge: Challenge) -> bytes:
    """Return what is signed: SHA-256 of the challenge's message."""
    return hashlib.sha256(challenge.message()).digest()


def check_compared(status: StatusWord, what: str, kind: PinKind) -> None:
    """Turn the answer to a presented code into its error.

    Raises:
        WrongPin, PinBlocked, WrongPuk, PukBlocked: as the card said.
        CardMisbehaved: neither yes nor a refusal of the code.
    """
    if status.is_blocked:
        raise kind.blocked()
    if status.is_comparison_failed:
        raise kind.wrong(status.attempts_left)
    if not status.is_ok:
        raise CardMisbehaved(what, str(status))


def require_signature(response: Response, what: str) -> bytes:
    """Return the signature in an answer.

    Raises:
        CardMisbehaved: there is none.
    """
    value = response.require_ok(what)
    if not value:
        raise CardMisbehaved(f"{what} without a signature")
    return value

"""The driver of a family of cards: selecting, counting attempts, presenting a PIN, resetting.

A driver is this and its family's way to sign and to change PINs: `iasecc`, `chipdoc`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Final, TypeVar

from cps_auth.card.native.apdu import (
    BLOCKED,
    MORE_WAITS,
    NOTHING_BACK,
    OK,
    READ_BINARY,
    SELECT,
    VERIFY,
    Command,
    Dialect,
    Response,
    StatusWord,
    attempts_in,
    exchange,
)
from cps_auth.card.native.pin_pad import PinPad
from cps_auth.card.native.pkcs15 import MF, Password, PasswordFlag, PrivateKey
from cps_auth.card.pin import PIN, PinKind
from cps_auth.card.port import Transport
from cps_auth.errors import CardMisbehaved, CardRemoved
from cps_auth.model import CardSignature, Challenge

SHA256_DIGEST_INFO: Final = bytes.fromhex("3031300D060960864801650304020105000420")
"""DER of DigestInfo before a SHA-256 digest. Source: RFC 8017 section 9.2 note 1."""

_NOT_HERE: Final = frozenset({0x6A82, 0x6E00})  # no such file; no such application
_END_OF_FILE: Final = 0x6282  # end reached before the bytes asked for
_COMPARED: Final = 0x6300  # compared and different; the card does not count
_SHORT_IDENTIFIER: Final = 0x80  # P1 of READ BINARY: the low bits are a short EF identifier

_T = TypeVar("_T")


class CardDriver(ABC):
    """The driver of one powered card. All but `__init__` needs its transport held exclusively.

    Nothing that it selected is relied on from one holding of the card to the next: see `begin`.
    """

    dialect: ClassVar[Dialect]
    counts_in_directory: ClassVar[bool] = False  # a PIN's attempts: in the directory of its key

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._selected = b""  # path of the DF or EF that is current, empty when not known
        self._has_application = False  # selected since `begin`
        self._needs_application = self.dialect.is_selected_first  # nothing works before
        self._selects_silently = self._reads_short = True  # until the card refuses
        self.is_verified_already = False  # the PIN, by another program, says an empty VERIFY
        self.is_careful = False  # whether files are read by the size that the card announces

    # --- Selecting ---------------------------------------------------------------

    def run(self, read: Callable[[], _T]) -> _T:
        """Run a read that sends no PIN from the `begin`; once more if the card was reset meanwhile.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """
        try:
            self.begin()
            return read()
        except CardRemoved:
            if not self.transport.resume():
                raise
            self._needs_application = self.dialect.is_selected_first
        self.begin()
        return read()

    def begin(self) -> None:
        """Take the card as another program may have left it, which the first SELECT shows."""
        self._selected, self._has_application = b"", False
        if self._needs_application:
            self.select_application()

    def select_application(self) -> None:
        """Select the card's own application, by all means that are known."""
        self._selected = b""
        if self.send(self.dialect.application).status != OK:
            for command in self.dialect.recovery:
                self.send(command)
            again = self.send(self.dialect.application)
            if again.status >> 8 != MORE_WAITS:  # under T=0: something waits that nobody wants
                again.require_ok("SELECT of the application")
        self._has_application, self._needs_application = True, False

    def select(self, path: bytes) -> None:
        """Make a DF or EF current, calling the application back if another program left it.

        Args:
            path: from the MF, 3F00 included.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """
        if path == self._selected:
            return
        status = self._select(path)
        if status != OK and not self._has_application:
            self.select_application()
            status = self._select(path)
        if status != OK:
            raise CardMisbehaved(f"SELECT {path.hex().upper()}", str(status))
        self._selected = path

    def enter(self, directory: bytes) -> None:
        """Make a DF current, unless the current EF lies in it: then it is; raises as `select`."""
        if self._selected[:-2] != directory:
            self.select(directory)

    def describe(self, path: bytes) -> Response:
        """Select as `select` does, and return the file's control parameters, unverified."""
        response = self._describe(path)
        if response.status != OK and not self._has_application:
            self.select_application()
            response = self._describe(path)
        self._selected = path if response.status == OK else b""
        return response

    def _select(self, path: bytes) -> StatusWord:
        if self._selects_silently:
            status = self.send(self._selection(path, NOTHING_BACK)).status
            if status == OK or status >> 8 == MORE_WAITS:
                return OK
            if status in _NOT_HERE:
                return status
        status = self._describe(path).status
        self._selects_silently = self._selects_silently and status != OK
        return status

    def _describe(self, path: bytes) -> Response:
        return self.send(self._selection(path, self.dialect.template_p2, le=256))

    def _selection(self, path: bytes, p2: int, le: int | None = None) -> Command:
        is_whole = self.dialect.paths_start_at_mf or path == MF
        written = path if is_whole else path.removeprefix(MF)
        return self.command(SELECT, self.dialect.path_p1, p2, written, le)

    def read_short(self, identifier: int, length: int) -> bytes | None:
        """Return the first bytes of a file of the current DF, unverified.

        Args:
            identifier: short EF identifier, 1 to 30.
            length: bytes wanted at most, up to 256.

        Returns:
            What there is; None when the card does not read files this way.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """
        if not self._reads_short:
            return None
        p1 = _SHORT_IDENTIFIER | identifier
        response = self.send(self.command(READ_BINARY, p1, 0, le=length))
        if response.status not in (OK, _END_OF_FILE):
            self._reads_short = False
            return None
        return response.data[:length]

    def reset(self) -> None:
        """Forget every verification: reset the card. Never raises."""
        self._needs_application = self.dialect.is_selected_first
        self.transport.reset()

    # --- PINs --------------------------------------------------------------------

    @abstractmethod
    def attempts_left(self, password: Password, directory: bytes) -> int | None:
        """Return how many attempts a PIN has left; None when the card does not say.

        Args:
            password: which one.
            directory: path of the DF that it belongs to.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """

    def attempts_by_verify(self, password: Password, directory: bytes) -> int | None:
        """Return the same by an empty VERIFY, for cards that have no other way.

        Without data it compares nothing and costs nothing (ISO/IEC 7816-4:2005 section 7.5.6).
        A card on which the PIN is verified already answers 9000, which tells no number.
        """
        self.enter(directory)
        status = self.send(self.command(VERIFY, 0x00, password.reference)).status
        self.is_verified_already = status == OK
        return 0 if status == BLOCKED else attempts_in(status)

    def verify(self, password: Password, typed: bytearray, kind: PinKind) -> None:
        """Present a PIN or PUK, exactly once.

        Args:
            password: which one.
            typed: what the person typed; its shape was checked.
            kind: for the error.

        Raises:
            WrongPin, PinBlocked, WrongPuk, PukBlocked, CardMisbehaved, CardRemoved,
            ReaderServiceLost
        """
        padded = padded_pin(password, typed)
        try:
            # The transport takes immutable bytes: that copy dies with this call, unwiped
            command = self.command(VERIFY, 0x00, password.reference, bytes(padded))
            check_compared(self.send(command).status, "VERIFY", kind)
        finally:
            padded[:] = bytes(len(padded))

    def verify_on_pad(self, password: Password, pad: PinPad) -> None:
        """Let the person type the PIN on the reader, exactly once.

        Raises:
            WrongPin, PinBlocked, PinEntryCancelled, PinMalformed, CardMisbehaved, CardRemoved,
            ReaderServiceLost
        """
        block = padded_pin(password, bytearray(b"\xff" * PIN.digits))
        command = self.command(VERIFY, 0x00, password.reference, bytes(block))
        self.transport.will_verify()
        check_compared(pad.verify(command), "VERIFY on the PIN pad", PIN)

    @abstractmethod
    def change_pin(self, password: Password, old: bytearray, new: bytearray) -> None:
        """Replace the PIN. Nothing is sent again, whatever comes back.

        Raises:
            WrongPin, PinBlocked, CardMisbehaved, CardRemoved, ReaderServiceLost
        """

    @abstractmethod
    def set_pin_after_puk(self, password: Password, new: bytearray) -> None:
        """Unblock the PIN and replace it, the PUK being verified.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """

    # --- Signing, sending --------------------------------------------------------

    @abstractmethod
    def sign(self, key: PrivateKey, challenge: Challenge) -> CardSignature:
        """Sign a challenge; the PIN is verified and the key's directory is selected.

        Raises:
            CardMisbehaved, CardRemoved, ReaderServiceLost
        """

    def command(
        self, ins: int, p1: int, p2: int, data: bytes = b"", le: int | None = None
    ) -> Command:
        """Return a command in the family's class."""
        return Command(self.dialect.cla, ins, p1, p2, data, le)

    def send(self, command: Command) -> Response:
        """Send one command and return the whole answer."""
        return exchange(self.transport, command)


def padded_pin(password: Password, typed: bytearray) -> bytearray:
    """Return a copy of a PIN as VERIFY carries it; its owner wipes it."""
    if PasswordFlag.NEEDS_PADDING not in password.flags:
        return bytearray(typed)
    block = bytearray((password.padding,)) * max(len(typed), password.stored_length)
    block[: len(typed)] = typed  # in place: a sum would leave a copy behind
    return block


def digest_of(challenge: Challenge) -> bytes:
    """Return what is signed: SHA-256 of the challenge's message."""
    return hashlib.sha256(challenge.message()).digest()


def check_compared(status: StatusWord, what: str, kind: PinKind) -> None:
    """Turn the answer to a presented PIN into its error.

    Raises:
        WrongPin, PinBlocked, WrongPuk, PukBlocked: as the card said.
        CardMisbehaved: neither yes nor a refusal of the PIN.
    """
    if status == OK:
        return
    left = attempts_in(status)
    if status == BLOCKED or left == 0:
        raise kind.blocked()
    if status == _COMPARED or left is not None:
        raise kind.wrong(left)
    raise CardMisbehaved(what, str(status))

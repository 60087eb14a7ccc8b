"""One card behind a PKCS#11 module."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final, Self

from cps_auth.card import pkcs11_wire as wire
from cps_auth.card.pin import check_attempts, check_pin_shape
from cps_auth.card.pkcs11_presence import ReaderPresence
from cps_auth.card.pkcs11_process import ModuleProcess
from cps_auth.card.pkcs11_selection import (
    Seat,
    attempts_left,
    is_signature_of,
    rsa_modulus,
)
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    ContactlessNotEnough,
    CpsAuthError,
    ModuleUnusable,
    PinBlocked,
    WrongPin,
)
from cps_auth.model import (
    CardDescription,
    CardKind,
    CardSignature,
    Challenge,
    SignatureAlgorithm,
)

SHA256_DIGEST_INFO: Final = bytes.fromhex("3031300d060960864801650304020105000420")
"""DER of DigestInfo before a SHA-256 digest. Source: RFC 8017 section 9.2, note 1."""

_NOTICE_REMOVAL_S: Final = 0.8  # pcscd looks at a reader every 400 ms at worst

_TOKEN_LEFT: Final = frozenset(
    {
        "TokenNotPresent",
        "TokenNotRecognised",
        "DeviceRemoved",
        "SessionHandleInvalid",
        "SessionClosed",
        "SlotIDInvalid",
    }
)
"""What python-pkcs11 calls the CKR_ values that mean the token is not there any more."""

StartModule = Callable[[], ModuleProcess]


class Pkcs11Card:
    """A card in use through a module's child process.

    The process ends with the first PIN that it saw, right or wrong, because some modules
    keep the PIN; whatever is asked afterwards runs in a fresh one, after checking that the
    token is still the same.
    """

    def __init__(
        self,
        seat: Seat,
        process: ModuleProcess,
        *,
        start: StartModule,
        presence: ReaderPresence,
        open_deadline_s: float,
        prove_deadline_s: float,
    ) -> None:
        """Take over `process`, in which `seat` was found."""
        self._seat = seat
        self._process: ModuleProcess | None = process
        self._start = start
        self._presence = presence
        self._open_deadline_s = open_deadline_s
        self._prove_deadline_s = prove_deadline_s

    @property
    def description(self) -> CardDescription:
        """Return what the token said of itself when it was opened."""
        seat = self._seat
        return CardDescription(
            kind=CardKind.VENDOR_MODULE,
            reader=seat.reader_name,
            serial=seat.token.serial,
            label=seat.token.label,
            atr_hex=((seat.reader.atr if seat.reader else None) or b"").hex().upper(),
        )

    def read_authentication_certificate(self) -> bytes:
        """Return the authentication certificate, DER, unverified.

        Raises:
            CardRemoved, ReaderServiceLost, CardMisbehaved, ModuleUnusable
        """
        self._read_token()
        return self._seat.certificate.unverified_certificate_der

    def pin_attempts_left(self) -> int | None:
        """Return 0 or 1 when the token says so, None when PKCS#11 does not tell.

        Raises:
            CardRemoved, ReaderServiceLost, CardMisbehaved, ModuleUnusable
        """
        return attempts_left(self._read_token())

    def prove(
        self, pin: bytearray, challenge: Challenge, *, last_attempt_allowed: bool = False
    ) -> CardSignature:
        """Verify the PIN, sign the challenge, forget the PIN: see `cps_auth.card.port.Card`.

        The PIN goes from the caller's buffer to the pipe, and in the child from one buffer
        to C_Login. PKCS#11 flags tell the last attempt apart, so their silence is not
        "unknown" here: a token that does not say "final try" has more than one left.

        Raises:
            PinMalformed, LastAttempt, PinBlocked, ContactlessNotEnough: nothing was sent.
            WrongPin, PinBlocked: the card refused.
            CardRemoved, ReaderServiceLost, CardMisbehaved, ModuleUnusable
        """
        check_pin_shape(pin)
        token = self._read_token()
        if not token.login_required:
            raise ContactlessNotEnough
        if (left := attempts_left(token)) is not None:
            check_attempts(left, last_attempt_allowed=last_attempt_allowed)
        message = challenge.message()
        try:
            signature = self._sign(pin, message)
            self._read_token()  # still the same card, says the module
        finally:
            self._forget_pin()
        if not is_signature_of(self._seat.certificate, message, signature):
            raise CardMisbehaved("signature not made by the certificate's key")
        return CardSignature(SignatureAlgorithm.RS256, signature)

    def close(self) -> None:
        """End the child process. Never raises, may be called twice."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _sign(self, pin: bytearray, message: bytes) -> bytes:
        request = wire.Prove(
            slot_id=self._seat.slot.slot_id,
            serial=self._seat.token.serial,
            modulus=rsa_modulus(self._seat.certificate),
            digest_info=SHA256_DIGEST_INFO + hashlib.sha256(message).digest(),
        )
        reply = self._ask(request, self._prove_deadline_s, pin)
        if not isinstance(reply, wire.Signed):
            raise CardMisbehaved("answer of another request")
        return reply.signature

    def _read_token(self) -> wire.TokenSeen:
        """Read the token afresh and check that it is the one that was opened."""
        token = self._ask(wire.ReadToken(self._seat.slot.slot_id), self._open_deadline_s)
        if self._seat.reader is not None:
            self._presence.require(self._seat.reader)
        if not isinstance(token, wire.TokenSeen) or not self._seat.is_of(token):
            self.close()
            raise CardRemoved
        return token

    def _forget_pin(self) -> None:
        self.close()
        if self._seat.reader is not None:
            self._presence.reset(self._seat.reader)

    # --- Asking, and what a failure means ----------------------------------------

    def _ask(
        self, request: wire.Request, deadline_s: float, pin: bytearray | None = None
    ) -> wire.Reply:
        if self._process is None:
            self._process = self._start()
        try:
            reply = self._process.ask(request, deadline_s=deadline_s, pin=pin)
        except ModuleUnusable:
            self.close()
            self._require_after_doubt()
            raise
        if isinstance(reply, wire.Failed):
            raise self._meaning_of(reply, type(request).__name__)
        return reply

    def _meaning_of(self, failed: wire.Failed, operation: str) -> CpsAuthError:
        if failed.name == "PinIncorrect":
            return WrongPin(self._attempts_after_refusal())
        if failed.name == "PinLocked":
            return PinBlocked()
        if failed.name == "UserPinNotInitialized":
            return ContactlessNotEnough()
        self.close()
        if failed.name in _TOKEN_LEFT:
            self._require_after_doubt(0)  # PC/SC may know better: it can be lost itself
            return CardRemoved()
        self._require_after_doubt()
        return CardMisbehaved(f"{operation}: {failed.name}")

    def _attempts_after_refusal(self) -> int | None:
        try:
            return self.pin_attempts_left()
        except CpsAuthError:
            return None  # the refusal is what counts; the card may have left since

    def _require_after_doubt(self, within_s: float = _NOTICE_REMOVAL_S) -> None:
        if self._seat.reader is not None:
            self._presence.require_after_doubt(self._seat.reader, within_s)

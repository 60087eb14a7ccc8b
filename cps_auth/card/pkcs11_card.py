"""One card behind a PKCS#11 module."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Self

from cps_auth.card import pkcs11_wire as wire
from cps_auth.card.application import SHA256_DIGEST_INFO, digest_of
from cps_auth.card.pin import PIN, PUK, Code, check_attempts, check_shape
from cps_auth.card.pkcs11_presence import NOTICE_REMOVAL_S, ReaderPresence
from cps_auth.card.pkcs11_process import ModuleProcess
from cps_auth.card.pkcs11_selection import (
    Seat,
    attempts_left,
    rsa_modulus,
)
from cps_auth.card.signature import is_signature_of
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    ContactlessNotEnough,
    CpsAuthError,
    ModuleUnusable,
    PinEntryCancelled,
)
from cps_auth.model import (
    CardDescription,
    CardKind,
    CardSignature,
    Challenge,
    DataObject,
    SignatureAlgorithm,
)

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
            atr_hex=((seat.reader.atr if seat.reader else None) or b"").hex().upper(),
        )

    @property
    def has_pin_pad(self) -> bool:
        """Whether the PIN can be typed on the reader, says the token."""
        return self._seat.token.has_pin_pad

    def read_label(self) -> str:
        """Return the token's label, as it was when the card was opened."""
        return self._seat.token.label

    def read_free_objects(self) -> tuple[DataObject, ...]:
        """Return the data objects that need no PIN (CKO_DATA), unverified, as they are.

        Raises:
            CardRemoved, ReaderServiceLost, CardMisbehaved, ModuleUnusable
        """
        request = wire.ReadFreeObjects(self._seat.slot.slot_id, self._seat.token.serial)
        reply = self._ask(request, self._open_deadline_s)
        self._read_token()
        if not isinstance(reply, wire.ObjectsSeen):
            raise CardMisbehaved("answer of another request")
        return tuple(DataObject(one.label, one.unverified_content) for one in reply.objects)

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
        return attempts_left(self._read_token(), PIN)

    def puk_attempts_left(self) -> int | None:
        """Return 0 or 1 when the token says so, None when PKCS#11 does not tell.

        Raises:
            CardRemoved, ReaderServiceLost, CardMisbehaved, ModuleUnusable
        """
        return attempts_left(self._read_token(), PUK)

    def prove(
        self, pin: bytearray | None, challenge: Challenge, *, last_attempt_allowed: bool = False
    ) -> CardSignature:
        """Verify the PIN, sign the challenge, forget the PIN: see `cps_auth.card.port.Card`.

        The PIN goes from the caller's buffer to the pipe, and in the child from one buffer
        to C_Login. PKCS#11 flags tell the last attempt apart, so their silence is not
        "unknown" here: a token that does not say "final try" has more than one left.

        Raises:
            PinMalformed, LastAttempt, PinBlocked, ContactlessNotEnough: nothing was sent.
            WrongPin, PinBlocked, PinEntryCancelled: the card, or the person, refused.
            CardRemoved, ReaderServiceLost, CardMisbehaved, ModuleUnusable
        """
        if pin is not None:
            check_shape(pin, PIN)
        elif not self.has_pin_pad:
            raise PinEntryCancelled
        self._require_attempts(PIN, last_attempt_allowed)
        request = wire.Prove(
            slot_id=self._seat.slot.slot_id,
            serial=self._seat.token.serial,
            modulus=rsa_modulus(self._seat.certificate),
            key_id=self._seat.certificate.key_id,
            digest_info=SHA256_DIGEST_INFO + digest_of(challenge),
            on_pin_pad=pin is None,
        )
        reply = self._use_codes(request, () if pin is None else (pin,), PIN)
        if not isinstance(reply, wire.Signed):
            raise CardMisbehaved("answer of another request")
        algorithm = SignatureAlgorithm.PS256 if reply.is_pss else SignatureAlgorithm.RS256
        signature = CardSignature(algorithm, reply.signature)
        certificate_der = self._seat.certificate.unverified_certificate_der
        if not is_signature_of(certificate_der, challenge.message(), signature):
            raise CardMisbehaved("signature not made by the certificate's key")
        return signature

    def change_pin(
        self, old: bytearray, new: bytearray, *, last_attempt_allowed: bool = False
    ) -> None:
        """Replace the PIN (C_SetPIN): see `cps_auth.card.port.Card`.

        Raises:
            PinMalformed, LastAttempt, PinBlocked, ContactlessNotEnough: nothing was sent.
            WrongPin, PinBlocked: the card refused.
            CardRemoved, ReaderServiceLost, CardMisbehaved, ModuleUnusable
        """
        check_shape(old, PIN)
        check_shape(new, PIN)
        self._require_attempts(PIN, last_attempt_allowed)
        request = wire.ChangePin(self._seat.slot.slot_id, self._seat.token.serial)
        self._use_codes(request, (old, new), PIN)

    def unblock(
        self, puk: bytearray, new: bytearray, *, last_attempt_allowed: bool = False
    ) -> None:
        """Replace the PIN with the PUK (C_InitPIN): see `cps_auth.card.port.Card`.

        Not every module tells how many attempts the PUK has left; then it is unknown.

        Raises:
            PukMalformed, PinMalformed, LastPukAttempt, PukBlocked, ContactlessNotEnough:
                nothing was sent.
            WrongPuk, PukBlocked: the card refused.
            CardRemoved, ReaderServiceLost, CardMisbehaved, ModuleUnusable
        """
        check_shape(puk, PUK)
        check_shape(new, PIN)
        self._require_attempts(PUK, last_attempt_allowed)
        request = wire.Unblock(self._seat.slot.slot_id, self._seat.token.serial)
        self._use_codes(request, (puk, new), PUK)

    def close(self) -> None:
        """End the child process. Never raises, may be called twice."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _require_attempts(self, code: Code, last_attempt_allowed: bool) -> None:
        token = self._read_token()
        if not token.login_required:
            raise ContactlessNotEnough
        left = attempts_left(token, code)
        if left is not None or code is PUK:
            check_attempts(left, last_attempt_allowed=last_attempt_allowed, code=code)

    def _use_codes(
        self, request: wire.Request, codes: Sequence[bytearray], code: Code
    ) -> wire.Reply:
        """Ask once, see that it is still the same card, and let the module forget the codes."""
        try:
            reply = self._ask(request, self._prove_deadline_s, codes, code)
            self._read_token()
        finally:
            self._forget_pin()
        return reply

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
        self,
        request: wire.Request,
        deadline_s: float,
        codes: Sequence[bytearray] = (),
        code: Code = PIN,
    ) -> wire.Reply:
        if self._process is None:
            self._process = self._start()
        try:
            reply = self._process.ask(request, deadline_s=deadline_s, codes=codes)
        except ModuleUnusable:
            self.close()
            self._require_after_doubt()
            raise
        if isinstance(reply, wire.Failed):
            raise self._meaning_of(reply, type(request).__name__, code)
        return reply

    def _meaning_of(self, failed: wire.Failed, operation: str, code: Code) -> CpsAuthError:
        if failed.name == "PinIncorrect":
            return code.wrong(self._attempts_after_refusal(code))
        if failed.name == "PinLocked":
            return code.blocked()
        if failed.name == "FunctionCancelled":
            return PinEntryCancelled()
        if failed.name == "UserPinNotInitialized":
            return ContactlessNotEnough()
        self.close()
        if failed.name in _TOKEN_LEFT:
            self._require_after_doubt(0)  # PC/SC may know better: it can be lost itself
            return CardRemoved()
        self._require_after_doubt()
        if failed.name == "FunctionNotSupported":
            return ModuleUnusable(f"{operation}: {failed.name}")
        return CardMisbehaved(f"{operation}: {failed.name}")

    def _attempts_after_refusal(self, code: Code) -> int | None:
        try:
            return attempts_left(self._read_token(), code)
        except CpsAuthError:
            return None  # the refusal is what counts; the card may have left since

    def _require_after_doubt(self, within_s: float = NOTICE_REMOVAL_S) -> None:
        if self._seat.reader is not None:
            self._presence.require_after_doubt(self._seat.reader, within_s)

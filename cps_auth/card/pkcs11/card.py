"""One card behind a PKCS#11 module."""

from __future__ import annotations

from typing import Self

from cps_auth.card.certificates import is_signature_of, rsa_modulus
from cps_auth.card.native.driver import SHA256_DIGEST_INFO, digest_of
from cps_auth.card.pin import PIN, PUK, PinKind, check_attempts, check_shape
from cps_auth.card.pkcs11 import wire
from cps_auth.card.pkcs11.select import attempts_left
from cps_auth.card.pkcs11.token import TokenSession
from cps_auth.errors import (
    CardMisbehaved,
    ContactlessNotEnough,
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


class Pkcs11Card:
    """A card in use through a module's child process. Implements `cps_auth.card.port.Card`.

    Whatever asks the token raises CardRemoved, ReaderServiceLost, CardMisbehaved, ModuleUnusable.
    """

    def __init__(self, token: TokenSession) -> None:
        """Take over a token in which a card was found."""
        self._token = token
        self._candidate = token.candidate

    @property
    def description(self) -> CardDescription:
        """Return what the token said of itself when it was opened."""
        candidate = self._candidate
        return CardDescription(
            kind=CardKind.VENDOR_MODULE,
            reader=candidate.reader_name,
            serial=candidate.token.serial,
            atr_hex=((candidate.reader.atr if candidate.reader else None) or b"").hex().upper(),
        )

    @property
    def has_pin_pad(self) -> bool:
        """Return whether the PIN can be typed on the reader, says the token."""
        return self._candidate.token.has_pin_pad

    def read_label(self) -> str:
        """Return the token's label, as it was when the card was opened."""
        return self._candidate.token.label

    def read_public_objects(self) -> tuple[DataObject, ...]:
        """Return the data objects that need no PIN (CKO_DATA), unverified, as they are."""
        request = wire.ReadPublicObjects(self._candidate.slot.slot_id, self._candidate.token.serial)
        reply = self._token.ask(request)
        self._token.read()
        if not isinstance(reply, wire.ObjectsSeen):
            raise CardMisbehaved("answer of another request")
        return tuple(DataObject(one.label, one.unverified_content) for one in reply.objects)

    def read_authentication_certificate(self) -> bytes:
        """Return the authentication certificate, DER, unverified."""
        self._token.check()
        return self._candidate.certificate.unverified_certificate_der

    def pin_attempts_left(self) -> int | None:
        """Return 0 or 1 when the token says so, None when PKCS#11 does not tell."""
        return attempts_left(self._token.read(), PIN)

    def puk_attempts_left(self) -> int | None:
        """Return 0 or 1 when the token says so, None when PKCS#11 does not tell."""
        return attempts_left(self._token.read(), PUK)

    def verify_pin_and_sign(
        self, pin: bytearray | None, challenge: Challenge, *, last_attempt_allowed: bool = False
    ) -> CardSignature:
        """Verify the PIN, sign the challenge, forget the PIN: see `cps_auth.card.port.Card`.

        The token is read just before it sees the PIN. Its flags tell the last attempt apart, so
        their silence is not "unknown" here: one that says no "final try" has more than one left.

        Raises:
            PinMalformed, LastAttempt, PinBlocked, ContactlessNotEnough: nothing was sent.
            WrongPin, PinBlocked, PinEntryCancelled: the card, or the person, refused.
        """
        if pin is not None:
            check_shape(pin, PIN)
        elif not self.has_pin_pad:
            raise PinEntryCancelled
        self._token.check()
        request = wire.VerifyAndSign(
            slot_id=self._candidate.slot.slot_id,
            serial=self._candidate.token.serial,
            modulus=rsa_modulus(self._candidate.certificate.unverified_certificate_der),
            key_id=self._candidate.certificate.key_id,
            digest_info=SHA256_DIGEST_INFO + digest_of(challenge),
            on_pin_pad=pin is None,
            last_attempt_allowed=last_attempt_allowed,
        )
        reply = self._token.use_codes(request, () if pin is None else (pin,), PIN)
        if isinstance(reply, wire.TokenSeen):
            _require_attempts(reply, PIN, last_attempt_allowed)
        if not isinstance(reply, wire.Signed):
            raise CardMisbehaved("answer of another request")
        algorithm = SignatureAlgorithm.PS256 if reply.is_pss else SignatureAlgorithm.RS256
        signature = CardSignature(algorithm, reply.signature)
        certificate_der = self._candidate.certificate.unverified_certificate_der
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
        """
        check_shape(old, PIN)
        check_shape(new, PIN)
        _require_attempts(self._token.read(), PIN, last_attempt_allowed)
        request = wire.ChangePin(self._candidate.slot.slot_id, self._candidate.token.serial)
        self._token.use_codes(request, (old, new), PIN)

    def unblock(
        self, puk: bytearray, new: bytearray, *, last_attempt_allowed: bool = False
    ) -> None:
        """Replace the PIN with the PUK (C_InitPIN): see `cps_auth.card.port.Card`.

        Not every module tells how many attempts the PUK has left; then it is unknown. One that
        does is taken at its word, as for the PIN.

        Raises:
            PukMalformed, PinMalformed, LastPukAttempt, PukBlocked, ContactlessNotEnough:
                nothing was sent.
            WrongPuk, PukBlocked: the card refused.
        """
        check_shape(puk, PUK)
        check_shape(new, PIN)
        _require_attempts(self._token.read(), PUK, last_attempt_allowed)
        request = wire.Unblock(self._candidate.slot.slot_id, self._candidate.token.serial)
        self._token.use_codes(request, (puk, new), PUK)

    def has_stayed(self) -> bool:
        """Return whether the card has been in its reader all the time since it was opened.

        Raises:
            ReaderServiceLost: nobody can tell.
        """
        return self._token.has_stayed()

    def close(self) -> None:
        """Let go of the child process. Never raises, may be called twice."""
        self._token.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _require_attempts(token: wire.TokenSeen, kind: PinKind, last_attempt_allowed: bool) -> None:
    if not token.login_required:
        raise ContactlessNotEnough
    left = attempts_left(token, kind)
    if left is not None or (kind is PUK and not token.tells_puk):
        check_attempts(left, last_attempt_allowed=last_attempt_allowed, kind=kind)

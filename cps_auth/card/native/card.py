"""One CPS in use, driven by this package itself: `cps_auth.card.port.Card` over any transport."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Self

from cps_auth.card.native import pkcs15
from cps_auth.card.native.application import CardApplication
from cps_auth.card.native.card_cache import CachedCard, CardMemory
from cps_auth.card.native.layout import Profile, read_label, read_public_objects
from cps_auth.card.native.pin_pad import PinPad
from cps_auth.card.native.pkcs15 import Password
from cps_auth.card.pin import PIN, PUK, PinKind, check_attempts, check_shape
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    ContactlessNotEnough,
    PinEntryCancelled,
)
from cps_auth.model import CardDescription, CardSignature, Challenge, DataObject

_TAIL_BYTES = 16
"""Of a certificate: the end of its issuer's signature, which no two certificates share."""


class NativeCard:
    """One CPS3 or CPS4 in use. Implements `cps_auth.card.port.Card`."""

    def __init__(
        self,
        application: CardApplication,
        description: CardDescription,
        profile: Profile,
        *,
        owned: ExitStack,
        memory: CardMemory,
        has_stayed: Callable[[], bool],
        pin_pad: PinPad | None = None,
    ) -> None:
        """Take a card over.

        Args:
            application: its driver.
            description: what it says of itself.
            profile: where it keeps what.
            owned: what is closed with it.
            memory: what is known of it, and where what a signature proves is kept.
            has_stayed: asks PC/SC whether it has been in its reader all the time.
            pin_pad: the reader's keypad, None when it has none.
        """
        self._pin_pad = pin_pad
        self._application = application
        self._description = description
        self._profile = profile
        self._owned = owned
        self._memory = memory
        self._has_stayed = has_stayed
        self._certificate_der = memory.files.certificate_der if memory.files else None

    @property
    def description(self) -> CardDescription:
        """Return what the card said of itself when it was opened."""
        return self._description

    @property
    def has_pin_pad(self) -> bool:
        """Whether the PIN can be typed on the reader."""
        return self._pin_pad is not None

    def read_label(self) -> str:
        """Return the label that the card gives itself, such as CPS3v3-2900099999.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        with self._use():
            files, path = self._application.files, self._profile.application
            return self._application.awake(lambda: read_label(files, path))

    def read_public_objects(self) -> tuple[DataObject, ...]:
        """Return the data objects that need no PIN, unverified, as they are.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        with self._use():
            files, path = self._application.files, self._profile.application
            return self._application.awake(lambda: read_public_objects(files, path))

    def read_authentication_certificate(self) -> bytes:
        """Return the authentication certificate, DER, unverified; of a known card, from memory.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        if self._certificate_der is None:
            with self._use():
                self._certificate_der = self._application.awake(self._read_certificate)
        return self._certificate_der

    def pin_attempts_left(self) -> int | None:
        """Return how many PIN attempts are left; None when the card does not say.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        return self._count(self._profile.password)

    def puk_attempts_left(self) -> int | None:
        """Return how many PUK attempts are left; None when the card does not say.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        return self._count(self._profile.puk)

    def verify_pin_and_sign(
        self, pin: bytearray | None, challenge: Challenge, *, last_attempt_allowed: bool = False
    ) -> CardSignature:
        """Verify the PIN, sign the challenge, reset the card. See `cps_auth.card.port.Card`.

        Raises:
            ContactlessNotEnough, PinMalformed, LastAttempt, PinBlocked, WrongPin
            PinEntryCancelled, CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        if pin is not None:
            check_shape(pin, PIN)
        elif self._pin_pad is None:
            raise PinEntryCancelled
        with self._guarded(PIN, last_attempt_allowed) as password:
            self._present(password, pin)
            signature = self._application.sign(self._profile.key, challenge)
        self._learn_from(signature, challenge)
        return signature

    def change_pin(
        self, old: bytearray, new: bytearray, *, last_attempt_allowed: bool = False
    ) -> None:
        """Replace the PIN, and reset the card. See `cps_auth.card.port.Card`.

        Raises:
            ContactlessNotEnough, PinMalformed, LastAttempt, PinBlocked, WrongPin
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        check_shape(old, PIN)
        check_shape(new, PIN)
        with self._guarded(PIN, last_attempt_allowed) as password:
            self._application.change_pin(password, old, new)

    def unblock(
        self, puk: bytearray, new: bytearray, *, last_attempt_allowed: bool = False
    ) -> None:
        """Unblock and replace the PIN, and reset the card. See `cps_auth.card.port.Card`.

        Raises:
            ContactlessNotEnough, PukMalformed, PinMalformed, LastPukAttempt, PukBlocked, WrongPuk
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        check_shape(puk, PUK)
        check_shape(new, PIN)
        with self._guarded(PUK, last_attempt_allowed) as password:
            self._application.verify(password, puk, PUK)
            self._application.set_pin_after_puk(self._pin(), new)

    def has_stayed(self) -> bool:
        """Tell whether the card has been in its reader all the time since it was opened.

        Raises:
            ReaderServiceLost: nobody can tell.
        """
        return self._has_stayed()

    def close(self) -> None:
        """Let go of the card. Never raises, may be called twice."""
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # --- One use of the card -----------------------------------------------------

    def _use(self) -> AbstractContextManager[None]:
        return self._application.transport.exclusive()

    @contextmanager
    def _guarded(self, kind: PinKind, last_attempt_allowed: bool) -> Iterator[Password]:
        """Hold the card, count the attempts first, and reset it whatever happens."""
        if self._description.kind.is_contactless:
            raise ContactlessNotEnough
        password = self._pin() if kind is PIN else self._puk()
        with self._use():
            try:
                self._application.awake(self._enter)
                left = self._attempts_left(password, self._enter)
                if left is None:
                    left = self._application.attempts_left_once_reset(password, self._enter)
                check_attempts(left, last_attempt_allowed=last_attempt_allowed, kind=kind)
                yield password
            except CardMisbehaved:
                self._memory.forget()  # what was known of it may be what is wrong
                raise
            finally:
                self._application.reset()

    def _present(self, password: Password, pin: bytearray | None) -> None:
        if pin is not None:
            self._application.verify(password, pin, PIN)
        elif self._pin_pad is not None:
            self._application.verify_on_pad(password, self._pin_pad)

    def _pin(self) -> Password:
        if self._profile.password is None:
            raise CardMisbehaved("authentication key in contact that says it needs no PIN")
        return self._profile.password

    def _puk(self) -> Password:
        if self._profile.puk is None:
            raise CardMisbehaved("no PUK in PKCS#15")
        return self._profile.puk

    def _enter(self) -> None:
        """Select the key's directory; on the way, see that the card is the one that was read.

        A card that proved it since it was inserted has said its serial number again, and PC/SC
        counts insertions: that is seen without reading the certificate's end.
        """
        key_directory = pkcs15.resolve(self._profile.application, self._profile.key.path)
        if self._certificate_der is None or self._memory.is_proven:
            self._application.files.select(key_directory)
            return
        path = pkcs15.resolve(self._profile.application, self._profile.certificate.path)
        self._application.files.select(path)
        tail = self._certificate_der[-_TAIL_BYTES:]
        at = self._profile.certificate.offset + len(self._certificate_der) - len(tail)
        if self._application.files.read_current(at, len(tail)) != tail:
            self._memory.forget()
            raise CardRemoved  # another card, or not what was known of this one
        if path[:-2] != key_directory:
            self._application.files.select(key_directory)

    def _count(self, code: Password | None) -> int | None:
        if code is None:
            return None
        with self._use():
            try:
                self._application.awake(self._enter)
            except CardMisbehaved:
                self._memory.forget()
                raise
            return self._attempts_left(code)

    def _attempts_left(
        self, code: Password, return_to: Callable[[], None] | None = None
    ) -> int | None:
        left = self._application.attempts_left(code)
        if left is None:
            self._memory.forget()  # perhaps a wrong memory of which code it is
            left = self._application.attempts_by_object(code)
            if return_to is not None:
                return_to()
        return left

    def _read_certificate(self) -> bytes:
        reference = self._profile.certificate
        return self._application.files.read_object(
            pkcs15.resolve(self._profile.application, reference.path),
            offset=reference.offset,
            length=reference.length,
        )

    def _learn_from(self, signature: CardSignature, challenge: Challenge) -> None:
        """Keep what the signature proved; forget what it did not.

        Raises:
            CardMisbehaved: the certificate's key did not make the signature.
        """
        if self._certificate_der is None:
            return
        # Here, since who only lists readers does without cryptography's start
        from cps_auth.card.signature_check import is_signature_of

        if not is_signature_of(self._certificate_der, challenge.message(), signature):
            self._memory.forget()
            raise CardMisbehaved("signature not made by the certificate's key")
        self._memory.learn(CachedCard(self._profile, self._certificate_der))

"""One CPS in use, driven by this package itself: `cps_auth.card.port.Card` over any transport."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final, Self, TypeVar

from cps_auth.card.native.card_cache import CachedCard, CardMemory
from cps_auth.card.native.driver import CardDriver
from cps_auth.card.native.files import read_current
from cps_auth.card.native.layout import (
    Pkcs15Layout,
    read_certificate,
    read_label,
    read_public_objects,
)
from cps_auth.card.native.pin_pad import PinPad, find_pin_pad
from cps_auth.card.native.pkcs15 import Password, resolve
from cps_auth.card.pin import PIN, PUK, PinKind, check_attempts, check_shape
from cps_auth.errors import CardMisbehaved, CardRemoved, ContactlessNotEnough, PinEntryCancelled
from cps_auth.model import CardDescription, CardSignature, Challenge, DataObject

_TAIL_BYTES: Final = 16
"""Of a certificate: the end of its issuer's signature, which no two certificates share."""

_T = TypeVar("_T")


class NativeCard:
    """One CPS3 or CPS4 in use. Implements `cps_auth.card.port.Card`.

    Attributes:
        description: what the card said of itself when it was opened.
    """

    def __init__(
        self,
        driver: CardDriver,
        description: CardDescription,
        layout: Pkcs15Layout,
        *,
        owned: ExitStack,
        memory: CardMemory,
        has_stayed: Callable[[], bool],
        certificate_der: bytes | None = None,
    ) -> None:
        """Take a card over.

        Args:
            driver: its driver.
            description: what it says of itself.
            layout: where it keeps what.
            owned: what is closed with it.
            memory: what is known of it, and where what a signature proves is kept.
            has_stayed: asks PC/SC whether it has been in its reader all the time.
            certificate_der: its authentication certificate if that was read or is known.
        """
        self.description = description
        self._driver = driver
        self._layout = layout
        self._owned = owned
        self._memory = memory
        self._has_stayed = has_stayed
        self._certificate_der = certificate_der
        self._pin_pad: PinPad | None = None
        self._is_pad_known = False

    @property
    def has_pin_pad(self) -> bool:
        """Return whether the PIN can be typed on the reader, which is asked once."""
        return self._find_pin_pad() is not None

    def read_label(self) -> str:
        """Return the label that the card gives itself, such as CPS3v3-2900099999.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        return self._read(lambda: read_label(self._driver, self._layout.application))

    def read_public_objects(self) -> tuple[DataObject, ...]:
        """Return the data objects that need no PIN, unverified, as they are.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        return self._read(lambda: read_public_objects(self._driver, self._layout.application))

    def read_authentication_certificate(self) -> bytes:
        """Return the authentication certificate, DER, unverified; of a known card, from memory.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        if self._certificate_der is None:
            application, file = self._layout.application, self._layout.certificate
            self._certificate_der = self._read(
                lambda: read_certificate(self._driver, application, file)
            )
        return self._certificate_der

    def pin_attempts_left(self) -> int | None:
        """Return how many PIN attempts are left; None when the card does not say.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        return self._count(self._layout.password)

    def puk_attempts_left(self) -> int | None:
        """Return how many PUK attempts are left; None when the card does not say.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        return self._count(self._layout.puk)

    def verify_pin_and_sign(
        self, pin: bytearray | None, challenge: Challenge, *, last_attempt_allowed: bool = False
    ) -> CardSignature:
        """Verify the PIN, sign the challenge, reset the card. See `cps_auth.card.port.Card`.

        Raises:
            ContactlessNotEnough, PinMalformed, LastAttempt, PinBlocked, WrongPin
            PinEntryCancelled, CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        pad = None
        if pin is not None:
            check_shape(pin, PIN)
        else:
            pad = self._find_pin_pad()
            if pad is None:
                raise PinEntryCancelled
        with self._pin_use(PIN, last_attempt_allowed) as password:
            if pin is not None:
                self._driver.verify(password, pin, PIN)
            elif pad is not None:
                self._driver.verify_on_pad(password, pad)
            signature = self._driver.sign(self._layout.key, challenge)
        if not self._memory.is_proven and self._certificate_der is not None:
            self._learn_from(signature, challenge, self._certificate_der)
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
        with self._pin_use(PIN, last_attempt_allowed) as password:
            self._driver.change_pin(password, old, new)

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
        with self._pin_use(PUK, last_attempt_allowed) as password:
            self._driver.verify(password, puk, PUK)
            self._driver.set_pin_after_puk(self._password(PIN), new)

    def has_stayed(self) -> bool:
        """Return whether the card has been in its reader all the time since it was opened.

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

    # --- Reading -----------------------------------------------------------------

    def _read(self, read: Callable[[], _T]) -> _T:
        with self._driver.transport.exclusive():
            return self._driver.run(read)

    def _count(self, password: Password | None) -> int | None:
        if password is None:
            return None
        left = None
        try:
            left = self._read(lambda: self._enter_and_count(password))
        finally:
            if left is None:
                self._memory.forget()  # perhaps a wrong memory of which PIN it is
        return left

    # --- With a PIN --------------------------------------------------------------

    @contextmanager
    def _pin_use(self, kind: PinKind, last_attempt_allowed: bool) -> Iterator[Password]:
        """Hold the card and count the attempts first; reset it after, whatever happened."""
        if self.description.kind.is_contactless:
            raise ContactlessNotEnough
        password = self._password(kind)
        with self._driver.transport.exclusive():
            try:
                left = self._driver.run(lambda: self._enter_and_count(password))
                if left is None and self._driver.is_verified_already:
                    self._driver.reset()  # which hides the number; over after this
                    left = self._driver.run(lambda: self._enter_and_count(password))
                if left is None:
                    self._memory.forget()  # perhaps a wrong memory of which PIN it is
                check_attempts(left, last_attempt_allowed=last_attempt_allowed, kind=kind)
            except CardMisbehaved:
                self._memory.forget()  # what was known of it may be what is wrong
                raise
            try:
                yield password
            except CardMisbehaved:
                self._memory.forget()
                raise
            finally:
                self._driver.reset()

    def _enter_and_count(self, password: Password) -> int | None:
        """See that it is the card that was read, count the attempts, enter the key's directory.

        A card that proved its certificate since it was inserted has said its serial number again,
        and PC/SC counts insertions: that is seen without reading the certificate's end.
        """
        directory = self._layout.key_directory
        if self._driver.counts_in_directory:  # where the comparison leaves the card
            self._require_same_card()
            left = self._driver.attempts_left(password, directory)
        else:
            left = self._driver.attempts_left(password, directory)
            self._require_same_card()
        self._driver.enter(directory)
        return left

    def _require_same_card(self) -> None:
        """Compare the end of the certificate, unless a signature proved it since the insertion."""
        der = self._certificate_der
        if self._memory.is_proven or der is None:
            return
        reference = self._layout.certificate
        self._driver.select(resolve(self._layout.application, reference.path))
        tail = der[-_TAIL_BYTES:]
        at = reference.offset + len(der) - len(tail)
        if read_current(self._driver, at, len(tail)) != tail:
            self._memory.forget()
            raise CardRemoved  # another card, or not what was known of this one

    def _learn_from(self, signature: CardSignature, challenge: Challenge, der: bytes) -> None:
        """Keep what the signature proved; forget what it did not.

        Raises:
            CardMisbehaved: the certificate's key did not make the signature.
        """
        # Here, since who only lists readers does without cryptography's start
        from cps_auth.card.certificates import is_signature_of

        if not is_signature_of(der, challenge.message(), signature):
            self._memory.forget()
            raise CardMisbehaved("signature not made by the certificate's key")
        self._memory.learn(CachedCard(self._layout, der))

    def _password(self, kind: PinKind) -> Password:
        password = self._layout.password if kind is PIN else self._layout.puk
        if password is None:
            what = "authentication key in contact that says it needs no PIN"
            raise CardMisbehaved(what if kind is PIN else "no PUK in PKCS#15")
        return password

    def _find_pin_pad(self) -> PinPad | None:
        if not self._is_pad_known:
            self._pin_pad, self._is_pad_known = find_pin_pad(self._driver.transport), True
        return self._pin_pad

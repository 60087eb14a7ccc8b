"""The CPS3: an IAS-ECC card, driven over any `Transport`.

The commands are those that ANS's own module (cps3_pkcs11 5.2) and OpenSC's iasecc driver send.
"""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from typing import Self

from cps_auth.card import asn1, pkcs15
from cps_auth.card.apdu import Command, StatusWord, exchange
from cps_auth.card.files import CardFiles
from cps_auth.card.pin import check_attempts, check_pin_shape
from cps_auth.card.port import Transport
from cps_auth.card.profile import (
    APPLICATION_CONTACT,
    APPLICATION_CONTACTLESS,
    EF_SN,
    Profile,
    parse_serial,
    read_profile,
)
from cps_auth.card.tlv import Tlv, read_all, read_first
from cps_auth.errors import (
    CardMisbehaved,
    ContactlessNotEnough,
    PinBlocked,
    WrongPin,
)
from cps_auth.model import CardDescription, CardKind, CardSignature, Challenge, SignatureAlgorithm

_VERIFY, _MSE, _INTERNAL_AUTHENTICATE, _GET_DATA = 0x20, 0x22, 0x88, 0xCB
_SET_FOR_INTERNAL_AUTHENTICATION = (0x41, 0xA4)  # ISO/IEC 7816-4:2005 section 7.5.11
_RSA_PKCS1 = 0x02  # algorithm reference: the card pads, the host makes the DigestInfo

_SHA256_DIGEST_INFO = bytes.fromhex("3031300D060960864801650304020105000420")
"""RFC 8017 section 9.2 note 1."""


class IasEccCard:
    """One CPS3 in use. Implements `cps_auth.card.port.Card`."""

    def __init__(
        self, transport: Transport, description: CardDescription, profile: Profile, owned: ExitStack
    ) -> None:
        self._transport = transport
        self._files = CardFiles(transport)
        self._description = description
        self._profile = profile
        self._owned = owned

    @property
    def description(self) -> CardDescription:
        """Return what the card said of itself when it was opened."""
        return self._description

    def read_authentication_certificate(self) -> bytes:
        """Return the authentication certificate, DER, unverified.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        reference = self._profile.certificate
        with self._transport.exclusive():
            unverified_content = self._files.read(
                pkcs15.resolve(self._profile.application, reference.path),
                offset=reference.offset,
                length=reference.length,
            )
        return _without_padding(unverified_content)

    def pin_attempts_left(self) -> int | None:
        """Return how many PIN attempts are left; None when the card does not say.

        Raises:
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        with self._transport.exclusive():
            return self._attempts_left()

    def prove(
        self, pin: bytearray, challenge: Challenge, *, last_attempt_allowed: bool = False
    ) -> CardSignature:
        """Verify the PIN, sign the challenge, reset the card. See `cps_auth.card.port.Card`.

        Raises:
            ContactlessNotEnough, PinMalformed, LastAttempt, PinBlocked, WrongPin
            CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
        """
        if self._description.kind.is_contactless:
            raise ContactlessNotEnough
        check_pin_shape(pin)
        with self._transport.exclusive():
            try:
                check_attempts(self._attempts_left(), last_attempt_allowed=last_attempt_allowed)
                self._verify(pin)
                value = self._sign(challenge)
            finally:
                self._transport.reset()
        return CardSignature(SignatureAlgorithm.RS256, value)

    def close(self) -> None:
        """Let go of the card. Never raises, may be called twice."""
        self._owned.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def _attempts_left(self) -> int | None:
        password = self._profile.password
        if password is None:
            return None
        self._files.select(pkcs15.MF)
        response = exchange(self._transport, _get_pin_data(password.reference))
        left = _parse_attempts(response.data, password.reference) if response.status.is_ok else None
        return left if left is not None else self._attempts_by_empty_verify(password.reference)

    def _attempts_by_empty_verify(self, reference: int) -> int | None:
        # Without data VERIFY compares nothing (ISO/IEC 7816-4:2005 section 7.5.6)
        status = exchange(self._transport, Command(0x00, _VERIFY, 0x00, reference)).status
        return 0 if status.is_blocked else status.attempts_left

    def _verify(self, pin: bytearray) -> None:
        password = self._profile.password
        if password is None:
            raise CardMisbehaved("authentication key in contact that says it needs no PIN")
        padded = password.padded(pin)
        try:
            # The transport takes immutable bytes: that copy dies with this call, unwiped
            command = Command(0x00, _VERIFY, 0x00, password.reference, bytes(padded))
            _check_verified(exchange(self._transport, command).status)
        finally:
            padded[:] = bytes(len(padded))

    def _sign(self, challenge: Challenge) -> bytes:
        key = self._profile.key
        self._files.select(pkcs15.resolve(self._profile.application, key.path))
        environment = bytes((0x80, 0x01, _RSA_PKCS1, 0x84, 0x01, key.reference))
        mse = Command(0x00, _MSE, *_SET_FOR_INTERNAL_AUTHENTICATION, environment)
        exchange(self._transport, mse).require_ok("MANAGE SECURITY ENVIRONMENT")
        digest_info = _SHA256_DIGEST_INFO + hashlib.sha256(challenge.message()).digest()
        command = Command(0x00, _INTERNAL_AUTHENTICATE, 0x00, 0x00, digest_info, le=256)
        value = exchange(self._transport, command).require_ok("INTERNAL AUTHENTICATE")
        if not value:
            raise CardMisbehaved("INTERNAL AUTHENTICATE without a signature")
        return value


def open_iasecc(
    transport: Transport, *, reader: str, atr: bytes, kind: CardKind, owned: ExitStack
) -> IasEccCard:
    """Read what a CPS3 says of itself and return it, in use.

    Args:
        transport: the powered card.
        reader: name of its reader.
        atr: its answer to reset.
        kind: what the answer to reset stands for.
        owned: what the card closes when it is closed; stays the caller's when this raises.

    Raises:
        UnsupportedCard: another issuer's card.
        CardMisbehaved, CardRemoved, CardBusy, ReaderServiceLost
    """
    aid = APPLICATION_CONTACTLESS if kind.is_contactless else APPLICATION_CONTACT
    files = CardFiles(transport)
    with transport.exclusive():
        serial = parse_serial(files.read(EF_SN))
        profile = read_profile(files, aid)
    description = CardDescription(kind, reader, serial, profile.label, atr.hex().upper())
    return IasEccCard(transport, description, profile, owned)


def _get_pin_data(reference: int) -> Command:
    """GET DATA with an extended header list: all about one PIN (DOCP, tag BF81nn, A0)."""
    pin = bytes((0xBF, 0x81, reference & 0x7F, 0x02, 0xA0, 0x80))
    header_list = bytes((0x4D, len(pin) + 2, 0x70, len(pin))) + pin
    return Command(0x00, _GET_DATA, 0x3F, 0xFF, header_list, le=256)


def _parse_attempts(unverified: bytes, reference: int) -> int | None:
    """Return the tries left (9B), 0 when the uses left (9D) are none; None when not said."""
    try:
        parameters = _descend(read_all(unverified), 0x70, 0xBF8100 | reference & 0x7F, 0xA0)
    except CardMisbehaved:
        return None
    values = {found.tag: int.from_bytes(found.value, "big") for found in parameters}
    left = values.get(0x9B)
    if left is None or left > 15:
        return None
    return 0 if values.get(0x9D) == 0 else left


def _descend(objects: tuple[Tlv, ...], *tags: int) -> tuple[Tlv, ...]:
    for tag in tags:
        objects = next((found.children() for found in objects if found.tag == tag), ())
    return objects


def _check_verified(status: StatusWord) -> None:
    if status.is_blocked:
        raise PinBlocked
    if status.is_comparison_failed:
        raise WrongPin(status.attempts_left)
    if not status.is_ok:
        raise CardMisbehaved("VERIFY", str(status))


def _without_padding(unverified_content: bytes) -> bytes:
    """Cut what a file holds after the certificate; what is not a certificate stays whole."""
    try:
        found, taken = read_first(unverified_content)
    except CardMisbehaved:
        return unverified_content
    return unverified_content[:taken] if found.tag == asn1.SEQUENCE else unverified_content

"""A vendor's module, loaded in this process and reduced to the requests of the wire.

Only the child process imports this: the module is foreign C code, which may crash, hang or print.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import Final

import pkcs11
from pkcs11 import MGF, Attribute, Mechanism, ObjectClass, SlotFlag, TokenFlag

from cps_auth.card.pkcs11 import wire

_LISTS_ASKED_FOR: Final = 2  # the first one may be wrong (ANS Cryptolib, release note 1347)
_OBJECTS_READ_AT_MOST: Final = 64
_CERTIFICATE_BYTES_AT_MOST: Final = 32 << 10
_DATA_BYTES_AT_MOST: Final = 8 << 10
_DIGEST_BYTES: Final = 32  # SHA-256
_NOT_THIS_MECHANISM: Final = (
    pkcs11.MechanismInvalid,
    pkcs11.KeyTypeInconsistent,
    pkcs11.FunctionNotSupported,
)

_CANNOT_LOG_IN_SINCE: Final = {"OpenSC Project": ("OpenSC", (0, 24))}
"""By manufacturer: name, first version that fails at a login, before the card sees the PIN."""
_NO_LOGIN: Final = (pkcs11.GeneralError, pkcs11.DataInvalid)  # what it is then, by the card's SW

_TELL_PUK_ATTEMPTS: Final = frozenset({"ANS"})
"""Manufacturers whose modules set the flags of the PUK truthfully (ANS Cryptolib 5.2.2)."""

_OfOneToken = wire.ReadPublicObjects | wire.VerifyAndSign | wire.ChangePin | wire.Unblock


class NoPrivateKey(Exception):
    """The token has no private key for the certificate."""


class _Pin:
    """Gives C_Login our own buffer: python-pkcs11 calls `encode` on what it is given."""

    def __init__(self, buffer: bytearray) -> None:
        self._buffer = buffer

    def encode(self, _encoding: str) -> bytearray:
        """Return the buffer itself, uncopied."""
        return self._buffer


class Module:
    """The loaded module."""

    def __init__(self, path: str) -> None:
        try:
            path.encode()
        except UnicodeEncodeError:  # bytes that are not UTF-8, which the binding does not take
            path = f"/proc/self/fd/{os.open(path, os.O_RDONLY)}"
        self._library = pkcs11.lib(path)

    def slots(self) -> wire.SlotsSeen:
        """Return every slot."""
        return wire.SlotsSeen(tuple(map(self._slot_seen, self._library.get_slots())))

    def token(self, request: wire.ReadToken) -> wire.TokenSeen:
        """Return what the token says now, its certificates included if they are wanted."""
        token = self._token(request.slot_id)
        return self._token_seen(token, with_certificates=request.with_certificates)

    def public_objects(self, request: wire.ReadPublicObjects) -> wire.ObjectsSeen:
        """Return the data objects that show before any login."""
        session = self._token_of(request).open()
        try:
            seen = map(_object_seen, _objects(session, ObjectClass.DATA))
            small = (one for one in seen if len(one.unverified_content) <= _DATA_BYTES_AT_MOST)
            return wire.ObjectsSeen(tuple(small))
        finally:
            _close(session)

    def verify_and_sign(self, request: wire.VerifyAndSign, codes: list[bytearray]) -> wire.Reply:
        """Log in, sign with the certificate's key, log out; or say why the token sees no PIN."""
        try:
            token = self._token_of(request)
        except pkcs11.PKCS11Error as failure:
            return wire.Failed(type(failure).__name__, before_pin=True)
        if not _may_see_pin(token.flags, request):
            return self._token_seen(token, with_certificates=False)
        pin = None if request.on_pin_pad else _Pin(codes[0])
        try:
            session = token.open(user_pin=pin or pkcs11.PROTECTED_AUTH)
        except pkcs11.PinIncorrect as refusal:
            return wire.Failed(type(refusal).__name__, token=self._after_refusal(request))
        except _NO_LOGIN as failure:
            return self._login_failed(failure)
        try:
            signed = _sign(_private_key(session, request), token, request.digest_info, pin)
        finally:
            _close(session)
        self._token_of(request)  # the signature counts for nothing if it is another one now
        return signed

    def _after_refusal(self, request: wire.VerifyAndSign) -> wire.TokenSeen | None:
        with suppress(pkcs11.PKCS11Error):  # the refusal is what counts
            return self._token_seen(self._token_of(request), with_certificates=False)
        return None

    def _login_failed(self, failure: pkcs11.PKCS11Error) -> wire.Failed:
        library = self._library
        name, since = _CANNOT_LOG_IN_SINCE.get(library.manufacturer_id, ("", (0, 0)))
        known = f"{name} {'.'.join(map(str, library.library_version))}"
        is_known = bool(name) and library.library_version >= since
        return wire.Failed(type(failure).__name__, cannot_log_in=known if is_known else "")

    def change_pin(self, request: wire.ChangePin, codes: list[bytearray]) -> wire.Reply:
        """Replace the PIN; the module compares the old one."""
        with self._token_before_and_after(request) as token:
            session = token.open(rw=True)
            try:
                session.set_pin(_Pin(codes[0]), _Pin(codes[1]))  # type: ignore[arg-type]  # see _Pin
            except _NO_LOGIN as failure:
                return self._login_failed(failure)
            finally:
                _close(session)
        return wire.Done()

    def unblock(self, request: wire.Unblock, codes: list[bytearray]) -> wire.Done:
        """Log in with the PUK as security officer, and set the PIN."""
        with self._token_before_and_after(request) as token:
            session = token.open(rw=True, so_pin=_Pin(codes[0]))
            try:
                session.init_pin(_Pin(codes[1]))  # type: ignore[arg-type]  # see _Pin
            finally:
                _close(session)
        return wire.Done()

    def _slot_seen(self, slot: pkcs11.Slot) -> wire.SlotSeen:
        removable = bool(slot.flags & SlotFlag.REMOVABLE_DEVICE)
        return wire.SlotSeen(
            slot_id=slot.slot_id,
            description=slot.slot_description.rstrip("\0 "),
            removable=removable,
            has_token=bool(slot.flags & SlotFlag.TOKEN_PRESENT),
            token=None if removable else self._soft_token_seen(slot),
        )

    def _soft_token_seen(self, slot: pkcs11.Slot) -> wire.TokenSeen | None:
        try:
            return self._token_seen(slot.get_token())
        except pkcs11.PKCS11Error:
            return None

    def _token_seen(self, token: pkcs11.Token, *, with_certificates: bool = True) -> wire.TokenSeen:
        flags = token.flags
        initialised = bool(flags & TokenFlag.TOKEN_INITIALIZED)
        certificates = None
        if with_certificates:
            certificates = tuple(_certificates(token)) if initialised else ()
        tells_puk = self._library.manufacturer_id in _TELL_PUK_ATTEMPTS
        return wire.TokenSeen(
            serial=_serial(token),
            label=token.label.rstrip("\0 "),
            initialised=initialised,
            login_required=bool(flags & TokenFlag.LOGIN_REQUIRED),
            pin_final_try=bool(flags & TokenFlag.USER_PIN_FINAL_TRY),
            pin_locked=bool(flags & TokenFlag.USER_PIN_LOCKED),
            puk_final_try=bool(flags & TokenFlag.SO_PIN_FINAL_TRY),
            puk_locked=bool(flags & TokenFlag.SO_PIN_LOCKED),
            tells_puk=tells_puk or bool(flags & TokenFlag.SO_PIN_COUNT_LOW),
            has_pin_pad=bool(flags & TokenFlag.PROTECTED_AUTHENTICATION_PATH),
            certificates=certificates,
        )

    def finalize(self) -> None:
        """Let go of the reader (C_Finalize)."""
        self._library.finalize()

    @contextmanager
    def _token_before_and_after(self, request: _OfOneToken) -> Iterator[pkcs11.Token]:
        yield self._token_of(request)
        self._token_of(request)  # what was done counts for nothing if it is another one now

    def _token_of(self, request: _OfOneToken) -> pkcs11.Token:
        token = self._token(request.slot_id)
        if _serial(token) != request.serial:
            raise pkcs11.TokenNotPresent  # another card: not its PIN
        return token

    def _token(self, slot_id: int) -> pkcs11.Token:
        for _ in range(_LISTS_ASKED_FOR):
            for slot in self._library.get_slots():
                if slot.slot_id == slot_id:
                    return slot.get_token()
        raise pkcs11.TokenNotPresent


def _may_see_pin(flags: TokenFlag, request: wire.VerifyAndSign) -> bool:
    is_last = bool(flags & TokenFlag.USER_PIN_FINAL_TRY)
    return bool(
        flags & TokenFlag.LOGIN_REQUIRED
        and not flags & TokenFlag.USER_PIN_LOCKED
        and (request.last_attempt_allowed or not is_last)
    )


def _serial(token: pkcs11.Token) -> str:
    # Some modules pad with zero bytes, where the standard says spaces.
    return token.serial.rstrip(b"\0 ").decode("ascii", "replace")


def _certificates(token: pkcs11.Token) -> Iterator[wire.CertificateSeen]:
    session = token.open()
    try:
        for found in _objects(session, ObjectClass.CERTIFICATE):
            der = _attribute(found, Attribute.VALUE)
            if 0 < len(der) <= _CERTIFICATE_BYTES_AT_MOST:
                yield wire.CertificateSeen(_attribute(found, Attribute.ID), der)
    finally:
        _close(session)


def _object_seen(found: pkcs11.Object) -> wire.ObjectSeen:
    try:
        label = str(found[Attribute.LABEL]).strip("\0 ")
    except (pkcs11.PKCS11Error, ValueError):  # it has none, or one that is not UTF-8
        label = ""
    return wire.ObjectSeen(label, _attribute(found, Attribute.VALUE))


def _private_key(session: pkcs11.Session, request: wire.VerifyAndSign) -> pkcs11.SignMixin:
    """Return the key whose modulus is the certificate's: labels and identifiers can lie.

    Of keys that hide it, the one with the certificate's CKA_ID; the signature tells if that lied.
    """
    of_same_id = None
    for key in _objects(session, ObjectClass.PRIVATE_KEY):
        modulus = _attribute(key, Attribute.MODULUS).lstrip(b"\0")
        if isinstance(key, pkcs11.SignMixin) and modulus == request.modulus:
            return key
        if isinstance(key, pkcs11.SignMixin) and not modulus and request.key_id:
            of_same_id = key if _attribute(key, Attribute.ID) == request.key_id else of_same_id
    if of_same_id is None:
        raise NoPrivateKey
    return of_same_id


def _sign(
    key: pkcs11.SignMixin, token: pkcs11.Token, digest_info: bytes, pin: _Pin | None
) -> wire.Signed:
    """Sign by PKCS #1 v1.5; by PSS where the token has it and not the other for this key.

    A key that wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE, PKCS#11 v2.40 section
    4.9) is shown the one again that C_Login has just found right.
    """
    again = pin if _wants_pin_again(key) else None
    try:
        signature = key.sign(digest_info, mechanism=Mechanism.RSA_PKCS, pin=again)
        return wire.Signed(signature)
    except _NOT_THIS_MECHANISM:
        if Mechanism.RSA_PKCS_PSS not in token.slot.get_mechanisms():
            raise
    signature = key.sign(
        digest_info[-_DIGEST_BYTES:],
        mechanism=Mechanism.RSA_PKCS_PSS,
        mechanism_param=(Mechanism.SHA256, MGF.SHA256, _DIGEST_BYTES),
        pin=again,
    )
    return wire.Signed(signature, is_pss=True)


def _objects(session: pkcs11.Session, of_class: ObjectClass) -> list[pkcs11.Object]:
    # A list, because an unfinished search blocks the session.
    search = session.get_objects({Attribute.CLASS: of_class})
    return list(islice(search, _OBJECTS_READ_AT_MOST))


def _attribute(found: pkcs11.Object, attribute: Attribute) -> bytes:
    try:
        return bytes(found[attribute])
    except pkcs11.PKCS11Error:
        return b""


def _wants_pin_again(key: pkcs11.SignMixin) -> bool:
    try:
        return bool(key[Attribute.ALWAYS_AUTHENTICATE])
    except pkcs11.PKCS11Error:  # most modules do not know it
        return False


def _close(session: pkcs11.Session) -> None:
    # Fails when the card has gone, which the operation itself has told already.
    try:
        session.close()
    except pkcs11.PKCS11Error:
        return

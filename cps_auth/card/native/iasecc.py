"""The IAS-ECC way to sign and to change codes: the CPS3.

The commands are those that ANS's own module (cps3_pkcs11 5.2) and OpenSC's iasecc driver send.
"""

from __future__ import annotations

from typing import ClassVar

from cps_auth.card.native.application import (
    CHANGE_REFERENCE_DATA,
    MANAGE_SECURITY_ENVIRONMENT,
    RESET_RETRY_COUNTER,
    SHA256_DIGEST_INFO,
    CardApplication,
    check_compared,
    digest_of,
    require_signature,
)
from cps_auth.card.native.dialect import IAS_ECC, MF, Dialect
from cps_auth.card.native.pkcs15 import Password, PrivateKey
from cps_auth.card.native.tlv import Tlv, read_all
from cps_auth.card.pin import PIN
from cps_auth.errors import CardMisbehaved
from cps_auth.model import CardSignature, Challenge, SignatureAlgorithm

_INTERNAL_AUTHENTICATE, _GET_DATA = 0x88, 0xCB  # ISO/IEC 7816-4:2005 sections 7.5.2 and 7.4.2
_SET_FOR_INTERNAL_AUTHENTICATION = (0x41, 0xA4)  # ISO/IEC 7816-4:2005 section 7.5.11
_RSA_PKCS1 = 0x02  # algorithm reference: the card pads, the host makes the DigestInfo
_OLD_AND_NEW, _NEW_PIN = 0x00, 0x02  # P1 of CHANGE REFERENCE DATA, of RESET RETRY COUNTER


class IasEcc(CardApplication):
    """The application of a CPS3. It has no PSS: 102 bytes at most may be authenticated."""

    dialect: ClassVar[Dialect] = IAS_ECC

    def attempts_by_object(self, code: Password) -> int | None:
        """Return the counter from the code's security data object; leaves the MF selected."""
        self.files.select(MF)
        response = self.send(
            self.command(_GET_DATA, 0x3F, 0xFF, _header_list(code.reference), le=256)
        )
        return _parse_attempts(response.data, code.reference) if response.status.is_ok else None

    def change_pin(self, pin: Password, old: bytearray, new: bytearray) -> None:
        """Replace the PIN: both in one command."""
        first, last = pin.padded(old), pin.padded(new)
        both = bytearray(len(first) + len(last))
        try:
            both[: len(first)], both[len(first) :] = first, last
            command = self.command(CHANGE_REFERENCE_DATA, _OLD_AND_NEW, pin.reference, bytes(both))
            check_compared(self.send(command).status, "CHANGE REFERENCE DATA", PIN)
        finally:
            for code in (first, last, both):
                code[:] = bytes(len(code))

    def set_pin_after_puk(self, pin: Password, new: bytearray) -> None:
        """Unblock and replace the PIN: one command."""
        padded = pin.padded(new)
        try:
            command = self.command(RESET_RETRY_COUNTER, _NEW_PIN, pin.reference, bytes(padded))
            self.send(command).require_ok("RESET RETRY COUNTER")
        finally:
            padded[:] = bytes(len(padded))

    def sign(self, key: PrivateKey, challenge: Challenge) -> CardSignature:
        """Sign by INTERNAL AUTHENTICATE: RSASSA-PKCS1-v1_5."""
        environment = bytes((0x80, 0x01, _RSA_PKCS1, 0x84, 0x01, key.reference))
        mse = self.command(
            MANAGE_SECURITY_ENVIRONMENT, *_SET_FOR_INTERNAL_AUTHENTICATION, environment
        )
        self.send(mse).require_ok("MANAGE SECURITY ENVIRONMENT")
        digest_info = SHA256_DIGEST_INFO + digest_of(challenge)
        response = self.send(self.command(_INTERNAL_AUTHENTICATE, 0x00, 0x00, digest_info, le=256))
        value = require_signature(response, "INTERNAL AUTHENTICATE")
        return CardSignature(SignatureAlgorithm.RS256, value)


def _header_list(reference: int) -> bytes:
    """Extended header list for all about one code (DOCP, tag BF81nn, A0)."""
    code = bytes((0xBF, 0x81, reference & 0x7F, 0x02, 0xA0, 0x80))
    return bytes((0x4D, len(code) + 2, 0x70, len(code))) + code


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

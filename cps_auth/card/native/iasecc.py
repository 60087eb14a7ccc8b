"""The IAS-ECC way to sign and to change codes: the CPS3.

The commands are those that ANS's own module (cps3_pkcs11 5.2) and OpenSC's iasecc driver send.
"""

from __future__ import annotations

from typing import ClassVar

from cps_auth.card.native.apdu import (
    CHANGE_REFERENCE_DATA,
    MANAGE_SECURITY_ENVIRONMENT,
    OK,
    RESET_RETRY_COUNTER,
    Dialect,
    select_by_aid,
)
from cps_auth.card.native.driver import (
    SHA256_DIGEST_INFO,
    CardDriver,
    check_compared,
    digest_of,
    padded_pin,
)
from cps_auth.card.native.pkcs15 import MF, Password, PrivateKey
from cps_auth.card.pin import PIN
from cps_auth.der import descend
from cps_auth.model import CardSignature, Challenge, SignatureAlgorithm

_INTERNAL_AUTHENTICATE, _GET_DATA = 0x88, 0xCB  # ISO/IEC 7816-4:2005 sections 7.5.2 and 7.4.2
_SET_FOR_INTERNAL_AUTHENTICATION = (0x41, 0xA4)  # ISO/IEC 7816-4:2005 section 7.5.11
_RSA_PKCS1 = 0x02  # algorithm reference: the card pads, the host makes the DigestInfo
_OLD_AND_NEW, _NEW_PIN = 0x00, 0x02  # P1 of CHANGE REFERENCE DATA, of RESET RETRY COUNTER


class IasEcc(CardDriver):
    """The driver of a CPS3. It has no PSS: 102 bytes at most may be authenticated."""

    dialect: ClassVar[Dialect] = Dialect(
        cla=0x00,
        path_p1=0x09,  # "from the current DF", and yet the cards want 3F00 in front
        paths_start_at_mf=True,
        template_p2=0x04,
        template_tag=0x62,
        application=select_by_aid(0x00, 0x04, "80250000 01FF0100"),  # the module's way out of 6E00
        is_selected_first=False,
    )

    def attempts_left(self, password: Password, directory: bytes) -> int | None:
        """Return the counter of the PIN's security data object, as ANS's module asks for it.

        Only a card that has no such object is asked by an empty VERIFY.
        """
        self.select(MF)
        ask = self.command(_GET_DATA, 0x3F, 0xFF, _header_list(password.reference), le=256)
        response = self.send(ask)
        if response.status == OK:
            left = _parse_attempts(response.data, password.reference)
            if left is not None:
                return left
        return self.attempts_by_verify(password, directory)

    def change_pin(self, password: Password, old: bytearray, new: bytearray) -> None:
        """Replace the PIN: both in one command."""
        first, last = padded_pin(password, old), padded_pin(password, new)
        both = bytearray(len(first) + len(last))
        try:
            both[: len(first)], both[len(first) :] = first, last
            command = self.command(
                CHANGE_REFERENCE_DATA, _OLD_AND_NEW, password.reference, bytes(both)
            )
            check_compared(self.send(command).status, "CHANGE REFERENCE DATA", PIN)
        finally:
            for copy in (first, last, both):
                copy[:] = bytes(len(copy))

    def set_pin_after_puk(self, password: Password, new: bytearray) -> None:
        """Unblock and replace the PIN: one command."""
        padded = padded_pin(password, new)
        try:
            command = self.command(RESET_RETRY_COUNTER, _NEW_PIN, password.reference, bytes(padded))
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
        value = response.require_data("INTERNAL AUTHENTICATE")
        return CardSignature(SignatureAlgorithm.RS256, value)


def _header_list(reference: int) -> bytes:
    """Extended header list for all about one code (DOCP, tag BF81nn, A0)."""
    code = bytes((0xBF, 0x81, reference & 0x7F, 0x02, 0xA0, 0x80))
    return bytes((0x4D, len(code) + 2, 0x70, len(code))) + code


def _parse_attempts(unverified: bytes, reference: int) -> int | None:
    """Return the tries left (9B), 0 when the uses left (9D) are none; None when not said."""
    parameters = (0x70, 0xBF8100 | reference & 0x7F, 0xA0)
    try:
        tries = descend(unverified, *parameters, 0x9B)
        uses = descend(unverified, *parameters, 0x9D)
    except ValueError:
        return None
    if tries is None or tries.end - tries.content != 1 or unverified[tries.content] > 15:
        return None
    is_used_up = uses is not None and not any(unverified[uses.content : uses.end])
    return 0 if is_used_up else unverified[tries.content]

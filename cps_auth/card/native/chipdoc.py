"""The ChipDoc way to sign and to change codes: the CPS4.

The commands are those that ANS's own module (cps3_pkcs11 5.2) sends.
"""

from __future__ import annotations

from typing import ClassVar

from cps_auth.card.native.apdu import (
    CHANGE_REFERENCE_DATA,
    MANAGE_SECURITY_ENVIRONMENT,
    NOTHING_BACK,
    OK,
    PERFORM_SECURITY_OPERATION,
    RESET_RETRY_COUNTER,
    Dialect,
    exchange_chained,
    select_by_aid,
)
from cps_auth.card.native.driver import (
    SHA256_DIGEST_INFO,
    CardDriver,
    digest_of,
    padded_pin,
)
from cps_auth.card.native.pkcs15 import Password, PrivateKey
from cps_auth.card.pin import PIN
from cps_auth.model import CardSignature, Challenge, SignatureAlgorithm

_FOR_SIGNATURE, _FOR_DECIPHERMENT = (0x81, 0xB6), (0x41, 0xB8)  # P1, P2 of MSE
_COMPUTE_SIGNATURE, _DECIPHER = (0x9E, 0x9A), (0x80, 0x86)  # P1, P2 of PSO
_SHA256_PSS = 0x2C  # algorithm reference: MGF1 with SHA-256, a salt of 32 bytes
_LOCAL = 0x80  # in key and PIN references: of the current application
_NEW_ALONE, _COUNTER_ALONE = 0x01, 0x03  # P1 of CHANGE REFERENCE DATA, of RESET RETRY COUNTER


class ChipDoc(CardDriver):
    """The driver of a CPS4."""

    dialect: ClassVar[Dialect] = Dialect(
        cla=0x01,  # logical channel 1, for everything, never opened
        path_p1=0x08,
        paths_start_at_mf=False,
        template_p2=0x00,
        template_tag=0x6F,
        application=select_by_aid(0x01, NOTHING_BACK, "80250000 01FF0100"),
        is_selected_first=True,
        recovery=(
            select_by_aid(0x01, NOTHING_BACK, "A0000001510000"),  # GlobalPlatform card manager
            select_by_aid(0x00, NOTHING_BACK, "80250000 01FF0002"),  # CPS2ter application
        ),
    )

    counts_in_directory: ClassVar[bool] = True

    def attempts_left(self, password: Password, directory: bytes) -> int | None:
        """Return the counter by an empty VERIFY, as ANS's module does: the CPS4 has no GET DATA."""
        return self.attempts_by_verify(password, directory)

    def change_pin(self, password: Password, old: bytearray, new: bytearray) -> None:
        """Verify the old PIN, then set the new one."""
        self.verify(password, old, PIN)
        self._set_pin(password, new)

    def set_pin_after_puk(self, password: Password, new: bytearray) -> None:
        """Give the PIN its attempts back, then set the new one."""
        reset = self.command(RESET_RETRY_COUNTER, _COUNTER_ALONE, password.reference | _LOCAL)
        self.send(reset).require_ok("RESET RETRY COUNTER")
        self._set_pin(password, new)

    def sign(self, key: PrivateKey, challenge: Challenge) -> CardSignature:
        """Sign by raw RSA, RSASSA-PKCS1-v1_5; by PSS where the card refuses that for this key.

        As ANS's own module does unless it is asked for PSS, which there are cards that refuse: a
        refused operation may make a card forget the PIN, and no PIN is sent twice.
        """
        return self._sign_raw(key, challenge) or self._sign_pss(key, challenge)

    def _sign_raw(self, key: PrivateKey, challenge: Challenge) -> CardSignature | None:
        environment = bytes((0x83, 0x01, key.reference))
        mse = self.command(MANAGE_SECURITY_ENVIRONMENT, *_FOR_DECIPHERMENT, environment)
        if self.send(mse).status != OK:
            return None
        block = _padded(SHA256_DIGEST_INFO + digest_of(challenge), key.modulus_bytes)
        pso = self.command(PERFORM_SECURITY_OPERATION, *_DECIPHER, block, le=256)
        response = exchange_chained(self.transport, pso)
        if response.status != OK:
            return None
        value = response.require_data("PSO DECIPHER")
        return CardSignature(SignatureAlgorithm.RS256, value)

    def _sign_pss(self, key: PrivateKey, challenge: Challenge) -> CardSignature:
        environment = bytes((0x91, 0x02, _SHA256_PSS, key.reference | _LOCAL))
        mse = self.command(MANAGE_SECURITY_ENVIRONMENT, *_FOR_SIGNATURE, environment)
        self.send(mse).require_ok("MANAGE SECURITY ENVIRONMENT")
        digest = digest_of(challenge)
        pso = self.command(PERFORM_SECURITY_OPERATION, *_COMPUTE_SIGNATURE, digest, le=256)
        value = self.send(pso).require_data("PSO COMPUTE DIGITAL SIGNATURE")
        return CardSignature(SignatureAlgorithm.PS256, value)

    def _set_pin(self, password: Password, new: bytearray) -> None:
        padded = padded_pin(password, new)
        try:
            command = self.command(
                CHANGE_REFERENCE_DATA, _NEW_ALONE, password.reference, bytes(padded)
            )
            self.send(command).require_ok("CHANGE REFERENCE DATA")
        finally:
            padded[:] = bytes(len(padded))


def _padded(digest_info: bytes, size: int) -> bytes:
    """Return the block of EMSA-PKCS1-v1_5 (RFC 8017 section 9.2)."""
    return b"\x00\x01" + b"\xff" * (size - len(digest_info) - 3) + b"\x00" + digest_info

"""The ChipDoc way to sign and to change codes: the CPS4.

The commands are those that ANS's own module (cps3_pkcs11 5.2) sends.
"""

from __future__ import annotations

from typing import ClassVar

from cps_auth.card.native.apdu import exchange_chained
from cps_auth.card.native.application import (
    CHANGE_REFERENCE_DATA,
    MANAGE_SECURITY_ENVIRONMENT,
    PERFORM_SECURITY_OPERATION,
    RESET_RETRY_COUNTER,
    SHA256_DIGEST_INFO,
    CardApplication,
    digest_of,
    require_signature,
)
from cps_auth.card.native.dialect import CHIPDOC, Dialect
from cps_auth.card.native.pkcs15 import Password, PrivateKey
from cps_auth.card.pin import PIN
from cps_auth.model import CardSignature, Challenge, SignatureAlgorithm

_FOR_SIGNATURE, _FOR_DECIPHERMENT = (0x81, 0xB6), (0x41, 0xB8)  # P1, P2 of MSE
_COMPUTE_SIGNATURE, _DECIPHER = (0x9E, 0x9A), (0x80, 0x86)  # P1, P2 of PSO
_SHA256_PSS = 0x2C  # algorithm reference: MGF1 with SHA-256, a salt of 32 bytes
_LOCAL = 0x80  # in key and PIN references: of the current application
_NEW_ALONE, _COUNTER_ALONE = 0x01, 0x03  # P1 of CHANGE REFERENCE DATA, of RESET RETRY COUNTER


class ChipDoc(CardApplication):
    """The application of a CPS4."""

    dialect: ClassVar[Dialect] = CHIPDOC

    def change_pin(self, pin: Password, old: bytearray, new: bytearray) -> None:
        """Verify the old PIN, then set the new one."""
        self.verify(pin, old, PIN)
        self._set_pin(pin, new)

    def set_pin_after_puk(self, pin: Password, new: bytearray) -> None:
        """Give the PIN its attempts back, then set the new one."""
        reset = self.command(RESET_RETRY_COUNTER, _COUNTER_ALONE, pin.reference | _LOCAL)
        self.send(reset).require_ok("RESET RETRY COUNTER")
        self._set_pin(pin, new)

    def sign(self, key: PrivateKey, challenge: Challenge) -> CardSignature:
        """Sign by PSS where the card lets this key, else by raw RSA: RSASSA-PKCS1-v1_5.

        A card says that it has no PSS for the key by refusing the algorithm or the operation,
        with whatever status word; neither costs a PIN attempt.
        """
        signature = self._sign_pss(key, challenge)
        if signature is None:
            signature = self._sign_raw(key, challenge)
        return signature

    def _sign_pss(self, key: PrivateKey, challenge: Challenge) -> CardSignature | None:
        environment = bytes((0x91, 0x02, _SHA256_PSS, key.reference | _LOCAL))
        mse = self.command(MANAGE_SECURITY_ENVIRONMENT, *_FOR_SIGNATURE, environment)
        if not self.send(mse).status.is_ok:
            return None
        pso = self.command(
            PERFORM_SECURITY_OPERATION, *_COMPUTE_SIGNATURE, digest_of(challenge), le=256
        )
        response = self.send(pso)
        if not response.status.is_ok:
            return None
        value = require_signature(response, "PSO COMPUTE DIGITAL SIGNATURE")
        return CardSignature(SignatureAlgorithm.PS256, value)

    def _sign_raw(self, key: PrivateKey, challenge: Challenge) -> CardSignature:
        environment = bytes((0x83, 0x01, key.reference))
        mse = self.command(MANAGE_SECURITY_ENVIRONMENT, *_FOR_DECIPHERMENT, environment)
        self.send(mse).require_ok("MANAGE SECURITY ENVIRONMENT")
        block = _padded(SHA256_DIGEST_INFO + digest_of(challenge), key.modulus_bytes)
        pso = self.command(PERFORM_SECURITY_OPERATION, *_DECIPHER, block, le=256)
        response = exchange_chained(self.transport, pso)
        value = require_signature(response, "PSO DECIPHER")
        return CardSignature(SignatureAlgorithm.RS256, value)

    def _set_pin(self, pin: Password, new: bytearray) -> None:
        padded = pin.padded(new)
        try:
            command = self.command(CHANGE_REFERENCE_DATA, _NEW_ALONE, pin.reference, bytes(padded))
            self.send(command).require_ok("CHANGE REFERENCE DATA")
        finally:
            padded[:] = bytes(len(padded))


def _padded(digest_info: bytes, size: int) -> bytes:
    """Return the block of EMSA-PKCS1-v1_5 (RFC 8017 section 9.2)."""
    return b"\x00\x01" + b"\xff" * (size - len(digest_info) - 3) + b"\x00" + digest_info

"""The technical key pair of a contactless CPS3, and its certificate.

It is derived from the card's authentication key, so that a fake IGC-Santé needs no file for
it and a card keeps its key for as long as it exists: middleware caches certificates by serial.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterator

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPrivateNumbers,
    RSAPublicNumbers,
    rsa_crt_dmp1,
    rsa_crt_dmq1,
    rsa_crt_iqmp,
)
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from hardware_mocks.personas import CardCredentials, Persona

_PRIME_BITS = 1024
_EXPONENT = 65537
_SIEVE = math.prod(n for n in range(3, 2000) if all(n % d for d in range(2, math.isqrt(n) + 1)))


def technical_key(credentials: CardCredentials) -> RSAPrivateKey:
    """Return the key of the card that has these credentials, always the same."""
    return _derive(credentials.authentication_key.private_numbers().d)


@functools.cache
def _derive(secret: int) -> RSAPrivateKey:
    seed = hashlib.sha256(b"technical key" + secret.to_bytes(512)).digest()
    p, q = _prime(seed + b"p"), _prime(seed + b"q")
    d = pow(_EXPONENT, -1, math.lcm(p - 1, q - 1))
    public = RSAPublicNumbers(_EXPONENT, p * q)
    crt = rsa_crt_dmp1(d, p), rsa_crt_dmq1(d, q), rsa_crt_iqmp(p, q)
    return RSAPrivateNumbers(p, q, d, *crt, public).private_key()


def _prime(seed: bytes) -> int:
    """Return the first prime from a start that `seed` chooses; its two highest bits are set."""
    return next(n for n in _candidates(seed) if pow(2, n - 1, n) == 1 and n % _EXPONENT != 1)


def _candidates(seed: bytes) -> Iterator[int]:
    drawn = int.from_bytes(hashlib.shake_256(seed).digest(_PRIME_BITS // 8))
    number = drawn | 3 << (_PRIME_BITS - 2) | 1
    while True:
        if math.gcd(number, _SIEVE) == 1:
            yield number
        number += 2


def technical_certificate(persona: Persona, credentials: CardCredentials) -> bytes:
    """Return a self-signed certificate for the key, dated as the card's. Its names are inferred."""
    secret = credentials.authentication_key.private_numbers().d
    return _certificate(secret, persona.card_number, credentials.signature_certificate_der)


@functools.cache
def _certificate(secret: int, card_number: str, dated_as_der: bytes) -> bytes:
    key = _derive(secret)
    card = x509.load_der_x509_certificate(dated_as_der)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, "FR"),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "FICTIVE ASIP-SANTE"),
            x509.NameAttribute(NameOID.COMMON_NAME, card_number),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(card.serial_number)
        .not_valid_before(card.not_valid_before_utc)
        .not_valid_after(card.not_valid_after_utc)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)

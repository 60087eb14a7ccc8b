"""The PKCS#15 directory files of a CPS (ISO/IEC 7816-15:2016; facts, section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hardware_mocks.card.ber import bits, integer, octets, sequence, tlv, utf8
from hardware_mocks.card.data_objects import DataObject

USER_PIN_ID = b"\x01"
PUK_ID = b"\x02"
MODULUS_BITS = 2048

# Bit numbers of KeyUsageFlags (ISO/IEC 7816-15 section 8.9).
USAGE_DECRYPT = 1
USAGE_SIGN = 2
USAGE_NON_REPUDIATION = 9
_ACCESS_FLAGS = bits(0, 2, 3)  # sensitive, alwaysSensitive, neverExtractable: 0x0D
_READ, _UPDATE, _EXECUTE = bits(0), bits(1), bits(2)  # AccessMode
_ANYBODY = tlv(0x05)  # SecurityCondition always
_NO_FLAGS = tlv(0x03, b"\x01\x00")  # a real CPS3 writes one superfluous octet here
PRIVATE, MODIFIABLE = 0, 1  # bit numbers of CommonObjectFlags


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One private key of the PrKDF, and its certificate in the CDF."""

    label: str
    identifier: bytes
    reference: int
    flags: tuple[int, ...]  # bit numbers of CommonObjectFlags
    usage: tuple[int, ...]  # bit numbers of KeyUsageFlags
    certificate_label: str
    certificate_fid: int


@dataclass(frozen=True, slots=True)
class PinEntry:
    """One PIN or PUK of the AODF."""

    label: str
    identifier: bytes
    reference: int
    size: int  # digits; minimum, stored and maximum length
    flags: bytes  # PinFlags, encoded
    changed_with: bytes  # identifier of the authentication object that allows a change


def object_directory(aodf: int, prkdf: int, cdf: int, dodf: int) -> bytes:
    """Return EF.ODF: where the other directory files are."""
    files = ((0xA8, aodf), (0xA0, prkdf), (0xA4, cdf), (0xA7, dodf))
    return b"".join(tlv(tag, _path(fid)) for tag, fid in files)


def token_info(label: str) -> bytes:
    """Return EF.TokenInfo as on a real CPS3; see section 5 of the facts."""
    return sequence(
        integer(0),
        utf8("ASIP SANTE"),
        tlv(0x80, label.encode()),
        bits(0, 1),  # readOnly, loginRequired
        tlv(0xA2, *(_algorithm(*row) for row in _ALGORITHMS)),
        tlv(0xA5, tlv(0x18, b"20100316110000Z")),  # lastUpdate; OpenSC reads no other form
    )


_ALGORITHMS = (
    # reference, PKCS#11 mechanism, operation bit, OID, algorithm reference in the card
    (1, 0x220, 6, "2b0e03021a", 0x10),  # SHA-1, hash
    (2, 0x250, 6, "608648016503040201", 0x40),  # SHA-256, hash
    (3, 0x06, 1, "2a864886f70d010105", 0x12),  # SHA1_RSA_PKCS, sign
    (4, 0x40, 1, "2a864886f70d01010b", 0x42),  # SHA256_RSA_PKCS, sign
    (5, 0x01, 1, "2a864886f70d010101", 0x02),  # RSA_PKCS, sign
    (6, 0x01, 5, "2a864886f70d010101", 0x1A),  # RSA_PKCS, decipher
)


def _algorithm(reference: int, mechanism: int, operation: int, oid_hex: str, card: int) -> bytes:
    oid = tlv(0x06, bytes.fromhex(oid_hex))
    null = tlv(0x05)
    return sequence(
        integer(reference), integer(mechanism), null, bits(operation), oid, integer(card)
    )


def authentication_objects(pins: Iterable[PinEntry]) -> bytes:
    """Return the AODF."""
    return b"".join(_pin(pin) for pin in pins)


def _pin(pin: PinEntry) -> bytes:
    # Inferred, but for the size: with these three rules the entry is as long as a real one's.
    rules = sequence(
        sequence(_READ, _ANYBODY),
        sequence(_UPDATE, octets(pin.changed_with)),
        sequence(_EXECUTE, _ANYBODY),
    )
    common = sequence(utf8(pin.label), _NO_FLAGS, octets(pin.changed_with), rules)
    size = integer(pin.size)
    attributes = sequence(
        pin.flags,
        tlv(0x0A, b"\x01"),  # ascii-numeric
        *(size, size, size),
        tlv(0x80, bytes([pin.reference])),
        octets(b"\xff"),  # padding character, not used: nothing says needs-padding
    )
    return sequence(common, sequence(octets(pin.identifier)), tlv(0xA1, attributes))


def private_keys(keys: Iterable[KeyEntry]) -> bytes:
    """Return the PrKDF."""
    return b"".join(_private_key(key) for key in keys)


def _private_key(key: KeyEntry) -> bytes:
    owner = octets(USER_PIN_ID) if PRIVATE in key.flags else b""
    flags = bits(*key.flags) if key.flags else _NO_FLAGS
    return sequence(
        sequence(utf8(key.label), flags, owner),
        sequence(octets(key.identifier), bits(*key.usage), _ACCESS_FLAGS, integer(key.reference)),
        tlv(0xA1, sequence(sequence(octets(b"")), integer(MODULUS_BITS))),
    )


def certificates(keys: Iterable[KeyEntry]) -> bytes:
    """Return the CDF."""
    return b"".join(
        sequence(
            sequence(utf8(key.certificate_label), _NO_FLAGS),
            sequence(octets(key.identifier)),
            tlv(0xA1, sequence(_path(key.certificate_fid))),
        )
        for key in keys
    )


def data_directory(objects: Iterable[DataObject]) -> bytes:
    """Return the DODF."""
    return b"".join(_data_object(entry) for entry in objects)


def _data_object(entry: DataObject) -> bytes:
    numbers = [PRIVATE] * entry.needs_pin + [MODIFIABLE] * entry.modifiable
    flags = bits(*numbers) if numbers else _NO_FLAGS
    owner = octets(USER_PIN_ID) if entry.needs_pin else b""
    return sequence(
        sequence(utf8(entry.label), flags, owner),
        sequence(utf8("CPS")),
        tlv(0xA1, _path(entry.fid)),
    )


def _path(fid: int) -> bytes:
    return sequence(octets(fid.to_bytes(2)))

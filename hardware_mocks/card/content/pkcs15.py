"""The PKCS#15 directory files of a CPS (ISO/IEC 7816-15:2016; facts, section 5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hardware_mocks.card.ber import bits, integer, octets, sequence, tlv, utf8
from hardware_mocks.card.content.data_objects import DataObject

USER_PIN_ID = b"\x01"
PUK_ID = b"\x02"
MODULUS_BITS = 2048

# Bit numbers of KeyUsageFlags (ISO/IEC 7816-15 section 8.9).
USAGE_DECRYPT = 1
USAGE_SIGN = 2
USAGE_SIGN_RECOVER = 3
USAGE_NON_REPUDIATION = 9
_ACCESS_FLAGS = bits(0, 2, 3)  # sensitive, alwaysSensitive, neverExtractable: 0x0D
_READ, _UPDATE, _EXECUTE = bits(0), bits(1), bits(2)  # AccessMode
_NO_FLAGS = bits()  # a real CPS3 writes another count of unused bits than 0
PRIVATE, MODIFIABLE = 0, 1  # bit numbers of CommonObjectFlags
READ_ONLY, LOGIN_REQUIRED = 0, 1  # bit numbers of TokenFlags
LAST_UPDATE_EXPLICIT = 0xA5  # tag of lastUpdate; OpenSC reads only this form
LAST_UPDATE_IMPLICIT = 0x85  # the ANS module reads only this one, and names its cache after it


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


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One entry of supportedAlgorithms (ISO/IEC 7816-15 section 8.10)."""

    reference: int
    mechanism: int  # PKCS#11
    operation: int  # bit number: 1 sign, 5 decipher, 6 hash
    oid_hex: str
    card_reference: int  # in MANAGE SECURITY ENVIRONMENT

    def encoded(self) -> bytes:
        """Return the entry."""
        oid, no_parameters = tlv(0x06, bytes.fromhex(self.oid_hex)), tlv(0x05)
        numbers = integer(self.reference), integer(self.mechanism)
        return sequence(
            *numbers, no_parameters, bits(self.operation), oid, integer(self.card_reference)
        )


def object_directory(
    aodf: int | None = None,
    prkdf: int | None = None,
    cdf: int | None = None,
    dodf: int | None = None,
) -> bytes:
    """Return EF.ODF: where the other directory files are."""
    files = ((0xA8, aodf), (0xA0, prkdf), (0xA4, cdf), (0xA7, dodf))
    return b"".join(tlv(tag, _path(fid)) for tag, fid in files if fid is not None)


def token_info(
    label: str,
    last_update: str,
    last_update_form: int,
    *,
    flags: tuple[int, ...] = (READ_ONLY, LOGIN_REQUIRED),
    algorithms: Iterable[Algorithm] = (),
) -> bytes:
    """Return EF.TokenInfo; see section 5 of the facts.

    Args:
        label: token label.
        last_update: GeneralizedTime.
        last_update_form: LAST_UPDATE_EXPLICIT or LAST_UPDATE_IMPLICIT.
        flags: bit numbers of TokenFlags.
        algorithms: supportedAlgorithms; a card that has none lists none.
    """
    supported = b"".join(algorithm.encoded() for algorithm in algorithms)
    time = last_update.encode()
    explicit = last_update_form == LAST_UPDATE_EXPLICIT
    return sequence(
        integer(0),
        utf8("ASIP SANTE"),
        tlv(0x80, label.encode()),
        bits(*flags),
        tlv(0xA2, supported) if supported else b"",
        tlv(last_update_form, tlv(0x18, time) if explicit else time),
    )


def authentication_objects(pins: Iterable[PinEntry]) -> bytes:
    """Return the AODF."""
    return b"".join(_pin(pin) for pin in pins)


def _pin(pin: PinEntry) -> bytes:
    # Inferred, but for the sizes: with these three rules the entry is as long as a real one's.
    rules = sequence(
        sequence(_READ, octets(pin.identifier)),
        sequence(_UPDATE, octets(pin.changed_with)),
        sequence(_EXECUTE, octets(pin.identifier)),
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

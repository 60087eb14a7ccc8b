"""Reads the PKCS#15 directory files of a card (v1.1, ASN.1 module PKCS-15): pure, from their bytes.

Tolerant where real cards differ (relative paths of any length, flags of zero bits with an odd
unused-bits octet, key references written as negative integers, padding after the entries).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from cps_auth.card.native.pkcs15 import (
    Application,
    Certificate,
    DataEntry,
    Directory,
    FileReference,
    ObjectFlag,
    Password,
    PrivateKey,
)
from cps_auth.card.native.tlv import Tlv, read_all
from cps_auth.der import BIT_STRING, INTEGER, OCTET_STRING, SEQUENCE, UTF8_STRING
from cps_auth.errors import CardMisbehaved

_MAX_ENTRIES = 24  # per directory file; a CPS has a handful, and each may cost a file to read
_MAX_DATA_ENTRIES = 64  # a CPS4 has up to 46: 16 activities, all again for the CPS2ter, and others

_T = TypeVar("_T")


def read_dir(unverified: bytes) -> tuple[Application, ...]:
    """Read EF.DIR (section 5.4.1): application templates, tag 61.

    Raises:
        CardMisbehaved: not BER-TLV.
    """
    templates = (entry.children() for entry in _entries(unverified, 0x61))
    return tuple(
        Application(_value(template, 0x4F), _text(template, 0x50), _value(template, 0x51))
        for template in templates
    )


def read_odf(unverified: bytes) -> tuple[tuple[Directory, FileReference], ...]:
    """Read the ODF: which directory files there are.

    Kinds that do not matter, and references that cannot be read, are left out.

    Raises:
        CardMisbehaved: not BER-TLV.
    """
    entries = (entry for entry in _bounded(read_all(unverified)) if entry.tag in set(Directory))
    return _readable(entries, _directory)


def read_token_label(unverified: bytes) -> str:
    """Return the label of TokenInfo, empty when it has none.

    Raises:
        CardMisbehaved: not BER-TLV.
    """
    token_info = _find(read_all(unverified), SEQUENCE)
    return _text(token_info.children(), 0x80) if token_info else ""


def read_aodf(unverified: bytes) -> tuple[Password, ...]:
    """Read the AODF; entries that are not passwords, or cannot be read, are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, SEQUENCE), _password)


def read_prkdf(unverified: bytes) -> tuple[PrivateKey, ...]:
    """Read the PrKDF; entries that cannot be read are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, SEQUENCE), _private_key)


def read_cdf(unverified: bytes) -> tuple[Certificate, ...]:
    """Read the CDF; entries that cannot be read are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, SEQUENCE), _certificate)


def read_dodf(unverified: bytes) -> tuple[DataEntry, ...]:
    """Read the DODF; entries that cannot be read are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, SEQUENCE, _MAX_DATA_ENTRIES), _data_entry)


def _bounded(objects: tuple[Tlv, ...], most: int = _MAX_ENTRIES) -> tuple[Tlv, ...]:
    if len(objects) > most:
        raise CardMisbehaved("PKCS#15 directory with too many entries")
    return objects


def _entries(unverified: bytes, tag: int, most: int = _MAX_ENTRIES) -> tuple[Tlv, ...]:
    return tuple(entry for entry in _bounded(read_all(unverified), most) if entry.tag == tag)


def _readable(entries: Iterable[Tlv], parse: Callable[[Tlv], _T]) -> tuple[_T, ...]:
    found = []
    for entry in entries:
        try:
            found.append(parse(entry))
        except CardMisbehaved:
            continue  # an object of a kind that we do not use
    return tuple(found)


def _password(entry: Tlv) -> Password:
    _, common, attributes = _parts(entry)
    values = attributes.children()
    numbers = [_integer(value) for value in values if value.tag == INTEGER]
    reference = _find(values, 0x80)
    padding = _value(values, OCTET_STRING)
    return Password(
        auth_id=_required(common.children(), OCTET_STRING).value,
        flags=_bits(_required(values, BIT_STRING)),
        reference=_integer(reference) & 0xFF if reference else 0,
        stored_length=_stored_length(numbers),
        padding=padding[0] if padding else 0xFF,
    )


def _stored_length(numbers: list[int]) -> int:
    # PinAttributes: minLength, storedLength, maxLength OPTIONAL
    if len(numbers) < 2 or not 0 < numbers[1] <= 64:
        raise CardMisbehaved("PKCS#15 password without a stored length")
    return numbers[1]


def _private_key(entry: Tlv) -> PrivateKey:
    common, key, attributes = _parts(entry)
    values = key.children()
    auth_id = _find(common.children(), OCTET_STRING)
    about = attributes.children()
    path = _find(about, SEQUENCE)
    return PrivateKey(
        label=_text(common.children(), UTF8_STRING),
        key_id=_required(values, OCTET_STRING).value,
        auth_id=auth_id.value if auth_id else None,
        usage=_bits(_required(values, BIT_STRING)),
        reference=_integer(_required(values, INTEGER)) & 0xFF,
        path=_value(path.children(), OCTET_STRING) if path else b"",
        modulus_bytes=_modulus_bytes(_find(about, INTEGER)),
    )


def _modulus_bytes(modulus_bits: Tlv | None) -> int:
    size = 2048 if modulus_bits is None else _integer(modulus_bits)
    if not 1024 <= size <= 4096 or size % 8:
        raise CardMisbehaved("PKCS#15 key of an unexpected size")
    return size // 8


def _certificate(entry: Tlv) -> Certificate:
    common, certificate, attributes = _parts(entry)
    return Certificate(
        label=_text(common.children(), UTF8_STRING),
        key_id=_required(certificate.children(), OCTET_STRING).value,
        file=_file_reference(_required(attributes.children(), SEQUENCE)),
    )


def _directory(entry: Tlv) -> tuple[Directory, FileReference]:
    path = _required(entry.children(), SEQUENCE)
    return Directory(entry.tag), _file_reference(path)


def _data_entry(entry: Tlv) -> DataEntry:
    common, _, path = _parts(entry)
    about = common.children()
    flags = _find(about, BIT_STRING)
    is_private = flags is not None and ObjectFlag.PRIVATE in _bits(flags)
    return DataEntry(
        label=_text(about, UTF8_STRING),
        is_public=not is_private and _find(about, OCTET_STRING) is None,
        file=_file_reference(path),
    )


def _parts(entry: Tlv) -> tuple[Tlv, Tlv, Tlv]:
    """Split an object: common attributes, class attributes, type attributes."""
    parts = entry.children()
    sequences = [part for part in parts if part.tag == SEQUENCE]
    wrapper = _find(parts, 0xA1)
    if len(sequences) != 2 or wrapper is None:
        raise CardMisbehaved("PKCS#15 object of an unexpected shape")
    return sequences[0], sequences[1], _required(wrapper.children(), SEQUENCE)


def _file_reference(path: Tlv) -> FileReference:
    values = path.children()
    index, length = _find(values, INTEGER), _find(values, 0x80)
    reference = FileReference(
        _required(values, OCTET_STRING).value,
        _integer(index) if index else 0,
        _integer(length) if length else None,
    )
    if reference.offset < 0 or (reference.length is not None and reference.length < 0):
        raise CardMisbehaved("PKCS#15 path with a negative position")
    return reference


# --- The few ASN.1 values that these files are made of (ITU-T X.690) ---------------


def _find(objects: tuple[Tlv, ...], tag: int) -> Tlv | None:
    return next((found for found in objects if found.tag == tag), None)


def _required(objects: tuple[Tlv, ...], tag: int) -> Tlv:
    """Return the first of `objects` that has this tag.

    Raises:
        CardMisbehaved: there is none.
    """
    found = _find(objects, tag)
    if found is None:
        raise CardMisbehaved(f"PKCS#15 object without its element {tag:02X}")
    return found


def _value(objects: tuple[Tlv, ...], tag: int) -> bytes:
    """Return the bytes of the first of `objects` that has this tag, empty when there is none."""
    found = _find(objects, tag)
    return found.value if found else b""


def _text(objects: tuple[Tlv, ...], tag: int) -> str:
    """Return the text of the first of `objects` that has this tag, empty when there is none."""
    return _value(objects, tag).decode("utf-8", "replace").strip("\x00 ")


def _integer(tlv: Tlv) -> int:
    """Return an INTEGER of at most four octets.

    Raises:
        CardMisbehaved: it is empty, or longer.
    """
    if not 1 <= len(tlv.value) <= 4:
        raise CardMisbehaved("PKCS#15 integer of an unexpected size")
    return int.from_bytes(tlv.value, "big", signed=True)


def _bits(tlv: Tlv) -> frozenset[int]:
    """Return the positions that are set in a BIT STRING; bit 0 is the first (X.690 section 8.6).

    The octet that counts unused bits is not looked at: on real cards it is not reliable.
    """
    return frozenset(
        8 * index + bit
        for index, octet in enumerate(tlv.value[1:5])
        for bit in range(8)
        if octet & 0x80 >> bit
    )

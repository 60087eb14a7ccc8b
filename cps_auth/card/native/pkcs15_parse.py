"""Reads the PKCS#15 directory files of a card (v1.1, ASN.1 module PKCS-15): pure, from their bytes.

Tolerant where real cards differ (relative paths of any length, flags of zero bits with an odd
unused-bits octet, key references written as negative integers, padding after the entries).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from cps_auth.card.native import tlv
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
from cps_auth.card.native.tlv import Tlv, find, read_all
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
        Application(tlv.value(template, 0x4F), tlv.text(template, 0x50), tlv.value(template, 0x51))
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
    token_info = find(read_all(unverified), tlv.SEQUENCE)
    return tlv.text(token_info.children(), 0x80) if token_info else ""


def read_aodf(unverified: bytes) -> tuple[Password, ...]:
    """Read the AODF; entries that are not passwords, or cannot be read, are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, tlv.SEQUENCE), _password)


def read_prkdf(unverified: bytes) -> tuple[PrivateKey, ...]:
    """Read the PrKDF; entries that cannot be read are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, tlv.SEQUENCE), _private_key)


def read_cdf(unverified: bytes) -> tuple[Certificate, ...]:
    """Read the CDF; entries that cannot be read are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, tlv.SEQUENCE), _certificate)


def read_dodf(unverified: bytes) -> tuple[DataEntry, ...]:
    """Read the DODF; entries that cannot be read are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, tlv.SEQUENCE, _MAX_DATA_ENTRIES), _data_entry)


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
    numbers = [tlv.integer(value) for value in values if value.tag == tlv.INTEGER]
    reference = find(values, 0x80)
    padding = tlv.value(values, tlv.OCTET_STRING)
    return Password(
        auth_id=tlv.required(common.children(), tlv.OCTET_STRING).value,
        flags=tlv.bits(tlv.required(values, tlv.BIT_STRING)),
        reference=tlv.integer(reference) & 0xFF if reference else 0,
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
    auth_id = find(common.children(), tlv.OCTET_STRING)
    about = attributes.children()
    path = find(about, tlv.SEQUENCE)
    return PrivateKey(
        label=tlv.text(common.children(), tlv.UTF8_STRING),
        key_id=tlv.required(values, tlv.OCTET_STRING).value,
        auth_id=auth_id.value if auth_id else None,
        usage=tlv.bits(tlv.required(values, tlv.BIT_STRING)),
        reference=tlv.integer(tlv.required(values, tlv.INTEGER)) & 0xFF,
        path=tlv.value(path.children(), tlv.OCTET_STRING) if path else b"",
        modulus_bytes=_modulus_bytes(find(about, tlv.INTEGER)),
    )


def _modulus_bytes(modulus_bits: Tlv | None) -> int:
    size = 2048 if modulus_bits is None else tlv.integer(modulus_bits)
    if not 1024 <= size <= 4096 or size % 8:
        raise CardMisbehaved("PKCS#15 key of an unexpected size")
    return size // 8


def _certificate(entry: Tlv) -> Certificate:
    common, certificate, attributes = _parts(entry)
    return Certificate(
        label=tlv.text(common.children(), tlv.UTF8_STRING),
        key_id=tlv.required(certificate.children(), tlv.OCTET_STRING).value,
        file=_file_reference(tlv.required(attributes.children(), tlv.SEQUENCE)),
    )


def _directory(entry: Tlv) -> tuple[Directory, FileReference]:
    path = tlv.required(entry.children(), tlv.SEQUENCE)
    return Directory(entry.tag), _file_reference(path)


def _data_entry(entry: Tlv) -> DataEntry:
    common, _, path = _parts(entry)
    about = common.children()
    flags = find(about, tlv.BIT_STRING)
    is_private = flags is not None and ObjectFlag.PRIVATE in tlv.bits(flags)
    return DataEntry(
        label=tlv.text(about, tlv.UTF8_STRING),
        is_public=not is_private and find(about, tlv.OCTET_STRING) is None,
        file=_file_reference(path),
    )


def _parts(entry: Tlv) -> tuple[Tlv, Tlv, Tlv]:
    """Split an object: common attributes, class attributes, type attributes."""
    parts = entry.children()
    sequences = [part for part in parts if part.tag == tlv.SEQUENCE]
    wrapper = find(parts, 0xA1)
    if len(sequences) != 2 or wrapper is None:
        raise CardMisbehaved("PKCS#15 object of an unexpected shape")
    return sequences[0], sequences[1], tlv.required(wrapper.children(), tlv.SEQUENCE)


def _file_reference(path: Tlv) -> FileReference:
    values = path.children()
    index, length = find(values, tlv.INTEGER), find(values, 0x80)
    reference = FileReference(
        tlv.required(values, tlv.OCTET_STRING).value,
        tlv.integer(index) if index else 0,
        tlv.integer(length) if length else None,
    )
    if reference.offset < 0 or (reference.length is not None and reference.length < 0):
        raise CardMisbehaved("PKCS#15 path with a negative position")
    return reference

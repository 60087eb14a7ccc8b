"""What a card says of its objects in PKCS#15 (ISO/IEC 7816-15:2016): pure parsing of file bytes.

Tolerant where real cards differ (relative paths of any length, flags of zero bits with an odd
unused-bits octet, key references written as negative integers), strict where a choice depends
on it. No file identifier is assumed but 2F00, 5031 and 5032, which the standard fixes.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from cps_auth.card import asn1
from cps_auth.card.tlv import Tlv, find, read_all
from cps_auth.errors import CardMisbehaved

MF = bytes.fromhex("3F00")
EF_DIR = bytes.fromhex("3F002F00")  # ISO/IEC 7816-15:2016 section 7.4
EF_ODF = bytes.fromhex("5031")  # section 7.5.1, under the application DF
EF_TOKEN_INFO = bytes.fromhex("5032")  # section 7.5.7, under the application DF

_CURRENT_APPLICATION = bytes.fromhex("3FFF")  # ISO/IEC 7816-4:2020 section 7.4.1
_MAX_ENTRIES = 64  # per directory file; a CPS has a handful

_T = TypeVar("_T")


class Directory(enum.IntEnum):
    """Which kind of objects an entry of the ODF points to: its context tag (section 8.3)."""

    PRIVATE_KEYS = 0xA0
    CERTIFICATES = 0xA4
    AUTHENTICATION_OBJECTS = 0xA8


class KeyUsage(enum.IntEnum):
    """The bits of KeyUsageFlags that matter here (section 8.4.1)."""

    SIGN = 2
    NON_REPUDIATION = 9


class PasswordFlag(enum.IntEnum):
    """The bits of PasswordFlags that matter here (section 8.9.2)."""

    NEEDS_PADDING = 5
    UNBLOCKING = 6
    SO_PIN = 7


@dataclass(frozen=True, slots=True)
class Application:
    """One entry of EF.DIR."""

    aid: bytes
    label: str
    path: bytes  # as written; empty when the entry has none


@dataclass(frozen=True, slots=True)
class FileReference:
    """A Path of PKCS#15: a file, or a part of one."""

    path: bytes  # as written, often relative to the application DF
    offset: int = 0
    length: int | None = None  # None: to the end


@dataclass(frozen=True, slots=True)
class Password:
    """One authentication object of the AODF: a PIN or a PUK."""

    auth_id: bytes
    flags: frozenset[int]
    reference: int  # P2 of VERIFY
    stored_length: int
    padding: int

    @property
    def is_user_pin(self) -> bool:
        """Whether it is the holder's PIN, not a PUK or an administrator's code."""
        return not self.flags & {PasswordFlag.UNBLOCKING, PasswordFlag.SO_PIN}

    def padded(self, pin: bytearray) -> bytearray:
        """Return a copy of the PIN as VERIFY carries it; its owner wipes it."""
        if PasswordFlag.NEEDS_PADDING not in self.flags:
            return bytearray(pin)
        return bytearray(pin) + bytes((self.padding,)) * (self.stored_length - len(pin))


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """One RSA key of the PrKDF."""

    label: str
    key_id: bytes
    auth_id: bytes | None  # the Password that guards it, None for a key that needs none
    usage: frozenset[int]
    reference: int
    path: bytes  # of the key, empty when the application DF is meant


@dataclass(frozen=True, slots=True)
class Certificate:
    """One X.509 certificate of the CDF."""

    label: str
    key_id: bytes
    file: FileReference


def resolve(application: bytes, path: bytes) -> bytes:
    """Return the path from the MF, 3F00 included.

    Args:
        application: path of the application DF from the MF.
        path: as written in a directory file: absolute, or relative to the application.

    Raises:
        CardMisbehaved: not a list of two-byte file identifiers.
    """
    if len(path) % 2 or len(path) > 16:
        raise CardMisbehaved("PKCS#15 path that is not a list of file identifiers")
    if path.startswith(MF):
        return path
    return application + path.removeprefix(_CURRENT_APPLICATION)


def read_dir(unverified: bytes) -> tuple[Application, ...]:
    """Read EF.DIR (ISO/IEC 7816-4:2020 section 12.2.1): application templates, tag 61.

    Raises:
        CardMisbehaved: not BER-TLV.
    """
    templates = (entry.children() for entry in _entries(unverified, 0x61))
    return tuple(
        Application(
            asn1.value(template, 0x4F), asn1.text(template, 0x50), asn1.value(template, 0x51)
        )
        for template in templates
    )


def read_odf(unverified: bytes) -> tuple[tuple[Directory, FileReference], ...]:
    """Read the ODF: which directory files there are. Kinds that do not matter are left out.

    Raises:
        CardMisbehaved: not BER-TLV, or a reference that is not a path.
    """
    found = []
    for entry in _bounded(read_all(unverified)):
        path = entry.child(asn1.SEQUENCE) if entry.tag in set(Directory) else None
        if path is not None:
            found.append((Directory(entry.tag), _file_reference(path)))
    return tuple(found)


def read_token_label(unverified: bytes) -> str:
    """Return the label of TokenInfo (section 8.10), empty when it has none.

    Raises:
        CardMisbehaved: not BER-TLV.
    """
    token_info = find(read_all(unverified), asn1.SEQUENCE)
    return asn1.text(token_info.children(), 0x80) if token_info else ""


def read_aodf(unverified: bytes) -> tuple[Password, ...]:
    """Read the AODF; entries that are not passwords, or cannot be read, are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, asn1.SEQUENCE), _password)


def read_prkdf(unverified: bytes) -> tuple[PrivateKey, ...]:
    """Read the PrKDF; entries that cannot be read are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, asn1.SEQUENCE), _private_key)


def read_cdf(unverified: bytes) -> tuple[Certificate, ...]:
    """Read the CDF; entries that cannot be read are left out.

    Raises:
        CardMisbehaved: not BER-TLV at all.
    """
    return _readable(_entries(unverified, asn1.SEQUENCE), _certificate)


def authentication_key(
    keys: Iterable[PrivateKey], certificates: Iterable[Certificate]
) -> tuple[PrivateKey, Certificate]:
    """Return the authentication key and its certificate.

    It is the key that signs without being a key of non-repudiation, and whose iD a certificate
    bears. Labels and identifiers differ between series of cards and are not looked at.

    Raises:
        CardMisbehaved: there is none, or more than one.
    """
    by_id = {certificate.key_id: certificate for certificate in certificates}
    found = [
        key
        for key in keys
        if KeyUsage.SIGN in key.usage
        and KeyUsage.NON_REPUDIATION not in key.usage
        and key.key_id in by_id
    ]
    if len(found) != 1:
        raise CardMisbehaved(f"{len(found)} authentication keys with a certificate in PKCS#15")
    return found[0], by_id[found[0].key_id]


def _bounded(objects: tuple[Tlv, ...]) -> tuple[Tlv, ...]:
    if len(objects) > _MAX_ENTRIES:
        raise CardMisbehaved("PKCS#15 directory with too many entries")
    return objects


def _entries(unverified: bytes, tag: int) -> tuple[Tlv, ...]:
    return tuple(entry for entry in _bounded(read_all(unverified)) if entry.tag == tag)


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
    numbers = [asn1.integer(value) for value in values if value.tag == asn1.INTEGER]
    reference = find(values, 0x80)
    padding = asn1.value(values, asn1.OCTET_STRING)
    return Password(
        auth_id=asn1.required(common.children(), asn1.OCTET_STRING).value,
        flags=asn1.bits(asn1.required(values, asn1.BIT_STRING)),
        reference=asn1.integer(reference) & 0xFF if reference else 0,
        stored_length=_stored_length(numbers),
        padding=padding[0] if padding else 0xFF,
    )


def _stored_length(numbers: list[int]) -> int:
    # PasswordAttributes: minLength, storedLength, maxLength OPTIONAL (section 8.9.2)
    if len(numbers) < 2 or not 0 < numbers[1] <= 16:
        raise CardMisbehaved("PKCS#15 password without a stored length")
    return numbers[1]


def _private_key(entry: Tlv) -> PrivateKey:
    common, key, attributes = _parts(entry)
    values = key.children()
    auth_id = find(common.children(), asn1.OCTET_STRING)
    path = find(attributes.children(), asn1.SEQUENCE)
    return PrivateKey(
        label=asn1.text(common.children(), asn1.UTF8_STRING),
        key_id=asn1.required(values, asn1.OCTET_STRING).value,
        auth_id=auth_id.value if auth_id else None,
        usage=asn1.bits(asn1.required(values, asn1.BIT_STRING)),
        reference=asn1.integer(asn1.required(values, asn1.INTEGER)) & 0xFF,
        path=asn1.value(path.children(), asn1.OCTET_STRING) if path else b"",
    )


def _certificate(entry: Tlv) -> Certificate:
    common, certificate, attributes = _parts(entry)
    return Certificate(
        label=asn1.text(common.children(), asn1.UTF8_STRING),
        key_id=asn1.required(certificate.children(), asn1.OCTET_STRING).value,
        file=_file_reference(asn1.required(attributes.children(), asn1.SEQUENCE)),
    )


def _parts(entry: Tlv) -> tuple[Tlv, Tlv, Tlv]:
    """Split an object: common attributes, class attributes, type attributes (section 8.2.1)."""
    parts = entry.children()
    sequences = [part for part in parts if part.tag == asn1.SEQUENCE]
    wrapper = find(parts, 0xA1)
    if len(sequences) != 2 or wrapper is None:
        raise CardMisbehaved("PKCS#15 object of an unexpected shape")
    return sequences[0], sequences[1], asn1.required(wrapper.children(), asn1.SEQUENCE)


def _file_reference(path: Tlv) -> FileReference:
    values = path.children()
    index, length = find(values, asn1.INTEGER), find(values, 0x80)
    reference = FileReference(
        asn1.required(values, asn1.OCTET_STRING).value,
        asn1.integer(index) if index else 0,
        asn1.integer(length) if length else None,
    )
    if reference.offset < 0 or (reference.length is not None and reference.length < 0):
        raise CardMisbehaved("PKCS#15 path with a negative position")
    return reference

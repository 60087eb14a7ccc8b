"""The objects that a card declares in PKCS#15 (RSA Laboratories v1.1, 2000), and which to use.

No file identifier is assumed but 2F00, 5031 and 5032, which its section 5.6 fixes.
`cps_auth.card.native.pkcs15_parse` reads the objects from the bytes of the files.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from cps_auth.errors import CardMisbehaved

MF = bytes.fromhex("3F00")
EF_DIR = bytes.fromhex("3F002F00")  # section 5.4.1
EF_ODF = bytes.fromhex("5031")  # section 5.5.1, under the application DF
EF_TOKEN_INFO = bytes.fromhex("5032")  # section 5.5.8, under the application DF


class Directory(enum.IntEnum):
    """Kinds of objects that an entry of the ODF points to: its tag in PKCS15Objects."""

    PRIVATE_KEYS = 0xA0
    CERTIFICATES = 0xA4
    DATA_OBJECTS = 0xA7
    AUTHENTICATION_OBJECTS = 0xA8


class KeyUsage(enum.IntEnum):
    """The bits of KeyUsageFlags that matter here."""

    SIGN = 2
    NON_REPUDIATION = 9


class ObjectFlag(enum.IntEnum):
    """The bits of CommonObjectFlags that matter here."""

    PRIVATE = 0


class PasswordFlag(enum.IntEnum):
    """The bits of PinFlags that matter here."""

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
        """Return whether it is the holder's PIN, not a PUK or an administrator's code."""
        return not self.flags & {PasswordFlag.UNBLOCKING, PasswordFlag.SO_PIN}

    @property
    def is_puk(self) -> bool:
        """Return whether it unblocks the holder's PIN."""
        return not self.is_user_pin


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """One RSA key of the PrKDF."""

    label: str
    key_id: bytes
    auth_id: bytes | None  # the Password that guards it, None for a key that needs none
    usage: frozenset[int]
    reference: int
    path: bytes  # of the key, empty when the application DF is meant
    modulus_bytes: int = 256

    @property
    def is_for_authentication(self) -> bool:
        """Return whether its usage says so: it signs, and is no key of non-repudiation."""
        return KeyUsage.SIGN in self.usage and KeyUsage.NON_REPUDIATION not in self.usage


@dataclass(frozen=True, slots=True)
class Certificate:
    """One X.509 certificate of the CDF."""

    label: str
    key_id: bytes
    file: FileReference


@dataclass(frozen=True, slots=True)
class DataEntry:
    """One data object of the DODF."""

    label: str
    is_public: bool  # needs no PIN
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
    return application + path


def authentication_keys(
    keys: Iterable[PrivateKey], certificates: Iterable[Certificate]
) -> tuple[tuple[PrivateKey, Certificate], ...]:
    """Return the keys that may be for authentication, each with each certificate of its iD.

    Those that sign without being keys of non-repudiation; where the card says so of none, all:
    the certificates have to tell then. Labels and identifiers differ between series of cards and
    are not looked at.
    """
    certificates = tuple(certificates)
    pairs = [(key, one) for key in keys for one in certificates if one.key_id == key.key_id]
    return tuple([pair for pair in pairs if pair[0].is_for_authentication] or pairs)

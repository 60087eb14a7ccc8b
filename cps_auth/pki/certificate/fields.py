"""The fields of a certificate: one value, read once (`parse.py`) and passed on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, Protocol, TypeVar

from cryptography import x509

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_Kind = type[x509.ExtensionType]

Attribute = tuple[x509.ObjectIdentifier, str | bytes]
"""Of a distinguished name, with its value."""


class KnownExtensions(Protocol):
    """A dictionary of extensions by their class."""

    def get(self, kind: type[_Extension], /) -> _Extension | None:
        """Return the extension of a class, None when there is none."""


class Extensions(NamedTuple):
    """Extensions grouped by class, private ones by OID.

    Attributes:
        known: values of the classes that the library knows.
        private: DER of the others.
        critical: classes of those that are critical.
        policies: identifiers that are asserted, dotted.
    """

    known: KnownExtensions
    private: Mapping[x509.ObjectIdentifier, bytes]
    critical: frozenset[_Kind]
    policies: frozenset[str]


@dataclass(frozen=True, eq=False)
class ParsedCertificate:
    """A certificate whose fields the library could read. Nobody vouches for it yet.

    Attributes:
        x509: as `cryptography` reads it.
        subject: its attributes, in their order.
        extensions: grouped.
        not_before, not_after: its dates, aware UTC.
    """

    x509: x509.Certificate = field(repr=False)
    subject: tuple[Attribute, ...] = field(repr=False)
    extensions: Extensions = field(repr=False)
    not_before: datetime
    not_after: datetime

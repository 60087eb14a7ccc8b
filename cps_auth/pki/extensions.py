"""The extensions of one certificate or list, sorted once: many questions are asked of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from cryptography import x509

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_Extended = x509.Certificate | x509.CertificateRevocationList


class Extensions(NamedTuple):
    """What is in an extensions field.

    Attributes:
        by_kind: values that the library knows, by class; a kind is there once.
        unrecognized: DER of the others, by OID.
        critical: the classes of those that are critical.
    """

    by_kind: Mapping[type[x509.ExtensionType], x509.ExtensionType]
    unrecognized: Mapping[x509.ObjectIdentifier, bytes]
    critical: frozenset[type[x509.ExtensionType]]


_last: tuple[_Extended | None, Extensions] = None, Extensions({}, {}, frozenset())
"""Of which certificate was asked last: by identity, replaced as a whole, whatever the thread."""


def extensions_of(extended: _Extended) -> Extensions:
    """Return the extensions of a certificate or list, which are known to be readable."""
    global _last  # one memory of the process, not worth an object
    last, found = _last
    if last is not extended:
        found = _sorted(extended)
        if isinstance(extended, x509.Certificate):  # a list is large: nobody keeps it for this
            _last = extended, found
    return found


def extension_of(extended: _Extended, kind: type[_Extension]) -> _Extension | None:
    """Return the extension of this kind, None when there is none."""
    return extensions_of(extended).by_kind.get(kind)  # type: ignore[return-value]  # by its class


def _sorted(extended: _Extended) -> Extensions:
    by_kind, unrecognized, critical = {}, {}, []
    for extension in extended.extensions:
        value = extension.value
        kind = value.__class__  # isinstance of an abstract class costs more than all else
        if kind is x509.UnrecognizedExtension:
            unrecognized[value.oid] = value.value
        else:
            by_kind[kind] = value
        if extension.critical:
            critical.append(kind)
    return Extensions(by_kind, unrecognized, frozenset(critical))

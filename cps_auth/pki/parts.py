"""Subject and extensions of a certificate, sorted once: many questions are asked of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from cryptography import x509

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_Extended = x509.Certificate | x509.CertificateRevocationList

Attribute = tuple[x509.ObjectIdentifier, str | bytes]
"""Of a distinguished name, with its value."""


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


class Parts(NamedTuple):
    """The attributes of a subject in their order, and the extensions."""

    subject: Sequence[Attribute]
    extensions: Extensions


_last: tuple[_Extended | None, Extensions] = None, Extensions({}, {}, frozenset())
"""Of which one was asked last: by identity, replaced as a whole, whatever the thread."""
_last_read: tuple[x509.Certificate | None, Parts] = None, Parts((), _last[1])
"""Of the certificate that was read last, in the same way."""


def keep_parts(certificate: x509.Certificate, parts: Parts) -> None:
    """Keep the parts of a certificate that was read, for the questions that follow."""
    global _last, _last_read  # one memory of the process, not worth an object
    _last = certificate, parts.extensions
    _last_read = certificate, parts


def subject_of(certificate: x509.Certificate) -> Sequence[Attribute]:
    """Return the attributes of a certificate's subject, which is known to be readable."""
    last, parts = _last_read
    if last is certificate:
        return parts.subject
    return [(attribute.oid, attribute.value) for attribute in certificate.subject]


def extensions_of(extended: _Extended) -> Extensions:
    """Return the extensions of a certificate or list, which are known to be readable."""
    global _last
    last, found = _last
    if last is not extended:
        found = sort_extensions(
            (extension.value, extension.critical) for extension in extended.extensions
        )
        if isinstance(extended, x509.Certificate):  # a list is large: nobody keeps it for this
            _last = extended, found
    return found


def extension_of(extended: _Extended, kind: type[_Extension]) -> _Extension | None:
    """Return the extension of this kind, None when there is none."""
    return extensions_of(extended).by_kind.get(kind)  # type: ignore[return-value]  # by its class


def sort_extensions(extensions: Iterable[tuple[x509.ExtensionType, bool]]) -> Extensions:
    """Return extensions sorted.

    Args:
        extensions: each with whether it is critical.
    """
    by_kind, unrecognized, critical = {}, {}, []
    for value, is_critical in extensions:
        kind = value.__class__  # isinstance of an abstract class costs more than all else
        if kind is x509.UnrecognizedExtension:
            unrecognized[value.oid] = value.value  # type: ignore[attr-defined]  # by its class
        else:
            by_kind[kind] = value
        if is_critical:
            critical.append(kind)
    return Extensions(by_kind, unrecognized, frozenset(critical))

"""Subject and extensions of a certificate, sorted once: many questions are asked of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

from cryptography import x509

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_Kind = type[x509.ExtensionType]
_Extended = x509.Certificate | x509.CertificateRevocationList

Attribute = tuple[x509.ObjectIdentifier, str | bytes]
"""Of a distinguished name, with its value."""


class Extensions(NamedTuple):
    """What is in an extensions field.

    Attributes:
        known: values that the library knows, by class; ask `extension_of` for them, as those
            that are each holder's own may be left out.
        private: DER of the others, by OID.
        critical: the classes of those that are critical.
        policies: that are asserted, dotted.
    """

    known: Mapping[_Kind, x509.ExtensionType]
    private: Mapping[x509.ObjectIdentifier, bytes]
    critical: frozenset[_Kind]
    policies: frozenset[str]


class Parts(NamedTuple):
    """The attributes of a subject in their order, and the extensions."""

    subject: Sequence[Attribute]
    extensions: Extensions


_HOLDERS_OWN = x509.SubjectKeyIdentifier, x509.SubjectAlternativeName
NO_EXTENSIONS = Extensions({}, {}, frozenset(), frozenset())

_last: tuple[_Extended | None, Sequence[Attribute] | None, Extensions] = None, None, NO_EXTENSIONS
"""Which one was asked last, and its parts, the subject where it was read with them: by identity,
replaced as a whole, whatever the thread."""


def keep_parts(certificate: x509.Certificate, parts: Parts) -> None:
    """Keep the parts of a certificate that was read, for the questions that follow."""
    global _last  # one memory of the process, not worth an object
    _last = certificate, *parts


def subject_of(certificate: x509.Certificate) -> Sequence[Attribute]:
    """Return the attributes of a certificate's subject, which is known to be readable."""
    last, subject, _ = _last
    if last is certificate and subject is not None:
        return subject
    return [(attribute.oid, attribute.value) for attribute in certificate.subject]


def extensions_of(extended: _Extended) -> Extensions:
    """Return the extensions of a certificate or list, which are known to be readable."""
    global _last
    last, _, found = _last
    if last is not extended:
        found = sort_extensions(extended.extensions)
        if isinstance(extended, x509.Certificate):  # a list is large: nobody keeps it for this
            _last = extended, None, found
    return found


def extension_of(extended: _Extended, kind: type[_Extension]) -> _Extension | None:
    """Return the extension of this kind, None when there is none."""
    found = extensions_of(extended).known.get(kind)
    if found is None and kind in _HOLDERS_OWN:
        found = next((e.value for e in extended.extensions if type(e.value) is kind), None)
    return found  # type: ignore[return-value]  # by its class


def sort_extensions(extensions: Iterable[x509.Extension[x509.ExtensionType]]) -> Extensions:
    """Return extensions sorted."""
    known, private, critical = {}, {}, []
    for extension in extensions:
        value = extension.value
        kind = value.__class__  # isinstance of an abstract class costs more than all else
        if kind is x509.UnrecognizedExtension:
            private[value.oid] = value.value  # type: ignore[attr-defined]  # by its class
        else:
            known[kind] = value
        if extension.critical:
            critical.append(kind)
    return Extensions(known, private, frozenset(critical), _policies(known))


def _policies(known: Mapping[_Kind, x509.ExtensionType]) -> frozenset[str]:
    policies = known.get(x509.CertificatePolicies)
    if not isinstance(policies, x509.CertificatePolicies):
        return frozenset()
    return frozenset(policy.policy_identifier.dotted_string for policy in policies)

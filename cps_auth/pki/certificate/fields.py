"""The fields of a certificate, read once by the library into one value that is passed on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple, TypeVar

from cryptography import x509

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)
_Kind = type[x509.ExtensionType]

Attribute = tuple[x509.ObjectIdentifier, str | bytes]
"""Of a distinguished name, with its value."""


class Extensions(NamedTuple):
    """Extensions grouped by class, private ones by OID.

    Attributes:
        known: values of the classes that the library knows.
        private: DER of the others.
        critical: classes of those that are critical.
        policies: identifiers that are asserted, dotted.
    """

    known: Mapping[_Kind, x509.ExtensionType]
    private: Mapping[x509.ObjectIdentifier, bytes]
    critical: frozenset[_Kind]
    policies: frozenset[str]

    def get(self, kind: type[_Extension]) -> _Extension | None:
        """Return the extension of this class, None when there is none."""
        return self.known.get(kind)  # type: ignore[return-value]  # by its class


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


def read_fields(certificate: x509.Certificate) -> ParsedCertificate:
    """Return the fields of a certificate. Fails as the library does, in any way."""
    return ParsedCertificate(
        x509=certificate,
        subject=tuple((attribute.oid, attribute.value) for attribute in certificate.subject),
        extensions=group_extensions(certificate.extensions),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def group_extensions(extensions: Iterable[x509.Extension[x509.ExtensionType]]) -> Extensions:
    """Return extensions by their class, private ones by their OID."""
    known: dict[_Kind, x509.ExtensionType] = {}
    private: dict[x509.ObjectIdentifier, bytes] = {}
    critical: list[_Kind] = []
    for extension in extensions:
        value = extension.value
        kind = type(value)
        if isinstance(value, x509.UnrecognizedExtension):
            private[value.oid] = value.value
        else:
            known[kind] = value
        if extension.critical:
            critical.append(kind)
    policies = known.get(x509.CertificatePolicies)
    asserted = policies if isinstance(policies, x509.CertificatePolicies) else ()
    dotted = frozenset(policy.policy_identifier.dotted_string for policy in asserted)
    return Extensions(known, private, frozenset(critical), dotted)

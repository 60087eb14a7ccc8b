"""Reads subject and extensions of a certificate, by what was read in earlier ones.

The library takes longer over them than over a signature, and most of a card's are those of every
card of its authority, byte for byte. What is the holder's own is read by `own_parts`; a certificate
with anything new in it is read by the library, as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from cryptography import x509

from cps_auth.pki.own_parts import oid_of, read_own_extension, read_own_rdn
from cps_auth.pki.parts import Attribute, Extensions, sort_extensions

_REMEMBERED = 1024
_LONGEST_BYTES = 512
"""What is longer is not remembered: certificates of anybody come by here."""

_Part = TypeVar("_Part")

_rdns: dict[bytes, tuple[Attribute, ...]] = {}
_extensions: dict[bytes, tuple[x509.ExtensionType, bool]] = {}
_unrecognized: dict[bytes, x509.ObjectIdentifier] = {}
"""What the library said of these bytes: pure facts, whoever signed them."""


def read_subject(certificate: x509.Certificate, rdns: Sequence[bytes]) -> Sequence[Attribute]:
    """Return the attributes of a certificate's subject. Fails as the library does, in any way.

    Args:
        certificate: what was parsed.
        rdns: its subject's, each as it stands there.
    """
    attributes: list[Attribute] = []
    for rdn in rdns:
        found = _rdns.get(rdn) or read_own_rdn(rdn)
        if found is None:
            return _learn_subject(certificate, rdns)
        attributes += found
    return attributes


def _learn_subject(certificate: x509.Certificate, rdns: Sequence[bytes]) -> Sequence[Attribute]:
    read = [tuple((a.oid, a.value) for a in rdn) for rdn in certificate.subject.rdns]
    for rdn, attributes in zip(rdns, read, strict=True):
        if read_own_rdn(rdn) is None:
            _remember(_rdns, rdn, attributes)
    return [attribute for rdn in read for attribute in rdn]


def read_extensions(certificate: x509.Certificate, extensions: Sequence[bytes]) -> Extensions:
    """Return the extensions of a certificate. Fails as the library does, in any way.

    Args:
        certificate: what was parsed.
        extensions: its own, each as it stands there.
    """
    found = []
    for extension in extensions:
        known = _extensions.get(extension)
        if known is None:
            own = read_own_extension(extension, _unrecognized)
            if own is None:
                return _learn_extensions(certificate, extensions)
            known = own, False
        found.append(known)
    read = sort_extensions(found)
    if len(read.by_kind) + len(read.unrecognized) != len(found):  # one of them twice
        return _learn_extensions(certificate, extensions)
    return read


def _learn_extensions(certificate: x509.Certificate, extensions: Sequence[bytes]) -> Extensions:
    read = [(extension.value, extension.critical) for extension in certificate.extensions]
    for extension, (value, is_critical) in zip(extensions, read, strict=True):
        if read_own_extension(extension, {}) is None:
            _remember(_extensions, extension, (value, is_critical))
        if isinstance(value, x509.UnrecognizedExtension):
            _remember(_unrecognized, oid_of(extension), value.oid)
    return sort_extensions(read)


def _remember(memory: dict[bytes, _Part], part: bytes, read: _Part) -> None:
    if len(part) > _LONGEST_BYTES:
        return
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[part] = read

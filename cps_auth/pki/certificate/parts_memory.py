"""Reads subject and extensions of a certificate, by what was read in earlier ones.

The library takes longer over them than over a signature, and most of a card's are those of every
card of its authority, byte for byte. What is the holder's own is read by `own_parts`; a certificate
with anything new in it is read by the library, as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from cryptography import x509

from cps_auth.pki.certificate.frame import elements_of
from cps_auth.pki.certificate.own_parts import kind_of_own, oid_of, read_own_rdn, read_private
from cps_auth.pki.certificate.parts import Attribute, Extensions, sort_extensions

_REMEMBERED = 1024
_FORMS_MAX = 16
_LONGEST_BYTES = 512
"""What is longer is not remembered: certificates of anybody come by here."""

_Read = TypeVar("_Read")
_Piece = bytes | type[x509.ExtensionType] | None


class _Form(NamedTuple):
    """The extensions of an earlier certificate.

    Attributes:
        pieces: bytes that others have too, or what one extension is that is the holder's own:
            of a kind that the library knows, or None for a private one.
        private: how many private ones there are.
        common: those that are not the holder's own.
    """

    pieces: tuple[_Piece, ...]
    private: int
    common: Extensions


_rdns: dict[bytes, tuple[Attribute, ...]] = {}
_forms: list[_Form] = []  # those that were learned last first
_private: dict[bytes, tuple[x509.ObjectIdentifier, bytes]] = {}
_private_oids: dict[bytes, x509.ObjectIdentifier] = {}
"""What the library made of these bytes, whoever signed them."""


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


def read_extensions(certificate: x509.Certificate, der: bytes, start: int, end: int) -> Extensions:
    """Return the extensions of a certificate. Fails as the library does, in any way.

    Args:
        certificate: what was parsed.
        der: the bytes that it was parsed from.
        start, end: where in them its extensions begin and end.
    """
    for form in _forms:
        found = _read_as(form, der, start, end)
        if found is not None:
            return found
    return _learn_extensions(certificate, elements_of(der, start, end))


def _read_as(form: _Form, der: bytes, at: int, end: int) -> Extensions | None:
    """Return extensions that are those of an earlier certificate, but for the holder's own."""
    known, private, critical, policies = form.common
    private = dict(private)
    for piece in form.pieces:
        if isinstance(piece, bytes):
            if not der.startswith(piece, at):
                return None
            at += len(piece)
            continue
        after = at + 2 + der[at + 1]
        own = der[at:after]
        if piece is not None:
            if kind_of_own(own) is not piece:
                return None
        elif found := _private.get(own) or read_private(own, _private_oids):
            private[found[0]] = found[1]
        else:
            return None
        at = after
    if at != end or len(private) != form.private:  # or one of them twice
        return None
    return Extensions(known, private, critical, policies)


def _learn_extensions(certificate: x509.Certificate, parts: Sequence[bytes]) -> Extensions:
    found = list(certificate.extensions)
    pieces: list[_Piece] = []
    common = []
    for part, extension in zip(parts, found, strict=True):
        if isinstance(extension.value, x509.UnrecognizedExtension):
            _remember(_private_oids, oid_of(part), extension.oid)
        if (private := read_private(part, _private_oids)) is not None:
            _remember(_private, part, private)
            pieces.append(None)
        elif (kind := kind_of_own(part)) is not None:
            pieces.append(kind)
        else:
            common.append(extension)
            if pieces and isinstance(before := pieces[-1], bytes):
                pieces[-1] = before + part
            else:
                pieces.append(part)
    read = sort_extensions(found)
    _forms.insert(0, _Form(tuple(pieces), len(read.private), sort_extensions(common)))
    del _forms[_FORMS_MAX:]
    return read


def _remember(memory: dict[bytes, _Read], part: bytes, read: _Read) -> None:
    if len(part) > _LONGEST_BYTES:
        return
    if len(memory) >= _REMEMBERED:
        memory.clear()
    memory[part] = read

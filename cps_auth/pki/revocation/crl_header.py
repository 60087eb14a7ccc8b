"""The header of a CRL: all that it says but its entries. RFC 5280 section 5."""

from __future__ import annotations

import enum
import hashlib
from datetime import datetime

import msgspec
from cryptography import x509

from cps_auth.der import SEQUENCE, Element, element_at, elements, inside
from cps_auth.pki.certificate.fields import Extensions
from cps_auth.pki.certificate.names import NAME_MAX_BYTES, general_name_key, name_key, shown_name
from cps_auth.pki.certificate.parse import group_extensions


class CrlProblem(enum.StrEnum):
    """Reasons for which a CRL is no evidence (RevocationUnknown.why), least specific first."""

    NO_CRL = "no-crl"
    MALFORMED = "crl-malformed"
    UNREADABLE = "crl-unreadable"
    OTHER_KEY = "crl-other-key"
    BAD_SIGNATURE = "crl-bad-signature"
    ISSUER_MAY_NOT_SIGN = "crl-issuer-may-not-sign"
    DELTA = "crl-delta"
    PARTIAL = "crl-partial"
    OTHER_DISTRIBUTION_POINT = "crl-other-distribution-point"
    UNKNOWN_EXTENSION = "crl-unknown-extension"
    NO_NEXT_UPDATE = "crl-without-next-update"
    NOT_YET_VALID = "crl-not-yet-valid"
    ROLLBACK = "crl-rollback"
    NUMBERS_UNREADABLE = "crl-numbers-unreadable"
    STALE = "crl-stale"


CRL_PROBLEMS = tuple(CrlProblem)


class CrlHeader(msgspec.Struct, frozen=True):
    """Header of a CRL: all of it but its entries and its signature.

    Attributes:
        issuer_key: see `cps_auth.pki.certificate.names.name_key`.
        issuer_name: common name, or the whole, to be shown.
        number: CRLNumber, None when absent.
        base_number: of the CRL that a delta CRL is to be applied to; None: not a delta.
        authority_key_hex: authority key identifier, None when absent.
        only: "user" or "ca" when the CRL is about such certificates only.
        points: names of its distribution point, None when it has none.
        problem: why it is never evidence, whatever is asked; None when it may be.
        scope: short name of what it is about: its numbers rise within it.
    """

    issuer_key: str
    issuer_name: str
    this_update: datetime
    next_update: datetime | None
    number: int | None
    base_number: int | None
    authority_key_hex: str | None
    only: str | None
    points: frozenset[str] | None
    problem: CrlProblem | None
    scope: str


EXTENSIONS_MAX_BYTES = 4096
"""Of a CRL, without those of its entries; those of real ones are under 500 bytes."""

_EXTENSIONS = 0xA0  # RFC 5280 section 5.1: crlExtensions [0] EXPLICIT

_KNOWN_CRITICAL = frozenset(
    {
        x509.AuthorityKeyIdentifier,
        x509.CRLNumber,
        x509.FreshestCRL,
        x509.DeltaCRLIndicator,
        x509.IssuingDistributionPoint,
    }
)


def read_header(crl: x509.CertificateRevocationList, der: bytes) -> CrlHeader:
    """Read the header of a parsed CRL. Reading may fail as the library fails.

    Args:
        crl: what was parsed.
        der: the bytes that it was parsed from.

    Raises:
        ValueError: not DER, or a name or extensions that no real CRL has.
    """
    _check_sizes(der)
    issuer = crl.issuer
    extensions = group_extensions(crl.extensions)
    number = extensions.known.get(x509.CRLNumber)
    base = extensions.known.get(x509.DeltaCRLIndicator)
    authority = extensions.known.get(x509.AuthorityKeyIdentifier)
    point = extensions.known.get(x509.IssuingDistributionPoint)
    identifier = authority.key_identifier if authority else None
    only = _only(point)
    points = None if point is None else _points(point, issuer)
    said = f"{only}|{sorted(points or ())}|{points is None}"
    return CrlHeader(
        issuer_key=name_key(issuer),
        issuer_name=shown_name(issuer),
        this_update=crl.last_update_utc,
        next_update=crl.next_update_utc,
        number=number.crl_number if number else None,
        base_number=base.crl_number if base else None,
        authority_key_hex=identifier.hex() if identifier else None,
        only=only,
        points=points,
        problem=_problem(crl, extensions, point),
        scope=hashlib.sha256(said.encode()).hexdigest()[:16],
    )


def _check_sizes(der: bytes) -> None:
    """Measure what would cost time to read, before anybody's signature is verified."""
    signed = element_at(der, element_at(der, 0, len(der)).content, len(der))
    parts = list(inside(der, signed))
    issuer = [part for part in parts if part.tag == SEQUENCE][1]
    longest = ((issuer, NAME_MAX_BYTES), (parts[-1], EXTENSIONS_MAX_BYTES))
    for part, most in longest if parts[-1].tag == _EXTENSIONS else longest[:1]:
        if part.end - part.start > most:
            raise ValueError("CRL: a name or extensions too long")


def _problem(
    crl: x509.CertificateRevocationList,
    extensions: Extensions,
    point: x509.IssuingDistributionPoint | None,
) -> CrlProblem | None:
    if point is not None and (
        point.indirect_crl or point.only_contains_attribute_certs or point.only_some_reasons
    ):
        return CrlProblem.PARTIAL  # not the whole truth about one issuer's certificates
    if not extensions.critical <= _KNOWN_CRITICAL:
        return CrlProblem.UNKNOWN_EXTENSION  # RFC 5280 section 5.2
    return None if crl.next_update_utc is not None else CrlProblem.NO_NEXT_UPDATE


def _only(point: x509.IssuingDistributionPoint | None) -> str | None:
    if point is None:
        return None
    if point.only_contains_user_certs:
        return "user"
    return "ca" if point.only_contains_ca_certs else None


def _points(point: x509.IssuingDistributionPoint, issuer: x509.Name) -> frozenset[str] | None:
    if point.full_name is None and point.relative_name is None:
        return None
    return point_names(point.full_name, point.relative_name, issuer)


def point_names(
    full: list[x509.GeneralName] | None,
    relative: x509.RelativeDistinguishedName | None,
    issuer: x509.Name,
) -> frozenset[str]:
    """Return the names of a distribution point, a relative one completed by its issuer's.

    Source: RFC 5280 section 4.2.1.13.
    """
    names = list(full or ())
    if relative is not None:
        names.append(x509.DirectoryName(x509.Name([*issuer.rdns, relative])))
    return frozenset(map(general_name_key, names))


def revoked_part(der: bytes) -> Element | None:
    """Return where revokedCertificates is in a CRL, None when there is none.

    It is the one SEQUENCE of SEQUENCEs after thisUpdate (RFC 5280 section 5.1).

    Raises:
        ValueError: not DER.
    """
    whole = element_at(der, 0, len(der))
    signed = element_at(der, whole.content, whole.end)
    sequences = [e for e in elements(der, signed.content, signed.end) if e.tag == SEQUENCE]
    return sequences[2] if len(sequences) > 2 else None  # after algorithm and issuer

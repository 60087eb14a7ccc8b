"""Reads a certificate that came from outside. It says nothing about whether to believe it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar, cast

from cryptography import x509

from cps_auth.errors import CertificateMalformed
from cps_auth.model import Practitioner
from cps_auth.pki.certificate.fields import Extensions, KnownExtensions, ParsedCertificate
from cps_auth.pki.certificate.identity import read_category
from cps_auth.pki.certificate.profiles import IGC_SANTE_LOGIN, CertificateProfile
from cps_auth.pki.certificate.repair import repaired_copy
from cps_auth.pki.certificate.signature import SignedParts, signed_parts

_Read = TypeVar("_Read")

_Part = tuple[str, Callable[[x509.Certificate], object]]

CERTIFICATE_MAX_BYTES = 8 * 1024
"""Real ones are under 2.5 KB."""

SERIAL_MAX_BITS = 160
"""RFC 5280 section 4.1.2.2."""


@dataclass(frozen=True, eq=False)
class CpsCertificate(ParsedCertificate):
    """A certificate of a card whose every part that we use could be read. Not yet judged.

    Attributes:
        der: the bytes as they came: what is signed, and what a fingerprint is of.
        is_repaired: whether `x509` is a copy that the library can read (see `repaired_copy`).
        practitioner: who it names.
        category: gipCardCategory (table G01), None when absent.
    """

    der: bytes = field(repr=False)
    is_repaired: bool
    practitioner: Practitioner = field(repr=False)
    category: int | None

    @cached_property
    def signed(self) -> SignedParts | None:
        """Return the parts of `der` that are signed, None when nobody can have signed it."""
        return signed_parts(self.der)

    @cached_property
    def sha256_hex(self) -> str:
        """Return the fingerprint of `der`, lower case."""
        return fingerprint_hex(self.der)

    @cached_property
    def serial_hex(self) -> str:
        """Return the serial number, lower case, an even number of digits."""
        number = self.x509.serial_number
        return number.to_bytes((number.bit_length() + 7) // 8, "big").hex()


def parse_certificate(
    unverified_certificate_der: bytes, profile: CertificateProfile = IGC_SANTE_LOGIN
) -> CpsCertificate:
    """Read a certificate of a card.

    Args:
        unverified_certificate_der: DER, exactly one certificate.
        profile: says how the holder is read.

    Returns:
        What it says. No signature and no date was looked at.

    Raises:
        CertificateMalformed: too long, not X.509 v3, or against the CPS profile; `what` names
            the part.
    """
    der = unverified_certificate_der
    if len(der) > CERTIFICATE_MAX_BYTES:
        too_long = f"longer than {CERTIFICATE_MAX_BYTES} bytes"
        raise CertificateMalformed(fingerprint_hex(der), too_long)
    try:
        certificate, is_repaired = _load(der, _PARTS_OF_A_LEAF)
        fields = read_fields(certificate)
        return CpsCertificate(
            **vars(fields),
            der=der,
            is_repaired=is_repaired,
            practitioner=_read_holder(profile, fields),
            category=None if profile.cards is None else read_category(fields),
        )
    except ValueError as error:
        raise CertificateMalformed(fingerprint_hex(der), str(error)) from None


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
    known: dict[type[x509.ExtensionType], x509.ExtensionType] = {}
    private: dict[x509.ObjectIdentifier, bytes] = {}
    critical: list[type[x509.ExtensionType]] = []
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
    return Extensions(cast(KnownExtensions, known), private, frozenset(critical), dotted)


def fingerprint_hex(der: bytes) -> str:
    """Return the SHA-256 of a certificate, lower case."""
    return hashlib.sha256(der).hexdigest()


def _read_holder(profile: CertificateProfile, fields: ParsedCertificate) -> Practitioner:
    try:
        return profile.read_holder(fields)
    except ValueError:
        raise
    except Exception as error:  # a profile may be somebody else's
        raise ValueError(f"holder: unreadable, {type(error).__name__}") from None


_PARTS_OF_A_LEAF: tuple[_Part, ...] = (
    ("version", lambda certificate: certificate.version),
    ("serial number", lambda certificate: certificate.serial_number),
    ("validity", lambda c: (c.not_valid_before_utc, c.not_valid_after_utc)),
    ("subject", lambda certificate: certificate.subject),
    ("public key", lambda certificate: certificate.public_key()),
    ("extensions", lambda certificate: certificate.extensions),
)
"""What `cryptography` reads only when it is asked for, and may fail on then. The issuer of a
leaf is compared as bytes, and read only where they differ (`cps_auth.pki.chain.issuer`)."""

_PARTS_OF_A_CA = (*_PARTS_OF_A_LEAF, ("issuer", lambda certificate: certificate.issuer))


def load_x509(unverified_certificate_der: bytes) -> x509.Certificate:
    """Return a certificate of a CA, of which no part fails to be read later.

    Args:
        unverified_certificate_der: DER, exactly one certificate.

    Raises:
        ValueError: technical words for the part that cannot be read.
    """
    return _load(unverified_certificate_der, _PARTS_OF_A_CA)[0]


def _load(der: bytes, parts: Sequence[_Part]) -> tuple[x509.Certificate, bool]:
    """Return a certificate that the library can read, and whether it is a repaired copy."""
    try:
        return _load_strictly(der, parts), False
    except _Unreadable:
        copy = repaired_copy(der)
        if copy is None:
            raise
        return _load_strictly(copy, parts), True


def _load_strictly(der: bytes, parts: Sequence[_Part]) -> x509.Certificate:
    certificate = _read("certificate", lambda: x509.load_der_x509_certificate(der))
    for what, part in parts:
        _read(what, lambda part=part: part(certificate))  # type: ignore[misc]
    if certificate.version is not x509.Version.v3:
        raise ValueError("version: not 3")
    if not 0 < certificate.serial_number < 1 << SERIAL_MAX_BITS:
        raise ValueError("serial number: not positive, or too long")
    return certificate


class _Unreadable(ValueError):
    """The library cannot read a part."""


def _read(what: str, reader: Callable[[], _Read]) -> _Read:
    try:
        return reader()
    except Exception as error:
        # The library documents no closed list of what it raises on bad input. Its text is
        # left out: it is not stable and may quote a name.
        raise _Unreadable(f"{what}: unreadable, {type(error).__name__}") from None

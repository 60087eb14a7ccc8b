"""Reads a certificate that came from outside. It says nothing about whether to believe it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from cryptography import x509

from cps_auth.errors import CertificateMalformed
from cps_auth.model import Practitioner
from cps_auth.pki.certificate.frame import Frame, frame_or_none, holders_parts
from cps_auth.pki.certificate.identity import read_category
from cps_auth.pki.certificate.parts import Parts, keep_parts
from cps_auth.pki.certificate.parts_memory import read_extensions, read_subject
from cps_auth.pki.certificate.profile import CertificateProfile
from cps_auth.pki.certificate.profiles import IGC_SANTE_LOGIN
from cps_auth.pki.certificate.repair import reading_copy

_Given = TypeVar("_Given")
_Read = TypeVar("_Read")

_Part = tuple[str, Callable[[x509.Certificate], object]]

CERTIFICATE_MAX_BYTES = 8 * 1024
"""Real ones are under 2.5 KB."""

SERIAL_MAX_BITS = 160
"""RFC 5280 section 4.1.2.2."""


@dataclass(frozen=True)
class CpsCertificate:
    """A certificate whose every part that we use could be read. Not yet judged.

    Attributes:
        x509: as `cryptography` reads it, or a copy that it can read (see `reading_copy`);
            subject, key and extensions don't raise.
        der: the bytes as they came: what is signed, and what a fingerprint is of.
        frame: where the signed bytes are in it, None when nobody can have signed it.
        not_before, not_after: its dates, aware UTC.
        practitioner: who it names.
        category: gipCardCategory (table G01), None when absent.
    """

    x509: x509.Certificate = field(repr=False)
    der: bytes = field(repr=False)
    frame: Frame | None = field(repr=False)
    not_before: datetime
    not_after: datetime
    practitioner: Practitioner = field(repr=False)
    category: int | None

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
    try:
        frame = frame_or_none(unverified_certificate_der)
        certificate = _load_leaf(unverified_certificate_der, frame)
        return CpsCertificate(
            x509=certificate,
            der=unverified_certificate_der,
            frame=frame,
            not_before=certificate.not_valid_before_utc,
            not_after=certificate.not_valid_after_utc,
            practitioner=_read_holder(profile, certificate),
            category=None if profile.cards is None else read_category(certificate),
        )
    except ValueError as error:
        sha256_hex = fingerprint_hex(unverified_certificate_der)
        raise CertificateMalformed(sha256_hex, str(error)) from None


def fingerprint_hex(der: bytes) -> str:
    """Return the SHA-256 of a certificate, lower case."""
    return hashlib.sha256(der).hexdigest()


def _read_holder(profile: CertificateProfile, certificate: x509.Certificate) -> Practitioner:
    try:
        return profile.read_holder(certificate)
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
leaf is compared as bytes, and read only where they differ (`signatures.issuer_key`)."""

_PARTS_OF_A_CA = (*_PARTS_OF_A_LEAF, ("issuer", lambda certificate: certificate.issuer))


def load_x509(unverified_certificate_der: bytes) -> x509.Certificate:
    """Return a certificate of a CA, of which no part fails to be read later.

    Args:
        unverified_certificate_der: DER, exactly one certificate.

    Raises:
        ValueError: technical words for the part that cannot be read.
    """
    return _load(unverified_certificate_der, _PARTS_OF_A_CA)


def _load(unverified_certificate_der: bytes, parts: Sequence[_Part]) -> x509.Certificate:
    try:
        return _load_strictly(unverified_certificate_der, parts)
    except _Unreadable:
        repaired = _repaired(unverified_certificate_der)
        if repaired is None:
            raise
        return _load_strictly(repaired, parts)


def _load_leaf(der: bytes, frame: Frame | None) -> x509.Certificate:
    """Return a certificate of a holder, of which no part that is asked for fails to be read."""
    if len(der) > CERTIFICATE_MAX_BYTES:
        raise ValueError(f"longer than {CERTIFICATE_MAX_BYTES} bytes")
    if frame is not None:
        try:
            return _load_by_parts(der, frame)
        except Exception:  # noqa: S110 - what it is, and where, is said below
            pass
    return _load(der, _PARTS_OF_A_LEAF)


def _load_by_parts(der: bytes, frame: Frame) -> x509.Certificate:
    """Read a certificate as most are; fails in any way where it is another."""
    certificate = x509.load_der_x509_certificate(der)
    _check_numbers(certificate)
    certificate.public_key()
    rdns, start, end = holders_parts(der, frame)
    extensions = read_extensions(certificate, der, start, end)
    keep_parts(certificate, Parts(read_subject(certificate, rdns), extensions))
    return certificate


def _repaired(unverified_certificate_der: bytes) -> bytes | None:
    """Return a copy without the faults of real cards, None where those are not the trouble."""
    try:
        copy = reading_copy(unverified_certificate_der)
    except (ValueError, IndexError):
        return None
    return None if copy == unverified_certificate_der else copy


def _load_strictly(der: bytes, parts: Iterable[_Part]) -> x509.Certificate:
    certificate = _read("certificate", x509.load_der_x509_certificate, der)
    for what, part in parts:
        _read(what, part, certificate)
    _check_numbers(certificate)
    return certificate


def _check_numbers(certificate: x509.Certificate) -> None:
    if certificate.version is not x509.Version.v3:
        raise ValueError("version: not 3")
    if not 0 < certificate.serial_number < 1 << SERIAL_MAX_BITS:
        raise ValueError("serial number: not positive, or too long")


class _Unreadable(ValueError):
    """The library cannot read a part."""


def _read(what: str, reader: Callable[[_Given], _Read], given: _Given) -> _Read:
    try:
        return reader(given)
    except Exception as error:
        # The library documents no closed list of what it raises on bad input. Its text is
        # left out: it is not stable and may quote a name.
        raise _Unreadable(f"{what}: unreadable, {type(error).__name__}") from None

"""One certificate revocation list, and a folder of them that is read again when it changes."""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from cryptography import x509

from cps_auth.pki.links import extension_of, has_strong_hash

CRL_MAX_BYTES = 100 * 1024 * 1024


class Doubt(enum.Enum):
    """Why a list is no evidence; the value is `why` of RevocationUnknown. Later is closer."""

    NO_CRL = "no-crl"
    MALFORMED = "crl-malformed"
    OTHER_KEY = "crl-other-key"
    BAD_SIGNATURE = "crl-bad-signature"
    ISSUER_MAY_NOT_SIGN = "crl-issuer-may-not-sign"
    DELTA = "crl-delta"
    PARTIAL = "crl-partial"
    UNKNOWN_EXTENSION = "crl-unknown-extension"
    NO_NEXT_UPDATE = "crl-without-next-update"
    NOT_YET_VALID = "crl-not-yet-valid"
    STALE = "crl-stale"


_KNOWN = (x509.AuthorityKeyIdentifier, x509.CRLNumber, x509.FreshestCRL)
_KNOWN_IN_ENTRY = (x509.CRLReason, x509.InvalidityDate)


class Crl:
    """A list as it says itself; `doubt_under` tells whether an issuer stands behind it.

    Attributes:
        issuer: name.
        number: CRLNumber, None when absent.
        this_update, next_update: aware UTC; `next_update` is None when absent.
    """

    def __init__(self, crl: x509.CertificateRevocationList) -> None:
        self.issuer = crl.issuer
        self.this_update: datetime = crl.last_update_utc
        self.next_update: datetime | None = crl.next_update_utc
        number = extension_of(crl, x509.CRLNumber)
        self.number: int | None = number.crl_number if number else None
        self._serials, entry_doubt = _read_entries(crl)
        self._form_doubt = _form_doubt(crl) or entry_doubt
        self._crl = crl
        self._signature_doubts: dict[x509.Certificate, Doubt | None] = {}

    def lists(self, serial: int) -> bool:
        """Return whether a certificate of this issuer with this serial number is on the list."""
        return serial in self._serials

    def entry(self, serial: int) -> tuple[datetime, str]:
        """Return since when, and the reason word of RFC 5280 section 5.3.1, for a listed one."""
        entry = self._crl.get_revoked_certificate_by_serial_number(serial)
        if entry is None:
            raise KeyError(serial)
        reasons = [e.value for e in entry.extensions if isinstance(e.value, x509.CRLReason)]
        reason = reasons[0].reason if reasons else x509.ReasonFlags.unspecified
        return entry.revocation_date_utc, reason.value

    def doubt_under(self, issuer: x509.Certificate) -> Doubt | None:
        """Return why this is not a complete list signed by this issuer, None when it is.

        The signature is verified once per issuer and remembered.
        """
        if issuer not in self._signature_doubts:
            self._signature_doubts[issuer] = _signature_doubt(self._crl, issuer)
        return self._signature_doubts[issuer] or self._form_doubt


class CrlStore:
    """Lists by issuer, from memory or from a folder. Safe to share between threads."""

    def __init__(
        self, unverified_crls: Iterable[bytes] = (), *, folder: Path | None = None
    ) -> None:
        self._fixed = [_parse_or_none(crl) for crl in unverified_crls]
        self._folder = folder
        self._lock = threading.Lock()
        self._files: dict[Path, tuple[tuple[int, ...], Crl | None]] = {}

    @classmethod
    def from_folder(cls, folder: Path) -> CrlStore:
        """Return the lists of *.crl in a folder, which need not exist yet.

        Files are looked at before every judgement, and read again when they changed.
        """
        return cls(folder=folder)

    def named(self, issuer: x509.Name) -> tuple[Crl, ...]:
        """Return the lists that bear this issuer's name; nothing else about them is known."""
        return tuple(crl for crl in self._current() if crl is not None and crl.issuer == issuer)

    def has_malformed(self) -> bool:
        """Return whether something that should be a list cannot be read."""
        return any(crl is None for crl in self._current())

    def _current(self) -> list[Crl | None]:
        if self._folder is None:
            return self._fixed
        with self._lock:
            self._files = {
                path: self._read_if_changed(path) for path in sorted(self._folder.glob("*.crl"))
            }
            return [*self._fixed, *(crl for _, crl in self._files.values())]

    def _read_if_changed(self, path: Path) -> tuple[tuple[int, ...], Crl | None]:
        try:
            status = path.stat()
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            seen = self._files.get(path)
            if seen is not None and seen[0] == version:
                return seen
            return version, _parse_or_none(_read_file(path))
        except OSError:
            return (), None  # an empty version is never current: tried again next time


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(CRL_MAX_BYTES + 1)


def _parse_or_none(unverified_crl: bytes) -> Crl | None:
    """Return a list that came as DER or PEM, None when it is too long or cannot be read."""
    if len(unverified_crl) > CRL_MAX_BYTES:
        return None
    try:
        if unverified_crl.startswith(b"-----BEGIN"):
            return Crl(x509.load_pem_x509_crl(unverified_crl))
        return Crl(x509.load_der_x509_crl(unverified_crl))
    except Exception:  # the library documents no closed list, and reads lazily
        return None


def _read_entries(crl: x509.CertificateRevocationList) -> tuple[frozenset[int], Doubt | None]:
    serials, doubt = set(), None
    for entry in crl:
        serials.add(entry.serial_number)
        for extension in entry.extensions:
            if isinstance(extension.value, x509.CertificateIssuer):
                doubt = Doubt.PARTIAL  # an entry of another issuer: RFC 5280 section 5.3.3
            elif extension.critical and not isinstance(extension.value, _KNOWN_IN_ENTRY):
                doubt = doubt or Doubt.UNKNOWN_EXTENSION
    return frozenset(serials), doubt


def _form_doubt(crl: x509.CertificateRevocationList) -> Doubt | None:
    if extension_of(crl, x509.DeltaCRLIndicator) is not None:
        return Doubt.DELTA
    if extension_of(crl, x509.IssuingDistributionPoint) is not None:
        return Doubt.PARTIAL  # indirect, or about some certificates or reasons only
    if any(e.critical and not isinstance(e.value, _KNOWN) for e in crl.extensions):
        return Doubt.UNKNOWN_EXTENSION  # RFC 5280 section 5.2
    return None if crl.next_update_utc is not None else Doubt.NO_NEXT_UPDATE


def _signature_doubt(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> Doubt | None:
    authority = extension_of(crl, x509.AuthorityKeyIdentifier)
    subject = extension_of(issuer, x509.SubjectKeyIdentifier)
    if authority and subject and authority.key_identifier not in (None, subject.digest):
        return Doubt.OTHER_KEY
    usage = extension_of(issuer, x509.KeyUsage)
    if usage is None or not usage.crl_sign:
        return Doubt.ISSUER_MAY_NOT_SIGN
    return None if _is_signed_by(crl, issuer) else Doubt.BAD_SIGNATURE


def _is_signed_by(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        key = issuer.public_key()
        return has_strong_hash(crl) and crl.is_signature_valid(key)  # type: ignore[arg-type]
    except Exception:  # a kind of key or algorithm that signs no list
        return False

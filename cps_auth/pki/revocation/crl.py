"""One certificate revocation list, and a folder of them that is read again when it changes."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.files import FileVersion, version_of
from cps_auth.pki.certificate.names import name_key
from cps_auth.pki.chain.signatures import Signer, is_signed_with, signer_of
from cps_auth.pki.revocation.crl_entries import (
    Entries,
    NotUnderstood,
    OfAnotherIssuer,
    read_entries,
)
from cps_auth.pki.revocation.crl_header import Doubt, Form, read_form, revoked_part
from cps_auth.pki.revocation.crl_index import FOLDER, Header, open_index, write_index
from cps_auth.pki.revocation.crl_numbers import ListNumbers

CRL_MAX_BYTES = 100 * 1024 * 1024

_NEVER = datetime.max.replace(tzinfo=UTC)
_RACY_NS = 2_000_000_000  # a folder changed this recently may change again unseen


class Crl:
    """A list as it says itself; `doubt_under` tells whether an issuer stands behind it.

    Attributes:
        form: all that it says but its entries.
    """

    def __init__(self, form: Form, entries: Entries | None = None) -> None:
        self.form = form
        self._entries = entries
        self.scope = form.scope
        self._doubts: dict[Signer, Doubt | None] = {}
        self._signature_doubts: dict[str, Doubt | None] = {}  # by key_sha256_hex
        self._source: tuple[x509.CertificateRevocationList, bytes] | None = None
        self._file: tuple[Path, FileVersion] | None = None
        self._mutex = threading.Lock()

    @classmethod
    def parse(cls, unverified_crl: bytes) -> Crl:
        """Read a list from DER or PEM, its entries only once a signature on it was verified.

        Raises:
            ValueError: it cannot be read, or is longer than CRL_MAX_BYTES.
        """
        if len(unverified_crl) > CRL_MAX_BYTES:
            raise ValueError("list: too long")
        try:
            crl, der = _load(unverified_crl)
            read = cls(read_form(crl, der))
        except Exception as error:  # the library documents no closed list, and reads lazily
            raise ValueError(f"list: unreadable, {type(error).__name__}") from None
        read._source = crl, der
        return read

    @classmethod
    def from_file(cls, file: Path, version: FileVersion) -> Crl:
        """Read a list from its index, or itself where there is none that may be believed.

        Raises:
            ValueError, OSError: it cannot be read.
        """
        indexed = open_index(file, version)
        if indexed is not None:
            header, entries = indexed
            crl = cls(header.form, entries)
            crl._signature_doubts[header.key_sha256_hex] = None
            return crl
        with file.open("rb") as opened:
            crl = cls.parse(opened.read(CRL_MAX_BYTES + 1))
        crl._file = file, version
        return crl

    @property
    def number(self) -> int | None:
        """Return the CRLNumber, None when absent."""
        return self.form.number

    @property
    def entries(self) -> Entries:
        """Return the entries, sorted.

        Raises:
            LookupError: nobody's signature on this list was verified yet.
        """
        if self._entries is None:
            raise LookupError("list: not verified")
        return self._entries

    @property
    def entry_count(self) -> int | None:
        """Return how many entries there are, None when nobody's signature was verified yet."""
        return None if self._entries is None else self._entries.count

    def doubt_under(self, issuer: x509.Certificate) -> Doubt | None:
        """Return why this is not a list signed by this issuer, None when it is.

        The signature is verified once per key and remembered, on disk too where we may.
        """
        signer = signer_of(issuer)
        if signer not in self._doubts:
            with self._mutex:
                self._doubts[signer] = self._doubt_under(signer)
        return self._doubts[signer]

    def _doubt_under(self, signer: Signer) -> Doubt | None:
        if not signer.may_sign_lists:
            return Doubt.ISSUER_MAY_NOT_SIGN
        claimed = self.form.authority_key_hex
        if claimed and signer.key_identifier and claimed != signer.key_identifier.hex():
            return Doubt.OTHER_KEY
        key = signer.key_sha256_hex
        if key not in self._signature_doubts:
            self._signature_doubts[key] = self._signature_doubt(signer)
        return self._signature_doubts[key] or self.form.doubt

    def _signature_doubt(self, signer: Signer) -> Doubt | None:
        if self._source is None:  # another key made the signature
            return Doubt.OTHER_KEY
        if not is_signed_with(*self._source, signer.key):
            return Doubt.BAD_SIGNATURE
        der = self._source[1]
        self._source = None  # no other key can have made this signature
        try:
            self._entries = entries = read_entries(der, revoked_part(der))
        except OfAnotherIssuer:
            return Doubt.PARTIAL
        except NotUnderstood:
            return Doubt.UNKNOWN_EXTENSION
        except (ValueError, IndexError):
            return Doubt.MALFORMED
        if self._file is not None:
            file, version = self._file
            header = Header(
                version, signer.key_sha256_hex, self.form, entries.count, entries.serial_width
            )
            write_index(file, header, entries)
        return None


@dataclass(frozen=True)
class Lists:
    """The lists of one moment.

    Attributes:
        by_issuer: by `cps_auth.pki.certificate.names.name_key`; nothing else about them is known.
        has_malformed: whether something that should be a list cannot be read.
        numbers: the highest number seen of every issuer.
    """

    by_issuer: Mapping[str, tuple[Crl, ...]]
    has_malformed: bool
    numbers: ListNumbers

    def unchanged_until(self, at: datetime) -> datetime:
        """Return the next moment at which a list begins or ends to count."""
        following = bisect_left(self._dates, at)
        return self._dates[following] if following < len(self._dates) else _NEVER

    @cached_property
    def _dates(self) -> list[datetime]:
        forms = (crl.form for crls in self.by_issuer.values() for crl in crls)
        dates = (date for form in forms for date in (form.this_update, form.next_update))
        return sorted(filter(None, dates))


class CrlStore:
    """Lists by issuer, from memory or from a folder. Safe to share between threads."""

    def __init__(
        self, unverified_crls: Iterable[bytes] = (), *, folder: Path | None = None
    ) -> None:
        self._fixed = [_parse_or_none(crl) for crl in unverified_crls]
        self._folder = folder
        self._mutex = threading.Lock()
        self._files: dict[str, tuple[FileVersion, Crl | None]] = {}
        self._versions: dict[str, FileVersion] = {}  # of the same files
        self._folder_name = "" if folder is None else str(folder)
        self._folder_version: FileVersion = ()
        self._numbers = ListNumbers(None if folder is None else folder / FOLDER)
        self._lists = self._sorted()

    @classmethod
    def from_folder(cls, folder: Path) -> CrlStore:
        """Return the lists of *.crl in a folder, which need not exist yet.

        Files are looked at before every judgement, and read again when they changed.
        """
        return cls(folder=folder)

    def named(self, issuer: x509.Name) -> tuple[Crl, ...]:
        """Return the lists that bear this issuer's name; nothing else about them is known."""
        return self.current().by_issuer.get(name_key(issuer), ())

    def current(self) -> Lists:
        """Return all lists as they are now, for one judgement."""
        with self._mutex:
            self._refresh()
            return self._lists

    def _refresh(self) -> None:
        folder = self._folder
        if folder is None:
            return
        self._numbers.refresh()
        folder_version = version_of(self._folder_name)
        if self._is_current(folder_version):
            return
        versions = {path: version_of(path) for path in sorted(map(str, folder.glob("*.crl")))}
        if versions != self._versions:
            self._files = {
                path: known
                if (known := self._files.get(path)) and version and known[0] == version
                else (version, _read_or_none(Path(path), version))
                for path, version in versions.items()
            }
            self._lists = self._sorted()
        # last: what failed before is read again
        self._versions, self._folder_version = versions, folder_version

    def _is_current(self, folder_version: FileVersion) -> bool:
        """Whether no file changed, and the folder not even so recently that it may do so unseen."""
        if not folder_version or folder_version != self._folder_version:
            return False
        if time.time_ns() - folder_version[0] <= _RACY_NS:
            return False
        return list(map(version_of, self._versions)) == list(self._versions.values())

    def _sorted(self) -> Lists:
        lists = [*self._fixed, *(crl for _, crl in self._files.values())]
        by_issuer: dict[str, tuple[Crl, ...]] = {}
        for crl in filter(None, lists):
            key = crl.form.issuer_key
            by_issuer[key] = (*by_issuer.get(key, ()), crl)
        return Lists(by_issuer, any(crl is None for crl in lists), self._numbers)


def _read_or_none(path: Path, version: FileVersion) -> Crl | None:
    try:
        return Crl.from_file(path, version)
    except (OSError, ValueError):
        return None


def _parse_or_none(unverified_crl: bytes) -> Crl | None:
    try:
        return Crl.parse(unverified_crl)
    except ValueError:
        return None


def _load(unverified_crl: bytes) -> tuple[x509.CertificateRevocationList, bytes]:
    if unverified_crl.startswith(b"-----BEGIN"):
        crl = x509.load_pem_x509_crl(unverified_crl)
        return crl, crl.public_bytes(Encoding.DER)
    return x509.load_der_x509_crl(unverified_crl), unverified_crl

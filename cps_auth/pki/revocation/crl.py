"""A CRL, and a folder of them that is read again when it changes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.files import FileVersion, version_of
from cps_auth.pki.certificate.names import name_key
from cps_auth.pki.certificate.signature import is_signed_with, signed_parts
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.revocation.crl_entries import Entries, read_entries
from cps_auth.pki.revocation.crl_header import (
    CRL_PROBLEMS,
    CrlHeader,
    CrlProblem,
    read_header,
    revoked_part,
)
from cps_auth.pki.revocation.crl_index import (
    FOLDER,
    IndexHeader,
    open_index,
    write_index,
)
from cps_auth.pki.revocation.crl_numbers import CrlNumbers

CRL_MAX_BYTES = 100 * 1024 * 1024

_RACY_NS = 2_000_000_000  # a folder changed this recently may change again unseen


class Crl:
    """A CRL as it says itself; `signature_problem` tells whether an issuer stands behind it.

    Attributes:
        header: all that it says but its entries.
    """

    def __init__(self, header: CrlHeader, entries: Entries | None = None) -> None:
        self.header = header
        self._entries = entries
        self._problems: dict[str, CrlProblem | None] = {}  # of the signature, by key_sha256_hex
        self._source: tuple[x509.CertificateRevocationList, bytes] | None = None
        self._file: tuple[Path, FileVersion] | None = None
        self._mutex = threading.Lock()

    @classmethod
    def parse(cls, unverified_crl: bytes) -> Crl:
        """Read a CRL from DER or PEM, its entries only once a signature on it was verified.

        Raises:
            ValueError: it cannot be read, or is longer than CRL_MAX_BYTES.
        """
        if len(unverified_crl) > CRL_MAX_BYTES:
            raise ValueError("CRL: too long")
        try:
            crl, der = _load(unverified_crl)
            read = cls(read_header(crl, der))
        except Exception as error:  # the library documents no closed list, and reads lazily
            raise ValueError(f"CRL: unreadable, {type(error).__name__}") from None
        read._source = crl, der
        return read

    @classmethod
    def from_file(cls, file: Path, version: FileVersion) -> Crl:
        """Read a CRL from its index, or itself where there is none that may be believed.

        Raises:
            ValueError, OSError: it cannot be read.
        """
        indexed = open_index(file, version)
        if indexed is not None:
            header, entries = indexed
            crl = cls(header.crl, entries)
            crl._problems[header.key_sha256_hex] = None
            return crl
        with file.open("rb") as opened:
            crl = cls.parse(opened.read(CRL_MAX_BYTES + 1))
        crl._file = file, version
        return crl

    @property
    def entries(self) -> Entries:
        """Return the entries, sorted.

        Raises:
            LookupError: nobody's signature on this CRL was verified yet.
        """
        if self._entries is None:
            raise LookupError("CRL: not verified")
        return self._entries

    @property
    def entry_count(self) -> int | None:
        """Return how many entries there are, None when nobody's signature was verified yet."""
        return None if self._entries is None else self._entries.count

    def problem_under(self, issuer: Issuer) -> CrlProblem | None:
        """Return why this is no complete CRL signed by this issuer, None when it is."""
        return self.signature_problem(issuer) or self.header.problem

    def signature_problem(self, issuer: Issuer) -> CrlProblem | None:
        """Return why an issuer does not stand behind this, None when it does.

        The signature is verified once per key and remembered, on disk too where we may.
        """
        if not issuer.may_sign_crls:  # RFC 5280 section 6.3.3 (f)
            return CrlProblem.ISSUER_MAY_NOT_SIGN
        claimed, identifier = self.header.authority_key_hex, issuer.key_identifier
        if claimed and identifier and claimed != identifier.hex():  # section 5.2.1
            return CrlProblem.OTHER_KEY
        key = issuer.key_sha256_hex
        if key not in self._problems:
            with self._mutex:
                if key not in self._problems:
                    self._problems[key] = self._verify(issuer)
        return self._problems[key]

    def _verify(self, issuer: Issuer) -> CrlProblem | None:
        """Verify the signature, RFC 5280 section 6.3.3 (g), and read the entries."""
        if self._source is None:  # another key made the signature
            return CrlProblem.OTHER_KEY
        crl, der = self._source
        if not is_signed_with(crl, signed_parts(der), issuer.key):
            return CrlProblem.BAD_SIGNATURE
        self._source = None  # no other key can have made this signature
        try:
            entries, problem = read_entries(der, revoked_part(der))
        except (ValueError, IndexError):
            return CrlProblem.MALFORMED
        if problem is not None:
            self.header = msgspec.structs.replace(self.header, problem=problem)
        self._entries = entries
        if self._file is not None:
            file, version = self._file
            width = entries.serial_width
            index = IndexHeader(version, issuer.key_sha256_hex, self.header, entries.count, width)
            write_index(file, index, entries)
        return None


@dataclass(frozen=True)
class CrlSnapshot:
    """The CRLs of one moment.

    Attributes:
        by_issuer: by `cps_auth.pki.certificate.names.name_key`; nothing else about them is known.
        problem: of what should be a CRL and is none, or may not be read; None: all are CRLs.
        numbers: high-water marks of every issuer.
    """

    by_issuer: Mapping[str, tuple[Crl, ...]]
    problem: CrlProblem | None
    numbers: CrlNumbers


class CrlStore:
    """CRLs by issuer, from memory or from a folder. Safe to share between threads."""

    def __init__(
        self, unverified_crls: Iterable[bytes] = (), *, folder: Path | None = None
    ) -> None:
        self._fixed = [_parse(crl) for crl in unverified_crls]
        self._folder = folder
        self._mutex = threading.Lock()
        self._files: dict[str, tuple[FileVersion, Crl | CrlProblem]] = {}
        self._versions: dict[str, FileVersion] = {}  # of the same files
        self._folder_name = "" if folder is None else str(folder)
        self._folder_version: FileVersion = ()
        self._folder_problem: CrlProblem | None = None
        self._numbers = CrlNumbers(None if folder is None else folder / FOLDER)
        self._snapshot = self._sorted()

    @classmethod
    def from_folder(cls, folder: Path) -> CrlStore:
        """Return the CRLs of *.crl in a folder, which need not exist yet.

        Files are looked at before every judgement, and read again when they changed.
        """
        return cls(folder=folder)

    def named(self, issuer: x509.Name) -> tuple[Crl, ...]:
        """Return the CRLs that bear this issuer's name; nothing else about them is known."""
        return self.current().by_issuer.get(name_key(issuer), ())

    def current(self) -> CrlSnapshot:
        """Return all CRLs as they are now, for one judgement."""
        with self._mutex:
            self._refresh()
            return self._snapshot

    def _refresh(self) -> None:
        folder = self._folder
        if folder is None:
            return
        self._numbers.refresh()
        folder_version = version_of(self._folder_name)
        if self._is_current(folder_version):
            return
        problem_before, self._folder_problem = self._folder_problem, None
        try:
            names = sorted(entry.path for entry in os.scandir(folder))
        except FileNotFoundError:
            names = []
        except OSError:
            names, self._folder_problem = [], CrlProblem.UNREADABLE
        versions = {name: version_of(name) for name in names if name.endswith(".crl")}
        if versions != self._versions or self._folder_problem is not problem_before:
            self._files = {
                path: known
                if (known := self._files.get(path)) and version and known[0] == version
                else (version, _read(Path(path), version))
                for path, version in versions.items()
            }
            self._snapshot = self._sorted()
        # last: what failed before is read again
        self._versions, self._folder_version = versions, folder_version

    def _is_current(self, folder_version: FileVersion) -> bool:
        """Whether no file changed, and the folder not even so recently that it may do so unseen."""
        if not folder_version or folder_version != self._folder_version:
            return False
        if time.time_ns() - folder_version[0] <= _RACY_NS:
            return False
        return list(map(version_of, self._versions)) == list(self._versions.values())

    def _sorted(self) -> CrlSnapshot:
        problem = self._folder_problem
        by_issuer: dict[str, tuple[Crl, ...]] = {}
        for crl in (*self._fixed, *(crl for _, crl in self._files.values())):
            if isinstance(crl, CrlProblem):
                problem = crl if problem is None else max(problem, crl, key=CRL_PROBLEMS.index)
            else:
                key = crl.header.issuer_key
                by_issuer[key] = (*by_issuer.get(key, ()), crl)
        return CrlSnapshot(by_issuer, problem, self._numbers)


def _read(path: Path, version: FileVersion) -> Crl | CrlProblem:
    try:
        return Crl.from_file(path, version)
    except PermissionError:
        return CrlProblem.UNREADABLE
    except (OSError, ValueError):
        return CrlProblem.MALFORMED


def _parse(unverified_crl: bytes) -> Crl | CrlProblem:
    try:
        return Crl.parse(unverified_crl)
    except ValueError:
        return CrlProblem.MALFORMED


def _load(unverified_crl: bytes) -> tuple[x509.CertificateRevocationList, bytes]:
    if unverified_crl.startswith(b"-----BEGIN"):
        crl = x509.load_pem_x509_crl(unverified_crl)
        return crl, crl.public_bytes(Encoding.DER)
    return x509.load_der_x509_crl(unverified_crl), unverified_crl

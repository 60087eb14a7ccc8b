"""The CRLs of a folder, read again when it changes, and the highest number of each.

High-water marks of CRL numbers keep an older CRL from coming back: in memory, and in a small file
where there is a folder that only we and root may write to.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509

from cps_auth.files import FileVersion, is_protected, locked, replace_file, version_of
from cps_auth.pki.certificate.names import name_key
from cps_auth.pki.revocation.crl import Crl
from cps_auth.pki.revocation.crl_header import CRL_PROBLEMS, CrlProblem
from cps_auth.pki.revocation.crl_index import FOLDER

_RACY_NS = 2_000_000_000  # a folder changed this recently may change again unseen

_FILE, _LOCK = "numbers.json", "numbers.lock"
_MAX_BYTES = 1024 * 1024
_Numbers = dict[str, str]  # decimal text: a CRLNumber has up to 20 octets
ScopedKey = tuple[str, str]
"""SHA-256 of the key that signs, and what its CRLs are about (`CrlHeader.scope`)."""


class CrlNumbers:
    """Highest numbers by issuer key and scope. Safe to share between threads and processes."""

    def __init__(self, folder: Path | None = None) -> None:
        """Remember in memory, and in a folder that exists and is ours, if one is given."""
        self._folder = folder
        self._mutex = threading.Lock()
        self._known: dict[ScopedKey, int] = {}
        self._version: tuple[int, ...] = ()
        self._unreadable = False
        self._file = "" if folder is None else str(folder / _FILE)
        self.refresh()

    def is_rollback(self, key: ScopedKey, number: int | None) -> bool:
        """Return whether a CRL is older than one that was seen.

        Args:
            key: see `ScopedKey`.
            number: its CRLNumber, None when absent: older than any.

        Raises:
            ValueError: the file cannot be read, so nobody knows.
        """
        with self._mutex:
            if self._unreadable:
                raise ValueError("numbers: unreadable")
            highest = self._known.get(key)
        return highest is not None and (number is None or number < highest)

    def accept(self, key: ScopedKey, number: int | None) -> bool:
        """Return whether a verified CRL is no older than any that was seen; note its number then.

        Arguments and errors as for `is_rollback`.
        """
        if self.is_rollback(key, number):
            return False
        self.saw(key, number)
        return True

    def saw(self, key: ScopedKey, number: int | None) -> None:
        """Remember the number of a CRL that was verified; none, or a lower one, changes nothing.

        Raises:
            ValueError: the file cannot be read.
        """
        with self._mutex:
            if self._unreadable or number is None or number <= self._known.get(key, -1):
                return
            self._known[key] = number
            if self._folder is not None and is_protected(self._folder, writable=True):
                self._write(key, number)

    def refresh(self) -> None:
        """Read what other processes wrote since. Asked once for every judgement."""
        with self._mutex:
            try:
                status = os.stat(self._file)  # noqa: PTH116, a third of the time of Path.stat
            except FileNotFoundError:
                return  # nobody wrote any yet
            except OSError:  # there, perhaps, and not for us to read
                self._unreadable = self._folder is not None
                return
            version = (status.st_mtime_ns, status.st_size, status.st_ino)
            if version != self._version and is_protected(Path(self._file)):
                self._read_again()
                self._version = version

    def _read_again(self) -> None:
        try:
            for key, number in _read(Path(self._file)).items():
                self._known[key] = max(number, self._known.get(key, -1))
            self._unreadable = False
        except ValueError:
            self._unreadable = True

    def _write(self, key: ScopedKey, number: int) -> None:
        folder = self._folder
        if folder is None:
            return
        try:
            with locked(folder / _LOCK):
                on_disk = _read(folder / _FILE) if (folder / _FILE).exists() else {}
                on_disk[key] = max(number, on_disk.get(key, -1))
                text = {":".join(name): str(value) for name, value in on_disk.items()}
                replace_file(folder / _FILE, msgspec.json.encode(text))
        except OSError:
            return  # a disk that is full or read-only: remembered in memory


def _read(file: Path) -> dict[ScopedKey, int]:
    try:
        with file.open("rb") as opened:
            numbers = msgspec.json.decode(opened.read(_MAX_BYTES), type=_Numbers)
        return {
            (key, scope): int(number)
            for name, number in numbers.items()
            for key, _, scope in (name.partition(":"),)
        }
    except (OSError, ValueError) as error:
        raise ValueError("numbers: unreadable") from error


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
                else (version, _read_crl(Path(path), version))
                for path, version in versions.items()
            }
            self._snapshot = self._sorted()
        # last: what failed before is read again
        self._versions, self._folder_version = versions, folder_version

    def _is_current(self, folder_version: FileVersion) -> bool:
        """Return whether no file changed, nor the folder so recently that it may do so unseen."""
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


def _read_crl(path: Path, version: FileVersion) -> Crl | CrlProblem:
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

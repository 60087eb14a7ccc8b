"""CRL number high-water marks: the highest number of every issuer's CRLs, so that none goes back.

In memory, and in a small file where there is a folder that only we and root may write to.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path

import msgspec

from cps_auth.files import is_protected, locked, replace_file

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

    def highest(self, key: ScopedKey) -> int | None:
        """Return the highest number seen, None when there is none.

        Raises:
            ValueError: the file cannot be read, so nobody knows.
        """
        with self._mutex:
            if self._unreadable:
                raise ValueError("numbers: unreadable")
            return self._known.get(key)

    def accept(self, key: ScopedKey, number: int | None) -> bool:
        """Return whether a verified CRL is no older than any that was seen; note its number then.

        Args:
            key: see `ScopedKey`.
            number: its CRLNumber, None when absent: older than any.

        Raises:
            ValueError: as `highest`.
        """
        highest = self.highest(key)
        if highest is not None and (number is None or number < highest):
            return False
        if number is not None and number != highest:
            self.saw(key, number)
        return True

    def saw(self, key: ScopedKey, number: int) -> None:
        """Remember a number of a CRL that was verified; a lower one changes nothing.

        Raises:
            ValueError: the file cannot be read.
        """
        with self._mutex:
            if self._unreadable or number <= self._known.get(key, -1):
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

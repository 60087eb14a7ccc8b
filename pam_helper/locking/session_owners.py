"""Who opened which account's session: a small file that outlives the daemon, not the boot.

With it a daemon that was killed while the card was out locks what it left open, and a session
stays the property of the holder who opened it.
"""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec

from cps_auth.errors import ConfigurationError
from cps_auth.files import read_protected, write_protected

OWNERS_FILE = "sessions.json"
MAX_OWNERS_BYTES = 1024 * 1024


class Owners:
    """A mapping from account to PS_IdNat, written through to a file that only root can read."""

    def __init__(self, path: Path) -> None:
        """Load what an earlier daemon left.

        Args:
            path: the file; its folder exists and is root's.

        Raises:
            ConfigurationError: it is there and cannot be believed.
        """
        self._path = path
        self._mutex = threading.Lock()
        self._owners = _read(path)

    def all(self) -> dict[str, str]:
        """Return account and PS_IdNat of every session."""
        with self._mutex:
            return dict(self._owners)

    def owner_of(self, account: str) -> str | None:
        """Return the PS_IdNat of the holder whose session it is, None if there is none."""
        with self._mutex:
            return self._owners.get(account)

    def put(self, account: str, ps_idnat: str) -> None:
        """Remember an owner, on disk before this returns.

        Raises:
            ConfigurationError: it cannot be written; nothing changed.
        """
        with self._mutex:
            self._write({**self._owners, account: ps_idnat})

    def forget(self, account: str) -> None:
        """Forget an owner whose session is over.

        Raises:
            ConfigurationError: it cannot be written; nothing changed.
        """
        with self._mutex:
            rest = {name: owner for name, owner in self._owners.items() if name != account}
            if rest != self._owners:
                self._write(rest)

    def _write(self, owners: dict[str, str]) -> None:
        if owners == self._owners:
            return
        write_protected(self._path, msgspec.json.encode(owners))
        self._owners = owners


def _read(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(read_protected(path, MAX_OWNERS_BYTES), type=dict[str, str])
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None

"""Owners of sessions: a small file that outlives the daemon, not the boot.

With it a daemon that was killed while the card was out locks what it left open, and nothing else;
and a session stays the property of the holder who opened it.
"""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec

from cps_auth.errors import ConfigurationError
from cps_auth.files import read_protected, write_protected

OWNERS_FILE = "sessions.json"
MAX_OWNERS_BYTES = 1024 * 1024


class SessionOwner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The holder who opened an account's sessions by card.

    Attributes:
        ps_idnat: of the holder.
        sessions: ids of logind; None for all that the account has (a daemon before 0.2 wrote so).
        login_pids: of login programs whose session is still to come.
        is_followed: whether a card watches over them; not after a password or a one-time code.
    """

    ps_idnat: str
    sessions: tuple[str, ...] | None = ()
    login_pids: tuple[int, ...] = ()
    is_followed: bool = True


class SessionOwners:
    """Owners by account, written through to a file that only root can read."""

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

    def all(self) -> dict[str, SessionOwner]:
        """Return every owner, by account."""
        with self._mutex:
            return dict(self._owners)

    def owner_of(self, account: str) -> SessionOwner | None:
        """Return the holder whose sessions they are, None if there are none."""
        with self._mutex:
            return self._owners.get(account)

    def put(self, account: str, owner: SessionOwner | None) -> None:
        """Store an owner, on disk before this returns; None forgets.

        Raises:
            ConfigurationError: it cannot be written; nothing changed.
        """
        with self._mutex:
            owners = {name: one for name, one in self._owners.items() if name != account}
            if owner is not None:
                owners[account] = owner
            if owners != self._owners:
                write_protected(self._path, msgspec.json.encode(owners))
                self._owners = owners


def _read(path: Path) -> dict[str, SessionOwner]:
    try:
        content = read_protected(path, MAX_OWNERS_BYTES)
        found = msgspec.json.decode(content, type=dict[str, SessionOwner | str])
    except FileNotFoundError:
        return {}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    return {
        account: SessionOwner(owner, None) if isinstance(owner, str) else owner
        for account, owner in found.items()
    }

"""Owners of sessions: which logind sessions a verified login has opened, and whose they are.

A session that was opened by a password follows no card, whatever card is in its reader. logind
names the process that opened a session (its leader): where that is the program that asked us, the
session is ours. A lock screen opens the session that it runs in; a display manager may do either.

It stands in a small file that outlives the daemon, not the boot: a daemon that was killed while the
card was out locks what it left open, and nothing else; and a session stays its holder's.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from cps_auth.errors import ConfigurationError
from cps_auth.files import read_protected, write_protected
from pam_helper.locking.lockers import DesktopSession, LogindSessions

OWNERS_FILE = "sessions.json"
MAX_OWNERS_BYTES = 1024 * 1024
COMES_WITHIN_S = 120.0
"""A login program that has ended may have left its session to another process for so long."""

_SCOPE = re.compile(r"/session-([A-Za-z0-9]+)\.scope")


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


@dataclass(frozen=True, slots=True)
class Login:
    """A program that asked for a verified login.

    Attributes:
        pid: its process.
        service: its PAM service.
        unlocks: whether it opens a screen that is locked, too, and not only a new session.
        at_s: when it asked, on the monotonic clock.
        before: ids of the sessions that there were.
        opened: whether a session that there was has been claimed for it.
        is_decided: whether it was known, when it asked, which sessions there were.
    """

    pid: int
    service: str = ""
    unlocks: bool = True
    at_s: float = 0.0
    before: frozenset[str] = frozenset()
    opened: bool = False
    is_decided: bool = True

    @property
    def is_running(self) -> bool:
        """Return whether its process is still there."""
        return Path(f"/proc/{self.pid}").exists()


class Claims:
    """The sessions that are claimed, and the logins whose session is still to come."""

    def __init__(self, ids: frozenset[str] = frozenset(), logins: tuple[Login, ...] = ()) -> None:
        """Claim these sessions, by id, and wait for what these logins open."""
        self._ids = ids
        self._logins = logins

    def with_login(self, login: Login, known: LogindSessions | None) -> Claims:
        """Return the claims after a verified login.

        Args:
            login: the program that asked.
            known: the account's sessions now; None when nobody can tell, which is made up for.
        """
        login = replace(login, at_s=time.monotonic(), is_decided=False)
        claims = Claims(self._ids, (*self._logins, login))
        if known is not None:
            claims.update(known)
        return claims

    def restore(self, owner: SessionOwner, known: LogindSessions) -> None:
        """Take over what an earlier daemon has written down.

        Args:
            owner: as it was stored.
            known: the account's sessions now.
        """
        self._ids = _ids(known) if owner.sessions is None else frozenset(owner.sessions)
        now_s, before = time.monotonic(), _ids(known)
        # If it has claimed nothing, it may not have known what there was.
        decided = bool(owner.sessions)
        self._logins = tuple(
            Login(pid, at_s=now_s, before=before, is_decided=decided) for pid in owner.login_pids
        )

    def owner(self, ps_idnat: str, *, is_followed: bool = True) -> SessionOwner:
        """Return what is to be stored."""
        pids = tuple(login.pid for login in self._logins if not login.opened)
        return SessionOwner(ps_idnat, tuple(sorted(self._ids)), pids, is_followed)

    def of(self, known: LogindSessions) -> LogindSessions:
        """Return those of the account's sessions that are claimed."""
        return frozenset(session for session in known if session.session_id in self._ids)

    def update(self, known: LogindSessions) -> bool:
        """Claim sessions that have come, drop what is over; return whether that changed anything.

        Args:
            known: the account's sessions now.
        """
        before = (self._ids, self._logins)
        self._ids &= _ids(known)
        self._logins = tuple(self._decided(login, known) for login in self._logins)
        for session in sorted(known, key=lambda session: session.session_id):
            if session.session_id not in self._ids:
                login = next((one for one in self._logins if _is_from(one, session)), None)
                if login is not None:
                    self._ids |= {session.session_id}
                    self._logins = tuple(one for one in self._logins if one is not login)
        self._logins = tuple(one for one in self._logins if one.is_running or _is_awaited(one))
        return before != (self._ids, self._logins)

    def _decided(self, login: Login, known: LogindSessions) -> Login:
        """Claim what a login opens of the sessions that there are, once these are known."""
        if login.is_decided:
            return login
        opened = _opened_by(login, known)
        self._ids |= opened
        return replace(login, before=_ids(known), opened=bool(opened), is_decided=True)

    def awaits_login(self) -> bool:
        """Return whether the session of a login is still to come."""
        return any(_is_awaited(login) for login in self._logins)

    def is_empty(self, known: LogindSessions | None) -> bool:
        """Return whether nothing is claimed any more; False when nobody can tell."""
        if known is None:
            return not self._ids and not self._logins
        return not self.of(known) and not self.awaits_login()


def _ids(sessions: LogindSessions) -> frozenset[str]:
    return frozenset(session.session_id for session in sessions)


def _opened_by(login: Login, known: LogindSessions) -> frozenset[str]:
    """Return the sessions that a lock screen or a display manager opens: its own, else any."""
    if not login.unlocks:
        return frozenset()
    own = _session_of(login.pid)
    if own in _ids(known):
        return frozenset((own,))
    return frozenset(session.session_id for session in known if session.is_graphical)


def _is_awaited(login: Login) -> bool:
    since_s = time.monotonic() - login.at_s
    return not login.opened and (login.is_running or since_s < COMES_WITHIN_S)


def _is_from(login: Login, session: DesktopSession) -> bool:
    """Return whether a session was opened by the program that asked, or by nobody knows whom."""
    if session.session_id in login.before:
        return False
    if session.leader_pid and (login.is_running or login.opened):
        return login.pid in (session.leader_pid, *_ancestors(session.leader_pid))
    return not login.opened


def _session_of(pid: int) -> str:
    """Return the id of the logind session in which a process runs, "" for none."""
    with contextlib.suppress(OSError):
        found = _SCOPE.search(Path(f"/proc/{pid}/cgroup").read_text())
        return found.group(1) if found else ""
    return ""


def _ancestors(pid: int) -> Iterator[int]:
    """Return a process's parents, nearest first."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        while pid > 1:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            pid = int(fields[1])
            yield pid

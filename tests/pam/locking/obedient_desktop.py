"""A logind and a locker in memory: what a test lets happen, happens."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from pam_helper.locking.lockers import DesktopSession, LockerExit, LockProof, LogindSessions


@dataclass
class ObedientDesktop:
    """A logind and a locker in memory: what a test lets happen, happens."""

    there: dict[str, LogindSessions] = field(default_factory=dict)
    locked: set[DesktopSession] = field(default_factory=set)
    hidden: set[DesktopSession] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    answers: bool = True  # whether the desktop can be asked at all
    locks: bool = True  # whether the locker locks
    ends: bool = True  # whether a terminated session ends
    name: str = "obedient"
    needs_logind: bool = False
    told: dict[DesktopSession, list[LockerExit]] = field(default_factory=dict)  # when a cover falls

    def log_in(
        self, account: str, *, kind: str = "x11", name: str = "", leader_pid: int = 0
    ) -> DesktopSession:
        """Open a session, as a login program does after PAM."""
        name = name or f"c{account}"
        session = DesktopSession(
            name, f"/session/{name}", account, 1, ":9", kind, leader_pid or os.getpid()
        )
        if kind == "tty":
            session = DesktopSession(
                name, session.path, account, 1, "", kind, leader_pid or os.getpid()
            )
        self.there[account] = self.there.get(account, frozenset()) | {session}
        return session

    def sessions(self, account: str) -> LogindSessions | None:
        """See `pam_helper.locking.lockers.Desktop`."""
        return self.there.get(account, frozenset()) if self.answers else None

    def lock(self, session: DesktopSession, exited: LockerExit, *, opening: bool) -> LockProof:
        """See `pam_helper.locking.lockers.Locker`."""
        del opening
        self.done.append("lock")
        if not self.locks:
            return LockProof.NONE
        self.told.setdefault(session, []).append(exited)
        self.locked.add(session)
        return LockProof.WATCHED

    def fall(self, session: DesktopSession, *, ended_well: bool) -> None:
        """Uncover a session; everybody who locked it hears of that."""
        self.locked.discard(session)
        for exited in self.told.pop(session, ()):
            exited(ended_well)

    def locked_hint(self, sessions: LogindSessions) -> LogindSessions | None:
        """See `pam_helper.locking.lockers.Desktop`."""
        return frozenset(self.locked & sessions) if self.answers else None

    def terminate(self, sessions: LogindSessions) -> LogindSessions:
        """See `pam_helper.locking.lockers.Desktop`."""
        self.done.append("terminate")
        if not self.ends:
            return frozenset()
        for session in sessions:
            self.there[session.account] -= {session}
        return sessions

    def hide(self, sessions: LogindSessions) -> bool:
        """See `pam_helper.locking.lockers.Desktop`."""
        self.hidden |= sessions
        return True

    def show(self, sessions: LogindSessions) -> None:
        """See `pam_helper.locking.lockers.Desktop`."""
        self.hidden -= sessions

"""A logind and a locker in memory: what a test lets happen, happens."""

from __future__ import annotations

from dataclasses import dataclass, field

from pam_helper.locking.lockers import DesktopSession, Gone, Sessions


@dataclass
class ObedientDesktop:
    """A logind and a locker in memory: what a test lets happen, happens."""

    there: dict[str, Sessions] = field(default_factory=dict)
    locked: set[DesktopSession] = field(default_factory=set)
    done: list[str] = field(default_factory=list)
    answers: bool = True  # whether the desktop can be asked at all
    locks: bool = True  # whether the locker locks
    ends: bool = True  # whether a terminated session ends
    name: str = "obedient"
    needs_logind: bool = False
    told: dict[DesktopSession, list[Gone]] = field(default_factory=dict)  # when a cover falls

    def log_in(self, account: str, *, kind: str = "x11") -> DesktopSession:
        """Open a session, as a login program does after PAM."""
        session = DesktopSession(f"c{account}", f"/session/{account}", account, 1, ":9", kind)
        self.there[account] = self.there.get(account, frozenset()) | {session}
        return session

    def sessions(self, account: str) -> Sessions | None:
        """See `pam_helper.locking.lockers.Desktop`."""
        return self.there.get(account, frozenset()) if self.answers else None

    def lock(self, sessions: Sessions, gone: Gone) -> Sessions:
        """See `pam_helper.locking.lockers.Locker`."""
        self.done.append("lock")
        for session in sessions:
            self.told.setdefault(session, []).append(gone)
        confirmed = sessions if self.locks else frozenset()
        self.locked |= confirmed
        return confirmed

    def fall(self, session: DesktopSession, ended_well: bool) -> None:
        """Uncover a session; everybody who locked it hears of that."""
        self.locked.discard(session)
        for gone in tuple(self.told.get(session, ())):
            gone(session, ended_well)

    def hinted(self, sessions: Sessions) -> Sessions | None:
        """See `pam_helper.locking.lockers.Desktop`."""
        return frozenset(self.locked & sessions) if self.answers else None

    def unlock(self, sessions: Sessions) -> None:
        """See `pam_helper.locking.lockers.Desktop`."""
        self.done.append("unlock")
        self.locked -= sessions

    def terminate(self, sessions: Sessions) -> Sessions:
        """See `pam_helper.locking.lockers.Desktop`."""
        self.done.append("terminate")
        if not self.ends:
            return frozenset()
        for session in sessions:
            self.there[session.account] -= {session}
        return sessions

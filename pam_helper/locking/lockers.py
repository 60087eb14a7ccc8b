"""Ports of locking: lockers, the sessions that they lock, the desktop that lists these."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pam_helper.locking.running_lockers import NOTHING_RUNS, RunningLockers


@dataclass(frozen=True, slots=True)
class DesktopSession:
    """One logind session of an account, at this machine."""

    session_id: str  # of logind, such as "c2"
    path: str  # its D-Bus object
    account: str
    uid: int
    display: str = ""  # X11 display, "" when logind does not say
    kind: str = ""  # logind's Type: x11, wayland, tty, unspecified
    leader_pid: int = 0  # of the program that opened it after PAM; 0 when logind does not say

    @property
    def is_graphical(self) -> bool:
        """Return whether a screen locker can cover it: not a text console."""
        return bool(self.display) or self.kind in ("x11", "wayland", "mir")


LogindSessions = frozenset[DesktopSession]

LockerExit = Callable[[bool], None]
"""Told, from any thread, that a locker covers its session no more; True if it ended as a locker
does that has let somebody in, False if it died or that cannot be told."""


class LockProof(enum.Enum):
    """Proofs of a lock, seen after it was asked for."""

    NONE = "none"  # counts as open
    SEEN = "seen"  # the screen is covered; its end is told by logind, or by nobody
    WATCHED = "watched"  # the screen is covered, and its `LockerExit` will be told


class Locker(Protocol):
    """One way to lock."""

    @property
    def name(self) -> str:
        """Return its name in the settings and in the log."""

    @property
    def needs_logind(self) -> bool:
        """Return whether it can do nothing while logind does not answer."""

    def lock(self, session: DesktopSession, exited: LockerExit, *, opening: bool) -> LockProof:
        """Lock, and wait for a confirmation, for as long as a desktop may really need.

        Args:
            session: what is to be locked.
            exited: called once if it was confirmed and its locker is gone, where that can be seen.
            opening: a login has just been verified: what covers the session now may be on its
                way out, and its word counts only once it has been seen open.

        Returns:
            What was seen after it was asked. Never raises.
        """


class Desktop(Protocol):
    """The people who are logged in at this machine: logind, seen by the daemon. Never raises."""

    def sessions(self, account: str) -> LogindSessions | None:
        """Return the account's local sessions, None when nobody can tell."""

    def locked_hint(self, sessions: LogindSessions) -> LogindSessions | None:
        """Return those that say of themselves that they are locked, None when nobody can tell."""

    def terminate(self, sessions: LogindSessions) -> LogindSessions:
        """End sessions and wait for it; return those that are over."""

    def hide(self, sessions: LogindSessions) -> bool:
        """Show another screen in place of these sessions'; return whether that was possible."""

    def show(self, sessions: LogindSessions) -> None:
        """Show the sessions again that `hide` has hidden."""


@dataclass(frozen=True, slots=True)
class Locking:
    """Configuration of locking: the lockers in the order of the settings, and logind.

    Attributes:
        locks_again: a screen that a password opens is locked again.
        running: which lockers' processes are at work.
        next_after_s: how long a locker is waited for before the next one is asked as well.
        end_after_s: after how long a session that nothing covers is ended, None for never.
    """

    desktop: Desktop
    lockers: Sequence[Locker]
    locks_again: bool = True
    running: RunningLockers = NOTHING_RUNS
    next_after_s: float = 1.0
    end_after_s: float | None = None

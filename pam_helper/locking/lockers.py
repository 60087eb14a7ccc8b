"""What can lock a screen, and what it must promise: it returns only what it has seen locked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pam_helper.locking.running_lockers import NO_COVERS, Covers


@dataclass(frozen=True, slots=True)
class DesktopSession:
    """One logind session of an account, at this machine."""

    session_id: str  # of logind, such as "c2"
    path: str  # its D-Bus object
    account: str
    uid: int
    display: str = ""  # X11 display, "" when logind does not say
    kind: str = ""  # logind's Type: x11, wayland, tty, unspecified


Sessions = frozenset[DesktopSession]

Gone = Callable[[DesktopSession, bool], None]
"""Told, from any thread, that a locker which had confirmed covers the session no more; True if
it ended as a locker does that has let somebody in, False if it died or that cannot be told."""


class Locker(Protocol):
    """One way to lock."""

    @property
    def name(self) -> str:
        """Return its name in the settings and in the log."""

    @property
    def needs_logind(self) -> bool:
        """Whether it can do nothing while logind does not answer."""

    def lock(self, sessions: Sessions, gone: Gone) -> Sessions:
        """Lock, and wait for the confirmation or for this locker's deadline.

        Args:
            sessions: what is to be locked; not empty.
            gone: called for a confirmed session whose locker is gone, if that can be seen.

        Returns:
            Those that are confirmed to be locked. All others count as open. Never raises.
        """


class Desktop(Protocol):
    """Who is logged in at this machine: logind, seen by the daemon."""

    def sessions(self, account: str) -> Sessions | None:
        """Return the account's local sessions, None when nobody can tell. Never raises."""

    def hinted(self, sessions: Sessions) -> Sessions | None:
        """Return those that say of themselves that they are locked, None when nobody can tell.

        Never raises.
        """

    def unlock(self, sessions: Sessions) -> None:
        """Ask to unlock; a locker that does not listen stays as it is. Never raises."""

    def terminate(self, sessions: Sessions) -> Sessions:
        """End sessions and wait for it; return those that are over. Never raises."""


@dataclass(frozen=True, slots=True)
class Locking:
    """How this machine locks: the lockers in the order of the settings, and its logind."""

    desktop: Desktop
    lockers: Sequence[Locker]
    locks_again: bool = True  # a screen that opens without a card is locked again
    covers: Covers = NO_COVERS  # which lockers' processes are at work

    def unlock(self, sessions: Sessions) -> None:
        """Ask to unlock what was opened; what covered it counts no more, should it still run."""
        for session in sessions:
            self.covers.forget(session.session_id)
        self.desktop.unlock(sessions)

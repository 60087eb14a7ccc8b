"""Locks with logind's `Session.Lock`, confirmed by a `LockedHint` that becomes true afterwards.

`Lock` is never simply repeated: KDE, asked again while it acts on the first, kills its own window
manager. Nor is it sent blindly while a desktop opens: KDE swallows it until it is open.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from jeepney import HeaderFields, Message  # type: ignore[import-untyped]  # jeepney ships no types
from jeepney.io.blocking import DBusConnection, open_dbus_connection  # type: ignore[import-untyped]  # as above

from pam_helper.locking.lockers import DesktopSession, LockerExit, LockProof
from pam_helper.locking.logind import LOOK_AGAIN_S, is_locked, property_changes, tell

PATIENCE_S = 10.0
"""A desktop may need so long to lock: GNOME 43 stalled for 1.6 s, KDE took 1.0 s (docs/pam.md)."""
OPENS_WITHIN_S = 1.0
"""A desktop is given this long to open by itself before it is told to lock whatever it says."""
ACTS_WITHIN_S = 2.0
"""A desktop that was told to lock is not told again within this time."""
GREETERS = ("kscreenlocker_g",)
"""Programs of a lock screen that outlive the lock, as /proc/PID/comm names them: 15 letters."""
GREETER_LEAVES_S, _LOOK_S = 2.0, 0.02

_log = logging.getLogger(__name__)


class LockedHint(Protocol):
    """The LockedHint of one session, change by change."""

    @property
    def is_locked(self) -> bool:
        """Return what it said last."""

    def becomes(self, value: bool, within_s: float) -> bool:
        """Wait until the hint has this value, were it for a moment; False if it never has."""

    def ask(self) -> None:
        """Send the session its Lock signal."""


FollowHint = Callable[[DesktopSession], contextlib.AbstractContextManager[LockedHint]]


class LogindLocker:
    """Sends `Lock` and waits for the hint; a `Locker`."""

    name = "logind"
    needs_logind = True

    def __init__(
        self,
        patience_s: float = PATIENCE_S,
        follow: FollowHint | None = None,
        greeter_runs: Callable[[int], bool] | None = None,
    ) -> None:
        """Lock with logind.

        Args:
            patience_s: how long a desktop may take to set its LockedHint.
            follow: follows the hint of a session; over D-Bus by default.
            greeter_runs: looks whether a user's lock screen has a program of its own that runs;
                in /proc by default.
        """
        self._patience_s = patience_s
        self._follow = follow or _follow_on_bus
        self._greeter_runs = greeter_runs or _greeter_runs
        self._asked_s: dict[str, float] = {}  # when a session was told to lock, monotonic

    def lock(self, session: DesktopSession, exited: LockerExit, *, opening: bool) -> LockProof:
        """Send the session its Lock signal and wait for its hint; see `Locker`.

        A hint that goes again is told by `desktop_events`. A text console's proves nothing.
        """
        del exited
        if not session.is_graphical:
            return LockProof.NONE
        try:
            with self._follow(session) as hint:
                locked = self._lock(session, hint, opening=opening)
        except Exception as error:  # jeepney raises many kinds, and all mean: not known
            _log.warning("logind does not answer: %s %s", type(error).__name__, error)
            return LockProof.NONE
        return LockProof.SEEN if locked else LockProof.NONE

    def _lock(self, session: DesktopSession, hint: LockedHint, *, opening: bool) -> bool:
        session_id = session.session_id
        deadline_s = time.monotonic() + self._patience_s
        if hint.is_locked:  # before it was asked, which proves nothing
            if opening and hint.becomes(False, OPENS_WITHIN_S):
                pass
            else:
                if self._since_asked_s(session_id) >= self._patience_s:
                    self._ask(session_id, hint)  # it may be a lie: GNOME locks all the same
                if not opening or not hint.becomes(False, deadline_s - time.monotonic()):
                    return False
        since_s = self._since_asked_s(session_id)
        if since_s < ACTS_WITHIN_S and hint.becomes(True, ACTS_WITHIN_S - since_s):
            return True
        if self._locks_before_its_greeter_leaves(session, hint):
            return True
        self._ask(session_id, hint)
        return hint.becomes(True, deadline_s - time.monotonic())

    def _locks_before_its_greeter_leaves(self, session: DesktopSession, hint: LockedHint) -> bool:
        """Wait for the end of the old lock's greeter: KDE cannot start a new one before.

        Or it is the one of a lock that somebody else has asked for: then the hint comes true.
        """
        until_s = time.monotonic() + GREETER_LEAVES_S
        while self._greeter_runs(session.uid) and time.monotonic() < until_s:
            if hint.becomes(True, _LOOK_S):
                return True
        return False

    def _since_asked_s(self, session_id: str) -> float:
        return time.monotonic() - self._asked_s.get(session_id, float("-inf"))

    def _ask(self, session_id: str, hint: LockedHint) -> None:
        self._asked_s[session_id] = time.monotonic()
        hint.ask()


def _greeter_runs(uid: int) -> bool:
    """Return whether the user has one of `GREETERS`, one that nobody has waited for included."""
    with os.scandir("/proc") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                is_theirs = entry.name.isdecimal() and entry.stat().st_uid == uid
                if is_theirs and Path(entry.path, "comm").read_text().strip() in GREETERS:
                    return True
    return False


@contextlib.contextmanager
def _follow_on_bus(session: DesktopSession) -> Iterator[LockedHint]:
    with open_dbus_connection(bus="SYSTEM") as bus, property_changes(bus) as changes:
        yield _BusHint(bus, changes, session)


class _BusHint:
    """A `LockedHint` over D-Bus."""

    def __init__(
        self, bus: DBusConnection, changes: deque[Message], session: DesktopSession
    ) -> None:
        self._bus = bus
        self._changes = changes
        self._session = session
        self.is_locked = is_locked(bus, session)

    def becomes(self, value: bool, within_s: float) -> bool:
        """See `LockedHint`."""
        deadline_s = time.monotonic() + within_s
        while self.is_locked is not value:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            self._next(min(left_s, LOOK_AGAIN_S))
        return True

    def _next(self, within_s: float) -> None:
        """Take the next change, or look again where none comes."""
        try:
            message = self._bus.recv_until_filtered(self._changes, timeout=within_s)
        except TimeoutError:
            self.is_locked = is_locked(self._bus, self._session)
            return
        path = message.header.fields.get(HeaderFields.path)
        _, value = message.body[1].get("LockedHint", (None, None))
        if path == self._session.path and isinstance(value, bool):
            self.is_locked = value

    def ask(self) -> None:
        """See `LockedHint`."""
        tell(self._bus, self._session, "Lock")

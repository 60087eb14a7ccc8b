"""A desktop as KDE's: it takes its time, and swallows `Lock` until it is open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pam_helper.locking.lockers import DesktopSession, LogindSessions

SESSION = DesktopSession("c2", "/session/c2", "camille", 1000, "", "wayland", os.getpid())


class SlowDesktop:
    """A logind with one graphical session, whose locker is slow to come and slow to go.

    Attributes:
        state: "open", "acquiring" (asked to lock), "locked", "opening" (still looks locked),
            "leaving" (looks open, and swallows `Lock`: Plasma 6 until its greeter has ended).
        has_died: it was asked to lock while it was acting on that: KDE's window manager dies so.
        lock_s, open_s, leave_s: how long it takes.
        changed: told of every change of the LockedHint.
    """

    def __init__(self) -> None:
        self.state = "open"
        self.has_died = False
        self.lock_s = self.open_s = self.leave_s = 0.0
        self.changed: Callable[[], None] = lambda: None
        self.is_there = True
        self._condition = threading.Condition()
        self._hints = [False]

    def ask(self) -> None:
        """Hear `Lock`."""
        with self._condition:
            self.has_died |= self.state == "acquiring"
            if self.state != "open":
                return
            self._turn("acquiring")
        self._later(self.lock_s, "acquiring", "locked")

    def let_in(self) -> None:
        """Open, as after a yes of PAM."""
        with self._condition:
            if self.state != "locked":
                return
            self._turn("opening")
        self._later(self.open_s, "opening", "leaving")

    def greeter_runs(self, uid: int) -> bool:
        """Return whether the lock screen's own program is there."""
        with self._condition:
            return uid == SESSION.uid and self.state != "open"

    def _later(self, seconds: float, before: str, after: str) -> None:
        def turn() -> None:
            with self._condition:
                if self.state != before:
                    return
                self._turn(after)
            if after == "leaving":
                self._later(self.leave_s, "leaving", "open")
            self.changed()

        timer = threading.Timer(seconds, turn)
        timer.daemon = True
        timer.start()

    def _turn(self, state: str) -> None:
        self.state = state
        hint = state in ("locked", "opening")
        if hint is not self._hints[-1]:
            self._hints.append(hint)
        self._condition.notify_all()

    def await_rest(self, within_s: float) -> None:
        """Wait until it neither opens nor locks."""
        with self._condition:
            assert self._condition.wait_for(lambda: self.state in ("open", "locked"), within_s)

    @contextmanager
    def follow(self, session: DesktopSession) -> Iterator[_Hint]:
        """See `pam_helper.locking.logind_locker.FollowHint`."""
        del session
        yield _Hint(self)

    def sessions(self, account: str) -> LogindSessions | None:
        """See `pam_helper.locking.lockers.Desktop`."""
        return frozenset((SESSION,) if account == SESSION.account and self.is_there else ())

    def locked_hint(self, sessions: LogindSessions) -> LogindSessions | None:
        """See `pam_helper.locking.lockers.Desktop`."""
        with self._condition:
            return sessions if self._hints[-1] else frozenset()

    def terminate(self, sessions: LogindSessions) -> LogindSessions:
        """See `pam_helper.locking.lockers.Desktop`: nothing here may ever be ended."""
        raise AssertionError(f"{sessions} was ended")

    def hide(self, sessions: LogindSessions) -> bool:
        """See `pam_helper.locking.lockers.Desktop`."""
        return bool(sessions)

    def show(self, sessions: LogindSessions) -> None:
        """See `pam_helper.locking.lockers.Desktop`."""


class _Hint:
    """The hint since somebody began to look."""

    def __init__(self, desktop: SlowDesktop) -> None:
        self._desktop = desktop
        self._seen = len(desktop._hints) - 1

    @property
    def is_locked(self) -> bool:
        """Return what was seen last."""
        return self._desktop._hints[self._seen]

    def becomes(self, value: bool, within_s: float) -> bool:
        """Wait for a change to this value, were it for a moment."""
        desktop = self._desktop

        def next_is() -> bool:
            while self.is_locked is not value and self._seen + 1 < len(desktop._hints):
                self._seen += 1
            return self.is_locked is value

        with desktop._condition:
            return desktop._condition.wait_for(next_is, max(0.0, within_s))

    def ask(self) -> None:
        """Send `Lock`."""
        self._desktop.ask()

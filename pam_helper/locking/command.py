"""A screen locker that is started as a command, as the session's own user.

A command that is merely running proves nothing. It is believed in two cases only:
- it ends with exit code 0 in time (i3lock forks and its first process ends once its window is
  up; `xscreensaver-command -lock` ends when the screen saver has answered);
- it closes the file descriptor named by XSS_SLEEP_LOCK_FD and goes on running. That is how
  xss-lock's lockers say "the screen is covered": xsecurelock, i3lock -n and others do.
A command that does neither counts as refused, and the next locker is asked. One that an earlier
daemon has started, and that still runs, is not started a second time.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import select
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pam_helper.locking.lockers import DesktopSession, LockerExit, LockProof
from pam_helper.locking.running_lockers import NOTHING_RUNS, RunningLocker, RunningLockers

_DIES_WITHIN_S = 0.1
"""A process that ends closes its descriptors this much before its end can be seen."""
_LOOK_AGAIN_S = 0.02
OPENING_VARIABLE = "CPS_AUTH_OPENING"
"""Tells our own program for screen savers whether a login was verified just now: "1" or "0"."""

_log = logging.getLogger(__name__)


class CommandLocker:
    """Locks the graphical sessions of X11 or Wayland with a command from the settings."""

    needs_logind = False

    def __init__(
        self,
        argv: Sequence[str],
        patience_s: float,
        name: str = "command",
        running: RunningLockers = NOTHING_RUNS,
    ) -> None:
        """Lock with a command.

        Args:
            argv: the command and its arguments; no shell is involved.
            patience_s: how long it may take until it is believed.
            name: the locker's name in the settings and in the log.
            running: where it is written down what covers a screen.
        """
        self.name = name
        self._argv = tuple(argv)
        self._patience_s = patience_s
        self._running = running

    def lock(self, session: DesktopSession, exited: LockerExit, *, opening: bool) -> LockProof:
        """Run the command and wait for its proof; see `Locker`."""
        deadline_s = time.monotonic() + self._patience_s
        attempt = self._start(session, opening=opening) if session.is_graphical else None
        return LockProof.NONE if attempt is None else attempt.proof(deadline_s, exited)

    def _start(self, session: DesktopSession, *, opening: bool) -> _Attempt | _AtWork | None:
        look = partial(self._running.of_another, session.session_id, self.name)
        at_work = look()
        if at_work is not None:
            _log.info("session %s: process %d is at work", session.session_id, at_work.pid)
            return _AtWork(at_work, look)
        note = partial(self._running.put, session.session_id, self.name)
        try:
            return _Attempt(self._argv, session, note, opening=opening)
        except (OSError, KeyError, subprocess.SubprocessError) as error:
            _log.warning("locker command for session %s: %s", session.session_id, error)
            return None


class _AtWork:
    """A command that another process has started: the daemon before, or whoever survived it."""

    def __init__(self, found: RunningLocker, look: Callable[[], RunningLocker | None]) -> None:
        self._found = found
        self._look = look

    def proof(self, deadline_s: float, exited: LockerExit) -> LockProof:
        """Wait until it is written down that it covers; see `_Attempt`."""
        while not self._found.is_confirmed:
            if time.monotonic() >= deadline_s:
                return LockProof.NONE
            time.sleep(_LOOK_AGAIN_S)
            found = self._look()
            if found is None:
                return LockProof.NONE
            self._found = found
        threading.Thread(target=self._outlive, args=(exited,), daemon=True).start()
        return LockProof.WATCHED

    def _outlive(self, tell: LockerExit) -> None:
        self._found.wait_until_over()
        tell(False)  # only its parent is told how it ended


class _Attempt:
    """One running command and the pipe whose end says that the screen is covered."""

    def __init__(
        self,
        argv: Sequence[str],
        session: DesktopSession,
        note: Callable[..., None],
        *,
        opening: bool,
    ) -> None:
        self._session_id = session.session_id
        self._note = note
        user = pwd.getpwuid(session.uid)
        already = os.geteuid() == user.pw_uid  # then nothing is to be given up
        reading, writing = os.pipe()
        alive, held = os.pipe()  # whoever covers the screen inherits `held`, and holds it
        try:
            self._process = subprocess.Popen(  # noqa: S603 - argv from a root-owned file, no shell
                argv,
                env={
                    **_environment(session, user),
                    "XSS_SLEEP_LOCK_FD": str(writing),
                    OPENING_VARIABLE: str(int(opening)),
                },
                pass_fds=(writing, held),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
                umask=0o077,
                user=None if already else user.pw_uid,
                group=None if already else user.pw_gid,
                extra_groups=None if already else os.getgrouplist(user.pw_name, user.pw_gid),
            )
        except BaseException:
            os.close(reading)
            os.close(alive)
            raise
        finally:
            os.close(writing)
            os.close(held)
        self._covered = reading
        self._alive = alive
        note(self._process.pid, is_confirmed=False)

    def proof(self, deadline_s: float, exited: LockerExit) -> LockProof:
        """Wait for one of the two proofs; the process is left running and reaped when it ends.

        Args:
            deadline_s: on the monotonic clock.
            exited: called when a confirmed locker that can be watched is gone.
        """
        outlive: Callable[[], object] = self._process.wait
        try:
            if not self._wait(deadline_s):
                return LockProof.NONE
            self._note(self._process.pid, is_confirmed=True)
            if self._is_watched():
                outlive = partial(self._outlive, exited)
                return LockProof.WATCHED
            return LockProof.SEEN
        finally:
            os.close(self._covered)
            threading.Thread(target=self._reap, args=(outlive,), daemon=True).start()

    def _is_watched(self) -> bool:
        """Return whether somebody stayed behind who covers the screen.

        One that went into the background is seen by the descriptor that it inherited. One whose
        first process ended and that left nobody (a command that talks to a screen saver) is not.
        """
        gone, _, _ = select.select([self._alive], [], [], 0)
        return self._process.poll() is None or not gone

    def _reap(self, outlive: Callable[[], object]) -> None:
        outlive()
        os.close(self._alive)

    def _outlive(self, exited: LockerExit) -> None:
        """Report the end of the locker; of one in the background nobody learns how it ended."""
        if self._process.poll() is None:
            exited(self._process.wait() == 0)
        else:
            os.read(self._alive, 1)
            exited(False)

    def _wait(self, deadline_s: float) -> bool:
        while (left_s := deadline_s - time.monotonic()) > 0:
            if self._process.poll() is not None:
                return self._ended_well()
            readable, _, _ = select.select([self._covered], [], [], min(left_s, _LOOK_AGAIN_S))
            if readable and not os.read(self._covered, 1):
                return self._goes_on() or self._ended_well()
        _log.warning("locker command for session %s did not confirm in time", self._session_id)
        return False

    def _goes_on(self) -> bool:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_DIES_WITHIN_S)
        return self._process.returncode is None

    def _ended_well(self) -> bool:
        if self._process.returncode:
            _log.warning(
                "locker command for session %s ended with %d",
                self._session_id,
                self._process.returncode,
            )
        return self._process.returncode == 0


def _environment(session: DesktopSession, user: pwd.struct_passwd) -> Mapping[str, str]:
    """Return a fresh environment: nothing of the daemon's own reaches the user's process.

    logind does not tell Wayland's socket, nor where a display manager put the X11 cookie (GDM and
    SDDM: in the runtime folder): they are looked for where these are.
    """
    home = Path(user.pw_dir)
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": user.pw_dir,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
        "SHELL": user.pw_shell,
        "LANG": "C.UTF-8",
        "XDG_RUNTIME_DIR": f"/run/user/{user.pw_uid}",
        "XDG_SESSION_ID": session.session_id,
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path=/run/user/{user.pw_uid}/bus",
    }
    if session.display:
        environment["DISPLAY"] = session.display
    runtime = Path(environment["XDG_RUNTIME_DIR"])
    screens = [path for path in runtime.glob("wayland-*") if path.is_socket()]
    if session.kind == "wayland" and len(screens) == 1:
        environment["WAYLAND_DISPLAY"] = screens[0].name
    cookies = (runtime / "gdm/Xauthority", *runtime.glob("xauth_*"), home / ".Xauthority")
    authority = next((path for path in cookies if path.is_file()), None)
    if authority is not None:
        environment["XAUTHORITY"] = str(authority)
    return environment

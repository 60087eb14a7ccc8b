"""Registry of running lockers: a screen locker outlives the daemon that started it.

The next daemon finds it at work and believes what it has proven. A second locker could not take
the screen from the first: it would be refused, and the session ended with what was not saved.
A process is known by its id and the moment of its start, which no later one has in common.
"""

from __future__ import annotations

import logging
import os
import re
import select
from contextlib import suppress
from pathlib import Path

import msgspec

from cps_auth.errors import ConfigurationError
from cps_auth.files import read_protected, write_protected

FOLDER = "covers"
"""Inside the daemon's folder, which is on a tmpfs as the processes do not outlive the boot."""
_MAX_BYTES = 4096
_SESSION_ID = re.compile(r"[A-Za-z0-9]{1,64}")  # of logind, such as "c2"
_STATE, _START_TIME = 0, 19  # of the fields behind the name in /proc/PID/stat, proc(5)
_OVER = ("Z", "X")

_log = logging.getLogger(__name__)


class RunningLocker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A locker's process.

    Attributes:
        pid: its id.
        started_ticks: when it was started, in clock ticks since the boot.
        started_by_pid: who started it.
        is_confirmed: whether it has proven that it covers the screen.
    """

    pid: int
    started_ticks: int
    started_by_pid: int
    is_confirmed: bool = False

    def is_running(self) -> bool:
        """Return whether it is still there."""
        return started_ticks(self.pid) == self.started_ticks

    def wait_until_over(self) -> None:
        """Wait for its end, whoever its parent is."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.is_running():  # the descriptor is its own, not a later process's
                    select.select([descriptor], [], [])
            finally:
                os.close(descriptor)


class RunningLockers:
    """Lockers' processes by session and name. Never raises: without a note a locker still locks."""

    def __init__(self, state: Path | None = None) -> None:
        """Write nothing yet.

        Args:
            state: the daemon's folder; None to remember nothing.
        """
        self._folder = None if state is None else state / FOLDER

    def put(self, session_id: str, locker: str, pid: int, *, is_confirmed: bool) -> None:
        """Remember a process of ours that covers a session, or is about to."""
        place, started = self._place(session_id, locker), started_ticks(pid)
        if place is None or started is None:
            return
        cover = RunningLocker(pid, started, os.getpid(), is_confirmed)
        try:
            place.parent.mkdir(mode=0o700, exist_ok=True)
            # A screen waits for its cover: not for a disk, for a process that ends with the power
            write_protected(place, msgspec.json.encode(cover), durable=False)
        except (OSError, ConfigurationError) as error:
            _log.warning("cover of session %s is not written down: %s", session_id, error)

    def of_another(self, session_id: str, locker: str) -> RunningLocker | None:
        """Return the running locker of a session that another process has started, if any."""
        place = self._place(session_id, locker)
        if place is None:
            return None
        try:
            cover = msgspec.json.decode(read_protected(place, _MAX_BYTES), type=RunningLocker)
        except (FileNotFoundError, ConfigurationError, msgspec.DecodeError, UnicodeDecodeError):
            return None
        is_ours = cover.started_by_pid == os.getpid()
        return None if is_ours or not cover.is_running() else cover

    def forget(self, session_id: str) -> None:
        """Believe none of a session's lockers any more, even one that runs: it was opened."""
        places = self._place(session_id, "*")
        if places is None:
            return
        with suppress(OSError):
            for place in places.parent.glob(places.name):
                place.unlink(missing_ok=True)

    def _place(self, session_id: str, locker: str) -> Path | None:
        if self._folder is None or not _SESSION_ID.fullmatch(session_id):
            return None
        return self._folder / f"{session_id}-{locker}.json"


NOTHING_RUNS = RunningLockers()
"""Remembers nothing."""


def started_ticks(pid: int) -> int | None:
    """Return when a process was started, None when it is over."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].decode("ascii").split()
    except OSError:
        return None
    return None if fields[_STATE] in _OVER else int(fields[_START_TIME])

"""Locks up when the daemon dies: a process that waits for its end, by force or by a crash.

The next daemon locks first of all, but not before the service manager has started it, and Python
has started: seconds, on a PC that is busy. This process has that behind it, and hears of the
daemon's end at once, by a pipe that closes with it: `python -I -m pam_helper.locking.watchdog`.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from cps_auth.config import Settings, read_settings
from cps_auth.errors import ConfigurationError
from pam_helper.locking.locker_order import locking_of
from pam_helper.locking.session import LOCK_UP_WITHIN_S, lock_unwatched
from pam_helper.locking.session_owners import OWNERS_FILE, Owners

_IN_ORDER: Final = b"in order"
_ENDS_WITHIN_S: Final = 1.0

_log = logging.getLogger("pam_helper.locking.watchdog")  # it runs as __main__


class Survivor:
    """The daemon's end of it."""

    def __init__(self, config: Path, state: Path) -> None:
        """Start it. Never raises: a daemon without one is locked up by the next.

        Args:
            config: the settings, which say how to lock.
            state: the daemon's folder, where it stands which sessions are open.
        """
        self._process: subprocess.Popen[bytes] | None = None
        words = [sys.executable, "-I", "-m", "pam_helper.locking.watchdog", str(config), str(state)]
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, no shell
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the daemon
            )
        except OSError as error:
            _log.critical("nobody locks up should this process die: %s", error.strerror)

    @property
    def is_alive(self) -> bool:
        """Whether it runs, if the system gave a process for it."""
        return self._process is None or self._process.poll() is None

    def dismiss(self) -> None:
        """End it: the daemon has locked up itself. Never raises, may be called twice."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.communicate(_IN_ORDER, _ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def survive(daemon: BinaryIO, config: Path, state: Path) -> None:
    """Wait for the daemon's end, and lock what it has left open.

    Args:
        daemon: ends with it, after a word if it ends in order.
        config, state: as for `Survivor`.

    Raises:
        ConfigurationError: nobody can tell what was open.
    """
    if daemon.read() == _IN_ORDER:
        return
    _log.critical("the daemon has died: locking the sessions that it followed")
    settings = Settings()
    with suppress(ConfigurationError):
        settings = read_settings(config)
    left = lock_unwatched(Owners(state / OWNERS_FILE).all(), locking_of(settings, state))
    deadline_s = time.monotonic() + LOCK_UP_WITHIN_S
    for session in left.values():
        session.settle(max(0.0, deadline_s - time.monotonic()))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    survive(sys.stdin.buffer, Path(sys.argv[1]), Path(sys.argv[2]))

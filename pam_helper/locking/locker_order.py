"""The lockers of the settings, in their order."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path

from cps_auth.config import Settings
from pam_helper.locking.command import CommandLocker
from pam_helper.locking.lockers import Locker, Locking
from pam_helper.locking.logind import Logind
from pam_helper.locking.logind_locker import PATIENCE_S, LogindLocker
from pam_helper.locking.running_lockers import RunningLockers


def locking_of(settings: Settings, state: Path) -> Locking:
    """Return how this machine locks.

    Args:
        settings: name the lockers.
        state: the daemon's folder, see `pam_helper.locking.running_lockers`.
    """
    lock = settings.lock
    running = RunningLockers(state)
    screen_saver = [sys.executable, "-I", "-m", "pam_helper.locking.screensaver", str(PATIENCE_S)]
    if "logind" in itertools.takewhile(lambda name: name != "screensaver", lock.lockers):
        screen_saver.append("logind-asked")
    made: dict[str, Callable[[], Locker]] = {
        "logind": LogindLocker,
        "screensaver": lambda: CommandLocker(screen_saver, PATIENCE_S, "screensaver", running),
        "command": lambda: CommandLocker(lock.command, PATIENCE_S, "command", running),
    }
    return Locking(
        Logind(),
        tuple(made[name]() for name in lock.lockers),
        settings.locks_again,
        running,
        lock.confirm_within_s,
        lock.end_after_s if lock.last_resort == "end" else None,
    )

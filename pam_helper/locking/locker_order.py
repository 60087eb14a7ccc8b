"""The lockers of the settings, in their order."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from cps_auth.config import Settings
from pam_helper.locking.command import CommandLocker
from pam_helper.locking.lockers import Locker, Locking
from pam_helper.locking.logind import Logind, LogindLocker
from pam_helper.locking.running_lockers import Covers

SCREEN_SAVER_STARTS_WITHIN_S = 1.0
"""For the program that talks to the user's bus to start."""


def locking_of(settings: Settings, state: Path) -> Locking:
    """Return how this machine locks.

    Args:
        settings: name the lockers.
        state: the daemon's folder, see `pam_helper.locking.running_lockers`.
    """
    within_s = settings.lock.confirm_within_s
    covers = Covers(state)
    screen_saver = (sys.executable, "-I", "-m", "pam_helper.locking.screensaver", str(within_s))
    made: dict[str, Callable[[], Locker]] = {
        "logind": lambda: LogindLocker(within_s),
        "screensaver": lambda: CommandLocker(
            screen_saver, within_s + SCREEN_SAVER_STARTS_WITHIN_S, "screensaver", covers
        ),
        "command": lambda: CommandLocker(settings.lock.command, within_s, "command", covers),
    }
    lockers = tuple(made[name]() for name in settings.lock.lockers)
    return Locking(Logind(), lockers, settings.locks_again, covers)

"""Locks up behind a daemon that has died: what the unit's `ExecStopPost=` runs.

`python -I -m pam_helper.lock_up CONFIG STATE`, which systemd starts at once after a kill or
a crash, before it starts the next daemon. After a stop in order there is nothing to do.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from cps_auth.config import Settings, read_settings
from cps_auth.errors import ConfigurationError
from pam_helper.locking.locker_order import locking_of
from pam_helper.locking.session import LOCK_UP_WITHIN_S, lock_unwatched
from pam_helper.locking.session_owners import OWNERS_FILE, SessionOwners

_log = logging.getLogger("pam_helper.lock_up")  # it runs as __main__


def lock_up(config: Path, state: Path) -> None:
    """Lock the sessions that the daemon followed when it died.

    Args:
        config: the settings, which say how to lock.
        state: the daemon's folder, where it stands which sessions are open.

    Raises:
        ConfigurationError: nobody can tell what was open.
    """
    settings = Settings()
    with suppress(ConfigurationError):
        settings = read_settings(config)
    owners = SessionOwners(state / OWNERS_FILE).all()
    deadline_s = time.monotonic() + LOCK_UP_WITHIN_S
    for session in lock_unwatched(owners, locking_of(settings, state)).values():
        session.settle(max(0.0, deadline_s - time.monotonic()))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    if os.environ.get("SERVICE_RESULT") != "success":
        _log.critical("the daemon has died: locking the sessions that it followed")
        lock_up(Path(sys.argv[1]), Path(sys.argv[2]))

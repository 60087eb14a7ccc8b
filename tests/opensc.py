"""OpenSC as this system has it: not every version can log in to a CPS3."""

from __future__ import annotations

import shutil
import subprocess

import pytest

DEFECT = "OpenSC 0.24 and later forgets which PIN it asked the card about: docs/card.md"


def _version() -> tuple[int, ...]:
    """Return the version, () where there is no OpenSC."""
    if shutil.which("opensc-tool") is None:
        return ()
    command = ["opensc-tool", "--info"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return tuple(int(part) for part in told.split()[1].split(".")[:2])


LOGS_IN = _version() < (0, 24)

needs_login = pytest.mark.skipif(not LOGS_IN, reason=DEFECT)
"""For what cannot be done without a login; `test_pkcs11_opensc` holds that it is still so."""

"""Builds `pam_cps.so` where a compiler and the headers of PAM are; else says what is missing."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from cps_auth.errors import ConfigurationError

SOURCES = Path(__file__).parents[1] / "share" / "pam_cps"
HEADER = Path("/usr/include/security/pam_modules.h")
BUILD_WITHIN_S = 60.0

FLAGS = (
    *("-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-fvisibility=hidden"),
    *("-fstack-protector-strong", "-fstack-clash-protection"),
    *("-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"),  # Ubuntu's gcc has a value of its own
    *("-shared", "-Wl,-z,relro,-z,now,-z,noexecstack,-z,defs", "-Wl,--build-id=none", "-s"),
)
"""Hardened; without a build id, so that the same sources and compiler give the same bytes. No
-Werror: what a later compiler only warns of must not keep a practice from installing."""


def obstacle() -> str | None:
    """Return what is missing for a build, None when nothing is."""
    if shutil.which("gcc") is None:
        return "no gcc"
    return None if HEADER.is_file() else "no headers of PAM (Debian: libpam0g-dev)"


def build() -> bytes:
    """Compile the module.

    Returns:
        The shared library.

    Raises:
        ConfigurationError: it cannot be built here.
    """
    missing = obstacle()
    if missing is not None:
        raise ConfigurationError(f"pam_cps.so cannot be built: {missing}")
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "pam_cps.so"
        sources = [path.name for path in sorted(SOURCES.glob("*.c"))]
        try:
            done = subprocess.run(  # noqa: S603 - fixed words and our own files, no shell
                ["gcc", *FLAGS, "-o", str(library), *sources, "-lpam"],  # noqa: S607 - root's PATH
                cwd=SOURCES,
                capture_output=True,
                timeout=BUILD_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise ConfigurationError(f"pam_cps.so cannot be built: {error}") from None
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace")[:500]
            raise ConfigurationError(f"pam_cps.so cannot be built: {said}")
        return library.read_bytes()

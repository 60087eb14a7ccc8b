"""Installs what the stand-in runs on: oidc-provider, at the locked versions, by npm."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OURS = Path(__file__).parent
FILES = ("package.json", "package-lock.json", "provider.mjs")
INSTALL_S = 600


class StandInUnavailable(OSError):
    """Node, npm or the packages are not there; the message says what to do."""


def installed_folder() -> Path:
    """Return where the stand-in is, or is to be: in the virtual environment, else in the cache."""
    content = b"".join((OURS / name).read_bytes() for name in FILES)
    name = f"psc-stand-in-{hashlib.sha256(content).hexdigest()[:16]}"
    if sys.prefix != sys.base_prefix:
        return Path(sys.prefix) / "share" / "cps-auth-mocks" / name
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "cps-auth-mocks" / name


def _environment() -> dict[str, str]:
    """Return this environment, with node's own extra authorities known to npm, too.

    A `cafile` of some npmrc takes their place otherwise.
    """
    extra = os.environ.get("NODE_EXTRA_CA_CERTS")
    return {**os.environ, **({"npm_config_cafile": extra} if extra else {})}


def is_installed() -> bool:
    """Return whether the stand-in could start."""
    return shutil.which("node") is not None and installed_folder().exists()


def install() -> Path:
    """Install the stand-in unless it is there; return its folder.

    Raises:
        StandInUnavailable: no node or npm, or the registry could not be reached.
    """
    folder = installed_folder()
    if shutil.which("node") is None:
        raise StandInUnavailable("node 18 or newer is needed: apt install nodejs npm")
    if folder.exists():
        return folder
    npm = shutil.which("npm")
    if npm is None:
        raise StandInUnavailable("npm is needed: apt install npm")
    making = folder.with_name(f"{folder.name}.{os.getpid()}")
    making.mkdir(parents=True)
    try:
        for name in FILES:
            shutil.copy(OURS / name, making / name)
        done = subprocess.run(  # noqa: S603 (npm with fixed arguments)
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev"],
            cwd=making,
            env=_environment(),
            capture_output=True,
            timeout=INSTALL_S,
            check=False,
        )
        if done.returncode != 0:
            raise StandInUnavailable(done.stderr.decode(errors="replace")[-400:])
        try:
            making.rename(folder)
        except OSError:  # another process was faster
            if not folder.exists():
                raise
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return folder

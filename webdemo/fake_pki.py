"""The demo's fake IGC-Santé: made once (keys take seconds), kept, made anew when old."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS

GOOD_FOR = timedelta(days=180)
"""Well within the life of its certificates and lists."""


def default_folder() -> Path:
    """Return the per-user folder (XDG Base Directory), another one for other personas."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    personas = hashlib.sha256(repr(PERSONAS).encode()).hexdigest()[:12]
    return Path(cache) / "cps-auth" / f"fake-igc-sante-{personas}"


def fake_pki(folder: Path) -> FakeIgcSante:
    """Load the hierarchy that is kept in `folder`, making it if there is none or it is old.

    Args:
        folder: where to keep it; created if absent. One process at a time makes it.
    """
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with folder.with_name(folder.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_good(folder):
            _make(folder)
    return FakeIgcSante.load(folder)


def _is_good(folder: Path) -> bool:
    if not (folder / "trust.toml").exists():
        return False
    age = datetime.now(UTC) - FakeIgcSante.load(folder).made_at
    return timedelta(0) <= age < GOOD_FOR


def _make(folder: Path) -> None:
    """Write beside it first: a demo that is stopped half-way leaves nothing half-made."""
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".making-"))
    try:
        FakeIgcSante.create().write(fresh)
        if folder.exists():
            shutil.rmtree(folder)
        fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)

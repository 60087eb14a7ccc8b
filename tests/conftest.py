"""Fixtures of the whole session."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from hardware_mocks.igc import FakeIgcSante


@pytest.fixture(scope="session")
def igc_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fake IGC-Santé, made once per run and shared by its processes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "igc"
    with (shared / "igc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            FakeIgcSante.create().write(folder)
            (folder / "complete").touch()
    return folder


@pytest.fixture(scope="session")
def igc(igc_dir: Path) -> FakeIgcSante:
    """The fake IGC-Santé of this run, with all its keys."""
    return FakeIgcSante.load(igc_dir)

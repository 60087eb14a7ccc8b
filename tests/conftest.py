"""Fixtures of the whole session."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest

from cps_auth.login.challenge import issue_challenge
from cps_auth.model import Challenge
from cps_auth.pki.judge import Judge, folder_judge
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.pro_sante_connect.installed import is_installed
from hardware_mocks.pytest_plugin import kept_folder, teller

hypothesis.settings.register_profile("suite", deadline=None)  # a busy machine is no defect
hypothesis.settings.load_profile("suite")

# A shell gives what it starts in the background SIGINT and SIGQUIT ignored, nohup SIGHUP, and every
# child inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
for _ignored in (signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(_ignored) is signal.SIG_IGN:
        signal.signal(_ignored, signal.SIG_DFL)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of this suite."""
    parser.addoption("--cycles", type=int, default=25, help="of insertion, login and removal")
    parser.addoption(
        "--card-serial", help="8 digits of the physical card that tests/device may use"
    )
    parser.addoption("--card-pin-file", help="file with its right PIN; only then is one sent")


@pytest.fixture(scope="session")
def igc_dir(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a fake IGC-Santé, one per run and shared by its processes.

    Its keys take ten seconds, so they are kept in pytest's cache; the run gets a copy.
    """
    assert request.config.cache is not None
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder = shared / "igc"
    with (shared / "igc.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            cache = request.config.cache.mkdir("cps-auth-mocks")
            kept = kept_folder(cache, teller(request.config))
            shutil.copytree(kept, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def igc(igc_dir: Path) -> FakeIgcSante:
    """The fake IGC-Santé of this run, with all its keys."""
    return FakeIgcSante.load(igc_dir)


@pytest.fixture
def judge(igc_dir: Path) -> Judge:
    """A judge that trusts the fake IGC-Santé and has its lists; it has judged nothing yet."""
    return folder_judge(igc_dir)


@pytest.fixture
def challenge() -> Challenge:
    """A fresh challenge."""
    return issue_challenge("https://cabinet.example", at=datetime.now(UTC))


@pytest.fixture(scope="session")
def psc_installed() -> None:
    """Skips where the stand-in Pro Santé Connect could not be installed: it comes by npm."""
    if not is_installed():
        pytest.skip("oidc-provider is not installed (npm): ./dev setup")

"""Fixtures for whoever builds on cps-auth; loaded by pytest wherever cps-auth-mocks is installed.

`docs/mocks.md` shows them at work.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

# The rest is imported by the fixtures that need it: this module is loaded in every pytest run.
if TYPE_CHECKING:
    from flask import Flask

    from cps_auth.pki.judge import Judge
    from hardware_mocks.card.virtual_card import VirtualCard
    from hardware_mocks.flask_client import CpsClient
    from hardware_mocks.igc.fake_igc import FakeIgcSante
    from hardware_mocks.personas import Persona
    from hardware_mocks.readers.cps_reader import CpsReader

_RENEWED_AFTER = timedelta(days=30)  # long before its lists end
_COMPLETE = "complete"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--cps-pki DIR`."""
    parser.getgroup("cps-auth-mocks").addoption(
        "--cps-pki",
        type=Path,
        metavar="DIR",
        help="use this fake IGC-Santé (`python -m hardware_mocks pki DIR`), not the cached one",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker `cps`."""
    config.addinivalue_line(
        "markers", "cps(persona='doctor', kind='cps3'): which card the fixture cps_card is"
    )


@pytest.fixture(scope="session")
def cps_pki_folder(request: pytest.FixtureRequest) -> Path:
    """The folder of the fake IGC-Santé, as `cps-auth --trust` takes it.

    Made once and kept in pytest's cache, since its keys take seconds; shared by all processes.
    """
    chosen: Path | None = request.config.getoption("--cps-pki")
    if chosen is not None:
        return chosen
    cache: pytest.Cache | None = getattr(request.config, "cache", None)
    if cache is None:
        factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        return kept_folder(factory.mktemp("cps-auth-mocks"), teller(request.config))
    return kept_folder(cache.mkdir("cps-auth-mocks"), teller(request.config))


def teller(config: pytest.Config) -> Callable[[str], None]:
    """Return what prints a line at once, past pytest's capturing."""

    def tell(line: str) -> None:
        capturing = config.pluginmanager.getplugin("capturemanager")
        past = capturing.global_and_fixture_disabled() if capturing else contextlib.nullcontext()
        with past:
            print(f"\n{line}", file=sys.stderr, flush=True)

    return tell


def kept_folder(base: Path, tell: Callable[[str], None]) -> Path:
    """Return a fake IGC-Santé inside `base`, made if it is missing, old, or another version's.

    Args:
        base: a folder that several processes may share.
        tell: prints a line: its keys take ten seconds to make, half a minute on a busy machine.
    """
    from hardware_mocks.igc.fake_igc import FakeIgcSante

    folder = base / folder_version()
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _is_fresh(folder):
            shutil.rmtree(folder, ignore_errors=True)
            tell("cps-auth-mocks: making the keys of a fake IGC-Santé, once")
            FakeIgcSante.create().write(folder)
            (folder / _COMPLETE).touch()
    return folder


def folder_version() -> str:
    """Name the folder: it changes with the code that makes the folder."""
    here = Path(__file__).parent
    sources = sorted([*(here / "igc").glob("*.py"), here / "personas.py"])
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]


def _is_fresh(folder: Path) -> bool:
    from hardware_mocks.igc.fake_igc import FakeIgcSante

    if not (folder / _COMPLETE).exists():
        return False
    with contextlib.suppress(OSError, ValueError, KeyError):
        age = datetime.now(UTC) - FakeIgcSante.load(folder).made_at
        return timedelta(0) <= age < _RENEWED_AFTER
    return False


@pytest.fixture(scope="session")
def fake_igc_sante(cps_pki_folder: Path) -> FakeIgcSante:
    """The whole fake hierarchy, with its keys: it issues whatever a test asks for."""
    from hardware_mocks.igc.fake_igc import FakeIgcSante

    return FakeIgcSante.load(cps_pki_folder)


@pytest.fixture(scope="session")
def cps_judge(cps_pki_folder: Path) -> Judge:
    """A judge that trusts the fake IGC-Santé, lists included: what an application is given."""
    from cps_auth.pki.judge import folder_judge

    return folder_judge(cps_pki_folder)


@pytest.fixture(scope="session")
def cps_personas() -> Mapping[str, Persona]:
    """Every invented holder by name."""
    from hardware_mocks.personas import PERSONAS

    return PERSONAS


@pytest.fixture
def cps_reader(fake_igc_sante: FakeIgcSante) -> CpsReader:
    """One virtual reader, empty; `cps_reader.cards` is what an application is given."""
    from hardware_mocks.readers.cps_reader import CpsReader

    return CpsReader(fake_igc_sante)


@pytest.fixture
def cps_card(request: pytest.FixtureRequest, cps_reader: CpsReader) -> VirtualCard:
    """A new card in `cps_reader`: the doctor's CPS3, or what the marker `cps` says."""
    marker = request.node.get_closest_marker("cps")
    arguments = {} if marker is None else dict(marker.kwargs)
    persona, kind = arguments.pop("persona", "doctor"), arguments.pop("kind", "cps3")
    if arguments or (marker is not None and marker.args):
        raise pytest.UsageError("the marker is cps(persona=…, kind=…)")
    return cps_reader.insert(persona, kind)


@pytest.fixture
def cps_client(cps_reader: CpsReader) -> Iterator[Callable[[Flask], CpsClient]]:
    """Open a browser at a Flask application: `cps_client(app).log_in("doctor")`."""
    from hardware_mocks.flask_client import CpsClient, stop_watching

    apps: list[Flask] = []

    def open_browser(app: Flask) -> CpsClient:
        apps.append(app)
        return CpsClient(app, cps_reader)

    yield open_browser
    for app in apps:
        stop_watching(app)

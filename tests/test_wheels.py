"""What is installed: the product without a mock, the mocks as a distribution of their own."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def _wheel_names(project: Path, folder: Path) -> set[str]:
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", folder, project],
        check=True,
        capture_output=True,
    )
    (wheel,) = folder.glob("*.whl")
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Return the names in the wheel of cps-auth."""
    return _wheel_names(ROOT, tmp_path_factory.mktemp("product"))


def test_a_wheel_runs_from_an_empty_folder(tmp_path: Path) -> None:
    """Unpacked away from the sources, it starts and knows its words, pages and styles."""
    (tmp_path / "wheel").mkdir()
    _wheel_names(ROOT, tmp_path / "wheel")
    (wheel,) = (tmp_path / "wheel").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")  # noqa: S202 (our own)
    (tmp_path / "empty").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", _LOGIN_PAGE, tmp_path / "installed"],
        cwd=tmp_path / "empty",
        env={"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["200", "200"]


_LOGIN_PAGE = """
import sys, tempfile, unittest.mock
from pathlib import Path
from flask import Flask
import cps_auth
from cps_auth.flask import CpsLogin
assert Path(cps_auth.__file__).is_relative_to(sys.argv[1]), cps_auth.__file__
app = Flask("installed")
app.config.update(SECRET_KEY="k", CPS_ORIGIN="https://a.test", CPS_WEB_EID=True)
app.config["CPS_DATABASE"] = str(Path.cwd() / "sessions.sqlite3")
CpsLogin(app, judge=unittest.mock.Mock())
page = app.test_client().get("/cps/login?lang=fr", base_url="https://a.test")
assert "carte" in page.text
style = app.test_client().get("/cps/static/cps.css", base_url="https://a.test")
print(page.status_code, style.status_code)
"""


def test_the_product_holds_no_mock(product: set[str]) -> None:
    """A production install has neither the mocks nor the demo on disk."""
    folders = {name.split("/")[0] for name in product if ".dist-info" not in name}
    assert folders == {"cps_auth", "pam_helper"}


def test_the_product_holds_what_is_not_python(product: set[str]) -> None:
    """Catalogue, templates, type marker, and the PAM side's files are shipped."""
    assert {
        "cps_auth/py.typed",
        "cps_auth/locale/fr/LC_MESSAGES/cps_auth.mo",
        "cps_auth/flask/pages/templates/cps/login.html",
        "cps_auth/share/systemd/cps-auth-trust-update.timer",
        "pam_helper/share/pam.d/cps-auth",
        "pam_helper/share/pam_cps/pam_cps.c",
    } <= product


def test_the_lowest_versions_are_those_that_are_tried() -> None:
    """`./dev test lowest` installs exactly the lower bounds of the product and its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"]]
    asked += [
        one for name in extras.keys() - {"dev", "demo", "docs", "release"} for one in extras[name]
    ]
    bounds = {one for one in asked if not one.startswith("cps-auth[")}
    assert all(re.fullmatch(r"[a-z0-9-]+>=[\d.]+", one) for one in bounds), bounds
    locked = re.findall(
        r"^([a-z0-9-]+)==([\d.]+)", (ROOT / "requirements/lowest.txt").read_text(), re.MULTILINE
    )
    versions = {name: _version(number) for name, number in locked}
    for name, number in (one.split(">=") for one in bounds):
        assert versions[name] == _version(number), name


def _version(number: str) -> tuple[int, ...]:
    parts = tuple(map(int, number.split(".")))
    return (*parts, 0, 0)[: max(3, len(parts))]


def test_the_mocks_are_a_distribution_of_their_own(tmp_path: Path) -> None:
    """The wheel of cps-auth-mocks holds hardware_mocks, and nothing of the product."""
    names = _wheel_names(ROOT / "hardware_mocks", tmp_path)
    folders = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert folders == {"hardware_mocks"}
    assert "hardware_mocks/card/virtual_card.py" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_the_product_brings_its_licence(product: set[str]) -> None:
    """Whoever has the wheel has the licence."""
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in product)


@pytest.mark.parametrize("project", [".", "hardware_mocks"])
def test_a_source_archive_brings_its_licence(project: str, tmp_path: Path) -> None:
    """The same text in both distributions, and nothing of what only a forge needs."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", tmp_path],
        cwd=ROOT / project,
        check=True,
        capture_output=True,
    )
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        top = tar.getnames()[0].split("/")[0]
        licence = tar.extractfile(f"{top}/LICENSE")
        assert licence is not None
        assert licence.read() == (ROOT / "LICENSE").read_bytes()
        assert not [name for name in tar.getnames() if name.startswith(f"{top}/.github")]

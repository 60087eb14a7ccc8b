"""What is installed: the product without a mock, the mocks as a distribution of their own."""

from __future__ import annotations

import subprocess
import sys
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


def test_the_mocks_are_a_distribution_of_their_own(tmp_path: Path) -> None:
    """The wheel of cps-auth-mocks holds hardware_mocks, and nothing of the product."""
    names = _wheel_names(ROOT / "hardware_mocks", tmp_path)
    folders = {name.split("/")[0] for name in names if ".dist-info" not in name}
    assert folders == {"hardware_mocks"}
    assert "hardware_mocks/card/virtual_card.py" in names

"""What another project gets: two wheels, and a first test that passes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_LINES = 10


def blocks(document: Path) -> list[str]:
    """Return the Python blocks of a document."""
    return re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Both wheels, built from this checkout."""
    folder = tmp_path_factory.mktemp("wheels")
    for project in (ROOT, ROOT / "hardware_mocks"):
        command = ["-m", "build", "--no-isolation", "--wheel", "-o", str(folder), str(project)]
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return sorted(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, wheels: list[Path]) -> Path:
    """A new environment with the two wheels; what they depend on comes from this one."""
    home = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", home], check=True)
    python = home / "bin" / "python"
    install = ["--no-index", "--no-deps", "--quiet", "--disable-pip-version-check"]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", *install]
    subprocess.run([*pip, *map(str, wheels)], check=True, capture_output=True)
    (site,) = home.glob("lib/python*/site-packages")
    # Behind the environment's own, and its .pth files are not followed: this checkout is not on it
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def test_the_two_wheels_are_all_it_takes(python: Path) -> None:
    """What the example imports, and pytest itself, comes with them: no extra to know of."""
    ask = "from importlib.metadata import requires; print(*requires('cps-auth-mocks'), sep='\\n')"
    done = subprocess.run([python, "-c", ask], check=True, capture_output=True, text=True)
    needed = done.stdout.splitlines()
    assert not [line for line in needed if "extra ==" in line]
    assert {re.split("[<>=]", line)[0] for line in needed} >= {"cps-auth[flask]", "pytest"}


def run_pytest(python: Path, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the tests of a folder as another project would, far from this checkout."""
    environment = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
    options = ("-p", "no:randomly", "-W", "error", *options)
    return subprocess.run(
        [python, "-m", "pytest", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )


def test_the_examples_pass(python: Path, igc_dir: Path, tmp_path: Path) -> None:
    """Each example of the document is a whole file that passes, with the two wheels alone."""
    examples = blocks(ROOT / "docs" / "mocks.md")
    for number, example in enumerate(examples):
        (tmp_path / f"test_example_{number}.py").write_text(example)
    done = run_pytest(python, tmp_path, "--cps-pki", str(igc_dir))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(examples)} passed" in done.stdout


def test_the_example_is_short_and_the_same_everywhere() -> None:
    """Under ten lines that are not blank, and one text."""
    example = blocks(ROOT / "docs" / "mocks.md")[0]
    assert [example] == blocks(ROOT / "hardware_mocks" / "README.md")
    assert len([line for line in example.splitlines() if line.strip()]) < MAX_LINES


TESTS_OF_ANOTHER_PROJECT = """
import hardware_mocks, cps_auth, pytest
from pathlib import Path
from flask import Flask
from flask_login import login_required
from cps_auth.flask import CpsLogin
from hardware_mocks.flask_client import NoLoginForm


def test_it_is_the_installed_one():
    assert "site-packages" in hardware_mocks.__file__ and "site-packages" in cps_auth.__file__


@pytest.mark.cps(persona="nurse", kind="cps3-contactless")
def test_the_marker_chooses_the_card(cps_card, cps_reader, cps_personas):
    assert cps_card.persona is cps_personas["nurse"]
    assert cps_card.kind == "cps3-contactless"
    assert cps_reader.cards.readers()[0].atr == cps_card.atr


def test_the_card_is_the_doctors(cps_card, cps_reader, fake_igc_sante):
    with cps_reader.cards.open_card() as card:
        der = card.read_authentication_certificate()
    assert der == fake_igc_sante.credentials("doctor").authentication_certificate_der
    cps_reader.pull()
    assert cps_reader.cards.readers()[0].atr is None


@pytest.fixture
def client(cps_reader, cps_judge, cps_client, tmp_path):
    app = Flask(__name__)
    app.config.update(SECRET_KEY="t", CPS_ORIGIN="http://127.0.0.1", CPS_DATABASE=tmp_path / "db")
    CpsLogin(app, cards=cps_reader.cards, judge=cps_judge)
    app.add_url_rule("/", view_func=login_required(lambda: "in"))
    return cps_client(app)


def test_a_wrong_pin_is_told(client):
    page = client.log_in("doctor", "0000")
    assert page.status_code >= 400 and "2" in page.text
    assert client.get("/").status_code != 200
    assert client.log_in(None, "1234").text == "in"


def test_a_refused_card_has_no_form(client):
    with pytest.raises(NoLoginForm):
        client.log_in("revoked")


def test_pulling_the_card_ends_the_session(client, cps_reader):
    import time
    assert client.log_in("doctor").text == "in"
    cps_reader.pull()
    deadline = time.monotonic() + 10
    while client.get("/").status_code == 200:
        assert time.monotonic() < deadline


def test_an_application_without_the_extension(cps_client):
    with pytest.raises(LookupError, match="no CpsLogin"):
        cps_client(Flask("other"))
"""


def test_every_fixture_works(python: Path, igc_dir: Path, tmp_path: Path) -> None:
    """Marker, reader, personas, refusals and removals, from the installed wheels."""
    (tmp_path / "test_other.py").write_text(TESTS_OF_ANOTHER_PROJECT)
    done = run_pytest(python, tmp_path, "--cps-pki", str(igc_dir))
    assert "7 passed" in done.stdout, done.stdout + done.stderr


def test_the_keys_are_kept(python: Path, igc_dir: Path, tmp_path: Path) -> None:
    """Without --cps-pki the cache's folder is taken when it is there; a wrong marker is said."""
    (tmp_path / "test_kept.py").write_text(
        "import pytest\n"
        "from hardware_mocks.pytest_plugin import folder_version\n"
        "def test_kept(cps_pki_folder): assert cps_pki_folder.name == folder_version()\n"
        "@pytest.mark.cps('nurse')\n"
        "def test_marker(cps_card): pass\n"
    )
    version = subprocess.run(
        [python, "-c", "from hardware_mocks.pytest_plugin import folder_version as v; print(v())"],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    ).stdout.strip()
    cache = tmp_path / ".pytest_cache" / "d" / "cps-auth-mocks"
    cache.mkdir(parents=True)
    (cache / version).symlink_to(igc_dir)
    done = run_pytest(python, tmp_path)
    assert "1 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "the marker is cps(persona=" in done.stdout

"""What the documents say is true: code blocks run, names exist, commands are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cps_auth.card.native.source import NativeCards
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
HOSTS_OF_REGISTRIES = ("pypi.org", "pythonhosted", "deb.debian", "npmjs", "registry.")


def _python_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def test_the_readme_logs_in_and_explains_a_refusal(igc: FakeIgcSante, igc_dir: Path) -> None:
    """Its Python block gives the doctor's name, and the reason where it is refused."""
    block = _python_blocks(README)[0]
    names: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), names)  # noqa: S102  # our own document
    readers = VirtualReaders("Reader")
    names["open_cards"] = lambda: NativeCards(readers.service)
    who = names["who"]
    assert callable(who)
    assert who(bytearray(b"1234"), igc_dir) == "There is no card in the reader. " + (
        "Insert your CPS card, chip first."
    )
    readers.insert("Reader", VirtualCard(PERSONAS["doctor"], igc.credentials("doctor")))
    assert who(bytearray(b"1234"), igc_dir) == "Camille LAVERGNE"
    assert "2 attempts left" in str(who(bytearray(b"9999"), igc_dir))


def test_the_readmes_application_is_the_one_that_runs_in_all_ways() -> None:
    """It is the first example of docs/flask.md, to the letter: tests/system runs that one."""
    (application,) = [block for block in _python_blocks(README) if "@app.get" in block]
    assert application == _python_blocks((ROOT / "docs/flask.md").read_text())[0]
    lines = [line for line in application.splitlines() if line and not line.startswith("#")]
    assert len(lines) <= 15


def test_the_readmes_test_is_the_one_that_the_plugins_own_suite_runs() -> None:
    """It is the first example of docs/mocks.md, to the letter."""
    (example,) = [block for block in _python_blocks(README) if "def test_" in block]
    assert example == _python_blocks((ROOT / "docs/mocks.md").read_text())[0]


@pytest.mark.parametrize("document", ["README.md", "SECURITY.md", "CHANGELOG.md"])
def test_every_link_and_every_path_that_is_named_exists(document: str) -> None:
    """A newcomer who follows a name finds the file."""
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\(((?!http)[^)#]+)", text)
    paths = re.findall(r"`((?:cps_auth|pam_helper|webdemo|hardware_mocks|tests|docs)/[^`]*)`", text)
    for name in links + paths:
        assert (ROOT / name).exists(), name


def test_the_readme_table_leads_to_where_it_starts() -> None:
    """Each module named in the table "Where things are" exists in its folder."""
    table = README.split("## Where things are")[1].split("\n\n")[2]
    for row in table.splitlines()[2:]:
        _, _, folder, start, _ = (cell.strip() for cell in row.split("|"))
        where = ROOT / folder.strip("`")
        base = where if where.is_dir() else where.parent
        for module in re.findall(r"`([\w/]+\.py)`", start):
            assert (base / module).exists() or (ROOT / module).exists(), (folder, module)


def test_no_file_names_a_registry_host() -> None:
    """Lock files and documents name packages, never the hosts they come from."""
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("requirements/*")]:
        text = path.read_text()
        assert not [host for host in HOSTS_OF_REGISTRIES if host in text], path

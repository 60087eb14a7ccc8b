"""What the documents say is true: code blocks run, names exist, commands are there."""

from __future__ import annotations

import ast
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


DOCUMENTS = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"))
)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_and_every_path_that_is_named_exists(document: str) -> None:
    """A newcomer who follows a name finds the file."""
    text = (ROOT / document).read_text()
    for link in re.findall(r"\]\(((?!http)[^)#]+)", text):
        assert (ROOT / document).parent.joinpath(link).exists(), link
    paths = re.findall(r"`((?:cps_auth|pam_helper|webdemo|hardware_mocks|tests|docs)/[^`]*)`", text)
    for name in paths:
        assert (ROOT / name.split("::")[0].split(" ")[0]).exists(), name


def test_every_document_is_reached_from_the_readme() -> None:
    """Whatever is written down can be found by following links."""
    found, to_read = set(), ["README.md"]
    while to_read:
        document = to_read.pop()
        if document not in found:
            found.add(document)
            folder = (ROOT / document).parent
            links = re.findall(r"\]\(((?!http)[^)#]+\.md)", (ROOT / document).read_text())
            to_read += [str((folder / link).resolve().relative_to(ROOT)) for link in links]
    assert found == set(DOCUMENTS)


README_TABLE = [
    [cell.strip() for cell in row.strip("|").split("|")]
    for row in README.split("## Where things are")[1].split("\n\n")[2].splitlines()[2:]
]


def _names_in(module: ast.Module) -> set[str]:
    """Return the names that a module defines, methods after their class and a dot."""
    names: set[str] = set()
    for node in module.body:
        if isinstance(node, ast.ClassDef):
            methods = [one for one in node.body if isinstance(one, ast.FunctionDef)]
            names |= {node.name, *(f"{node.name}.{method.name}" for method in methods)}
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def test_the_readme_table_has_eleven_rows() -> None:
    """Each thing that happens has a place."""
    assert len(README_TABLE) == 11


@pytest.mark.parametrize("row", README_TABLE, ids=[row[0] for row in README_TABLE])
def test_the_readme_table_leads_to_where_it_starts(row: list[str]) -> None:
    """In two steps: the folder, and in it the file that defines the class or function named."""
    _, folder, start = row
    starts = re.findall(r"`([\w/]+\.py)`: `([\w.]+)`", start)
    assert starts
    assert start.count(".py`") == len(starts), "each file says what is in it"
    for file, name in starts:
        place = ROOT / folder.strip("`") / file
        place = place if place.exists() else ROOT / file
        assert name in _names_in(ast.parse(place.read_text())), (file, name)


def test_no_file_names_a_registry_host() -> None:
    """Lock files and documents name packages, never the hosts they come from."""
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("requirements/*")]:
        text = path.read_text()
        assert not [host for host in HOSTS_OF_REGISTRIES if host in text], path

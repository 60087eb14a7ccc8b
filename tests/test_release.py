"""A release: what a version changes, when there is none, what an audit says, what CI promises."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from release.archives import differences, sums
from release.audit import NOT_ASKED, SOUND, VULNERABLE, verdict
from release.stamp import FILES, NotReleasable, places_to_fill, section, stamped

ROOT = Path(__file__).parents[1]
DAY = "2026-12-31"


@pytest.fixture
def tree() -> dict[str, str]:
    """The files of this checkout, with something to release."""
    texts = {name: (ROOT / name).read_text() for name in FILES}
    texts["CHANGELOG.md"] = (
        "# Changelog\n\n## Unreleased\n\n- New.\n\n## 0.1.0 – 2026-01-01\n\n- Old.\n"
    )
    return texts


def test_a_version_is_written_into_both_projects_and_the_changelog(tree: Mapping[str, str]) -> None:
    """Nothing else of the files changes, and the next changes have a place."""
    changed = stamped(tree, "0.2.0", DAY)
    for name in ("pyproject.toml", "hardware_mocks/pyproject.toml"):
        before, after = tomllib.loads(tree[name]), tomllib.loads(changed[name])
        assert after["project"].pop("version") == "0.2.0"
        before["project"].pop("version")
        assert after == before
    assert section(changed["CHANGELOG.md"], "0.2.0") == "- New."
    assert section(changed["CHANGELOG.md"], "0.1.0") == "- Old."
    assert section(changed["CHANGELOG.md"], "Unreleased") == ""
    assert "## 0.2.0 – 2026-12-31" in changed["CHANGELOG.md"]


@pytest.mark.parametrize("version", ["v0.2.0", "0.2", "0.2.0 ", "next", "0.1.0"])
def test_what_is_no_new_version_is_refused(tree: dict[str, str], version: str) -> None:
    """A word, a tag's name, and a version that was released."""
    with pytest.raises(NotReleasable):
        stamped(tree, version, DAY)


def test_a_changelog_without_anything_new_is_refused(tree: dict[str, str]) -> None:
    """There is nothing to tell, so there is nothing to release."""
    with pytest.raises(NotReleasable, match="Unreleased"):
        stamped(stamped(tree, "0.2.0", DAY), "0.3.0", DAY)


def test_places_that_are_not_filled_in_are_named(tree: dict[str, str]) -> None:
    """An address of nobody is never published."""
    tree["pyproject.toml"] = 'Source = "https://cps-auth.invalid/source/"'
    tree["SECURITY.md"] = "Address: to be filled in"
    assert [place.split(":")[0] for place in places_to_fill(tree)] == [
        "pyproject.toml",
        "SECURITY.md",
    ]
    assert places_to_fill(dict.fromkeys(FILES, "")) == []


def test_builds_that_differ_are_told_apart_by_name(tmp_path: Path) -> None:
    """One byte, or a file that one of them has not; SHA256SUMS itself counts for nothing."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, content in ((one, b"a"), (other, b"b")):
        folder.mkdir()
        (folder / "same").write_bytes(b"")
        (folder / "changed").write_bytes(content)
        (folder / "SHA256SUMS").write_bytes(content)
    (one / "alone").touch()
    assert differences(one, other) == ["alone", "changed"]
    assert differences(one, one) == []
    assert sums(one).splitlines()[2].startswith("e3b0c44298fc1c14")
    assert [line.split("  ")[1] for line in sums(one).splitlines()] == ["alone", "changed", "same"]


def test_an_audit_that_asked_nobody_is_no_clean_one() -> None:
    """Three answers: nothing known, something known, not asked."""
    sound = {"name": "click", "version": "8.2", "vulns": []}
    flaw = {"id": "CVE-0000-1", "fix_versions": []}
    assert verdict([sound])[0] == SOUND
    assert verdict([sound, {"name": "flask", "skip_reason": "not found"}])[0] == NOT_ASKED
    code, lines = verdict([{**sound, "vulns": [flaw]}])
    assert code == VULNERABLE
    assert lines[0] == "click 8.2: CVE-0000-1, mended in no version yet"


def test_every_python_and_every_debian_that_is_promised_is_in_the_forges_matrix() -> None:
    """Classifiers, minimum, workflow and the versions document say the same."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    mocks = tomllib.loads((ROOT / "hardware_mocks/pyproject.toml").read_text())["project"]
    pythons = [
        name.rpartition(" ")[2] for name in project["classifiers"] if re.search(r":: 3\.\d+$", name)
    ]
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    (matrix,) = re.findall(r"python: \[(.*?)\]", workflow)
    assert re.findall(r"[\d.]+", matrix) == pythons
    assert project["requires-python"] == f">={pythons[0]}"
    assert [name for name in mocks["classifiers"] if name.endswith(pythons[-1])]
    promised = f"Debian 12 and 13 and Python {pythons[0]} to {pythons[-1]}"
    assert promised in (ROOT / "docs/project/versions.md").read_text()
    (releases,) = re.findall(r"release: \[(.*?)\]", workflow)
    assert re.findall(r"\d+", releases) == ["12", "13"]


def test_metadata_is_complete() -> None:
    """What an index and a reader look for, in both distributions."""
    for name in ("pyproject.toml", "hardware_mocks/pyproject.toml"):
        project = tomllib.loads((ROOT / name).read_text())["project"]
        assert project["license-files"] == ["LICENSE"]
        assert project["authors"]
        assert {"Homepage", "Source", "Issues"} <= set(project["urls"])
        assert {"description", "readme", "keywords", "requires-python"} <= set(project)


@pytest.mark.parametrize(
    "file", sorted(map(str, [*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"]))
)
def test_what_a_forge_reads_is_yaml(file: str) -> None:
    """A form that cannot be read is a form that nobody sees."""
    assert isinstance(yaml.safe_load(Path(file).read_text()), dict)

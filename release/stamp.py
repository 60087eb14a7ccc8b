"""What a version number changes in the sources, as pure text: projects, changelog, places to fill.

A source tree is a mapping from file name to text; nothing is read or written here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

PROJECTS = ("pyproject.toml", "hardware_mocks/pyproject.toml")
CHANGELOG = "CHANGELOG.md"
FILES = (*PROJECTS, CHANGELOG, "SECURITY.md")
"""What a release reads."""

_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


class NotReleasable(Exception):
    """The sources cannot be released; the text says why."""


def stamped(tree: Mapping[str, str], version: str, day: str) -> dict[str, str]:
    """Return the files that a version changes, changed.

    Args:
        tree: texts of `FILES`.
        version: such as "0.2.0" or "1.0.0rc1".
        day: of the release, YYYY-MM-DD.

    Raises:
        NotReleasable: no version, or a changelog without anything unreleased.
    """
    if not _VERSION.fullmatch(version):
        raise NotReleasable(f"{version!r} is no version such as 0.2.0 or 1.0.0rc1")
    if f"\n## {version} " in tree[CHANGELOG]:
        raise NotReleasable(f"{CHANGELOG} has a section {version} already")
    if not section(tree[CHANGELOG], "Unreleased"):
        raise NotReleasable(f"{CHANGELOG} has nothing under Unreleased")
    changed = {
        name: re.sub(r'(?m)^version = ".*"$', f'version = "{version}"', tree[name], count=1)
        for name in PROJECTS
    }
    heading = f"## Unreleased\n\n## {version} – {day}\n"
    changed[CHANGELOG] = tree[CHANGELOG].replace("## Unreleased\n", heading, 1)
    return changed


def section(changelog: str, name: str) -> str:
    """Return what the changelog says under a heading, "" if there is none or it is empty."""
    found = re.search(
        rf"^## {re.escape(name)}(?: [^\n]*)?\n(.*?)(?=^## |\Z)", changelog, re.MULTILINE | re.DOTALL
    )
    return found[1].strip() if found else ""


def places_to_fill(tree: Mapping[str, str]) -> list[str]:
    """Return what whoever publishes the project still has to fill in."""
    missing = []
    if ".invalid/" in tree["pyproject.toml"]:
        missing.append("pyproject.toml: the addresses of project.urls")
    if "to be filled in" in tree["SECURITY.md"]:
        missing.append("SECURITY.md: the address for reports")
    return missing

"""What the pages are given is what docs/flask.md says: an application's own rest on it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLASK = ROOT / "cps_auth" / "flask"
TEMPLATES = FLASK / "pages" / "templates" / "cps"
RENDER = FLASK / "pages" / "render.py"


def _calls(name: str) -> Iterator[ast.Call]:
    for path in FLASK.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name:
                yield node


def _keywords(call: ast.Call) -> set[str]:
    return {keyword.arg for keyword in call.keywords if keyword.arg is not None}


def given() -> dict[str, set[str]]:
    """Return what is passed, by template."""
    (common,) = _calls("render_template")
    passed = {"all": _keywords(common)}
    for call in _calls("render_page"):
        (template,) = (part.value for part in call.args if isinstance(part, ast.Constant))
        passed.setdefault(str(template), set()).update(_keywords(call))
    return passed


def documented() -> dict[str, set[str]]:
    """Return what the table says, by template: the names before any bracket."""
    text = (ROOT / "docs" / "flask.md").read_text()
    (table,) = re.findall(r"\| template \| context \|\n\|---\|---\|\n((?:\|.*\|\n)+)", text)
    rows = {}
    for line in table.splitlines():
        name, context = (cell.strip() for cell in line.strip("|").split("|"))
        rows[name.strip("`")] = set(re.findall(r"`(\w+)`", re.sub(r"\(.*?\)", "", context)))
    return rows


def test_the_table_says_what_is_passed() -> None:
    """Neither more nor less, for every page."""
    assert documented() == given()


def test_every_page_is_in_the_table() -> None:
    """Templates that are rendered by themselves; the others are parts of them."""
    pages = set(given()) - {"all"}
    parts = {path.name for path in TEMPLATES.glob("method_*.html")} | {"base.html"}
    assert {path.name for path in TEMPLATES.glob("*.html")} == pages | parts

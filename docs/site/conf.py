"""How Sphinx makes the book of these documents: `./dev docs`, from the project's root.

The documents are plain Markdown, whose links also hold in a forge. What only the site needs is
added while it is read: the contents from the tables of docs/README.md, and the docstrings below
each module's heading in docs/reference/api.md.
"""

from __future__ import annotations

import re
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pygments.lexers.special import TextLexer

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

project = "cps-auth"
author = "the cps-auth developers"
version = release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "docs/README"
include_patterns = ["*.md", "docs/**"]
exclude_patterns = [".*", "build", "cps_auth", "dist", "hardware_mocks", "tests", "docs/site"]
language = "en"  # of the search; each page says its own, see `tell_language`
highlight_language = "bash"  # the indented blocks are commands
suppress_warnings = ["misc.highlighting_failure"]  # an example may have an ellipsis
default_role = "literal"  # docstrings are written with single backquotes
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": False}
autodoc_mock_imports = ["smartcard", "pkcs11", "jeepney"]
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Source"]

html_theme = "furo"
html_title = f"cps-auth {version}"
html_copy_source = html_show_sourcelink = False
html_static_path: list[str] = []

UNKNOWN_LANGUAGES = ("caddyfile", "crt-list", "haproxy")
"""Fenced blocks that Pygments has no colours for."""


def add_contents(_app: Sphinx, name: str, source: list[str]) -> None:
    """Turn the tables of docs/README.md into the book's contents, one part for each heading."""
    if name != root_doc:
        return
    parts = {
        heading: [
            _from_root(page) for page in re.findall(r"^\| \[[^]]*\]\((.+?\.md)\)", body, re.M)
        ]
        for heading, body in re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", source[0], re.M | re.S)
    }
    named = {page for pages in parts.values() for page in pages}
    found = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").rglob("*.md")}
    parts["More"] = sorted(found - named - {f"{root_doc}.md"})  # new, and in no table yet
    for heading, pages in parts.items():
        entries = "\n".join(f"/{page}" for page in pages)
        source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {heading}\n\n{entries}\n```\n"


def _from_root(link: str) -> str:
    return str((ROOT / "docs" / link).resolve().relative_to(ROOT))


def add_docstrings(_app: Sphinx, name: str, source: list[str]) -> None:
    """Put a module's docstrings below the heading that names it."""
    if name == "docs/reference/api":
        directive = r"\g<0>\n\n```{eval-rst}\n.. automodule:: \1\n```"
        source[0] = re.sub(r"^## `([\w.]+)`$", directive, source[0], flags=re.M)


def tell_language(
    _app: Sphinx, name: str, _template: str, context: dict[str, object], _tree: object
) -> None:
    """Tell browsers and screen readers which pages are French."""
    context["language"] = "fr" if name.startswith("docs/fr/") else "en"


class _Links(HTMLParser):
    """The links and the anchors of one page."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(
        self,
        tag: str,  # noqa: ARG002  # the parser's signature
        attrs: list[tuple[str, str | None]],
    ) -> None:
        """Note what a tag leads to, and its own name."""
        words = dict(attrs)
        self.targets |= {words[key] or "" for key in ("href", "src") if key in words}
        self.anchors |= {words[key] or "" for key in ("id", "name") if key in words}


def check_links(app: Sphinx, error: Exception | None) -> None:
    """Make the front page, then refuse a site in which a link leads nowhere."""
    if error or app.builder.name != "html":
        return
    site = Path(app.outdir)
    front = f'<meta http-equiv="refresh" content="0; url={root_doc}.html"><title>cps-auth</title>'
    (site / "index.html").write_text(f"<!doctype html>{front}\n")
    pages = {page: _read_links(page) for page in site.rglob("*.html")}
    dead = []
    for page, links in pages.items():
        for target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            other = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            anchors = pages[other].anchors if other in pages else None
            if not other.exists() or (parts.fragment and anchors and parts.fragment not in anchors):
                dead.append(f"{page.relative_to(site)}: {target}")
    if dead:
        raise SystemExit("links that lead nowhere:\n" + "\n".join(sorted(dead)))


def _read_links(page: Path) -> _Links:
    links = _Links()
    links.feed(page.read_text())
    return links


def setup(app: Sphinx) -> None:
    """Connect the above."""
    for name in UNKNOWN_LANGUAGES:
        app.add_lexer(name, TextLexer)
    app.connect("source-read", add_contents)
    app.connect("source-read", add_docstrings)
    app.connect("html-page-context", tell_language)
    app.connect("build-finished", check_links)

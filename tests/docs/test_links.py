"""Every link of the documents leads somewhere: to a file that exists, and to a heading in it."""

from __future__ import annotations

import os

import pytest

from tests.docs.markdown import DOCUMENTS, ROOT, anchors_of, links_of


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_to_a_file_and_to_a_heading_in_it(document: str) -> None:
    """In a checkout and in a forge, as the site's own check does in the site."""
    dead = []
    for target in links_of(document):
        path, _, anchor = target.partition("#")
        other = os.path.normpath((ROOT / document).parent / path) if path else str(ROOT / document)
        name = os.path.relpath(other, ROOT)
        known = name not in DOCUMENTS or not anchor or anchor in anchors_of(name)
        if not os.path.exists(other) or not known:  # noqa: PTH110  # a text, normalised
            dead.append(target)
    assert not dead


def test_a_dead_link_and_a_dead_heading_would_be_found() -> None:
    """The check itself sees headings as a forge does."""
    anchors = anchors_of("docs/fr/administrateur.md")
    assert "carte-perdue-ou-volée" in anchors
    assert "carte-perdue" not in anchors
    assert any("#" in link for link in links_of("docs/trust.md"))

"""Generated pages are what the product's tables say, and what they rest on is explained."""

from __future__ import annotations

import pytest

from tests.docs.markdown import text_of
from tests.docs_tables import FLASK_TABLES, stale_pages


def test_the_generated_pages_are_in_step() -> None:
    """`python -m tests.docs_tables` writes them anew."""
    assert stale_pages() == []


@pytest.mark.parametrize("title", FLASK_TABLES)
def test_every_key_is_explained_in_the_document_that_is_named(title: str) -> None:
    """A new setting cannot be forgotten there."""
    keys, document = FLASK_TABLES[title]
    text = text_of(f"docs/{document}")
    assert [key for key in keys if f"`{key}`" not in text] == []

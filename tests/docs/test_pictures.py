"""Pictures of the book: each is there, small, made by `tests.docs.pictures`, shown somewhere."""

from __future__ import annotations

import re

import pytest

from tests.docs.markdown import DOCUMENTS, prose_of

pictures = pytest.importorskip("tests.docs.pictures", reason="playwright is not installed")


def test_every_scene_has_its_picture_and_no_other_is_there() -> None:
    """`python -m tests.docs.pictures` makes them all, in one go."""
    made = {path.stem for path in pictures.FOLDER.glob("*.png")}
    assert made == set(pictures.SCENES)


@pytest.mark.parametrize("name", pictures.SCENES)
def test_a_picture_is_a_small_png(name: str) -> None:
    """A page with all of them loads at once."""
    content = (pictures.FOLDER / f"{name}.png").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert len(content) < pictures.MAX_BYTES


@pytest.mark.parametrize("name", pictures.SCENES)
def test_a_picture_is_shown_with_words_for_who_does_not_see_it(name: str) -> None:
    """Some page shows it, and no page shows it without a text."""
    pattern = re.compile(rf"!\[([^\]]*)\]\([^)]*pictures/{name}\.png\)")
    texts = [text for document in DOCUMENTS for text in pattern.findall(prose_of(document))]
    assert texts
    assert all(len(text) > 10 for text in texts)

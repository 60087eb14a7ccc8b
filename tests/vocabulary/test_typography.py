"""French as a printer sets it, over every sentence of the catalogue and of the demo."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from babel.messages.pofile import read_po

from tests.catalogue import KEYS, NO_BREAK, PO, ROOT, as_in_print, extract, is_prompt

FAULTS = {
    "an ordinary space before : ; ! ? »": r" [:;!?»](?=\s|$|[).,])",
    "no space before : ; ! ? »": r"[^\W\d_][;!?»](?=\s|$)|[^\W\d_]:(?=\s|$)",
    "an ordinary space after «": r"« ",
    "a straight apostrophe": r"\w'\w",
    "three dots for an ellipsis": r"\.\.\.",
    "a capital without its accent": r"\bA (?:la|partir|propos|l’)\b|\bE(?:tat|tablissement|cran)\b",
    "an ordinary space after n°": r"n° ",
    "two spaces after a full stop": r"\.  ",
}
EXCEPT = (*KEYS, "(xn--)")
"""Keys of the keyboard, a prefix of host names."""


def french() -> Iterator[tuple[str, str]]:
    """Give every French text, with its source."""
    with PO.open("rb") as file:
        for message in read_po(file, locale="fr"):
            source = message.id if isinstance(message.id, str) else message.id[0]
            string = message.string or ""
            texts = (string,) if isinstance(string, str) else tuple(string)
            if source and not is_prompt(source):
                yield from ((source, text) for text in texts)


def of_the_demo() -> Iterator[tuple[str, str]]:
    """Give the French half of every pair in the demo's templates, and its data."""
    for path in sorted((ROOT / "webdemo" / "templates").rglob("*.html")):
        for found in re.finditer(r"""\bt\((["'])(.*?)\1, """, path.read_text()):
            yield path.name, found.group(2)
    data = ROOT / "webdemo" / "practice.py"
    for found in re.finditer(r'"([^"\n]*[éèêàçœ’\'][^"\n]*)"', _code(data)):
        yield data.name, found.group(1)


def _code(path: Path) -> str:
    return re.sub(r'"""(?s:.*?)"""', "", path.read_text())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("texts", [french, of_the_demo])
def test_french_is_set_as_in_print(texts, fault: str) -> None:
    """No line begins with a colon, and no apostrophe stands upright."""
    wrong = []
    for source, text in texts():
        for left_out in EXCEPT:
            text = text.replace(left_out, "")
        if re.search(FAULTS[fault], text):
            wrong.append(f"{source!r}: {text!r}")
    assert not wrong, "\n".join(wrong)


def test_the_rules_find_what_they_are_for() -> None:
    """Each fault is found in a sentence that has it, and in none that has not."""
    faulty = (
        "La carte est bloquée : appelez.",
        "Pourquoi?",
        "dit « oui » ici",
        "l'essai",
        "Attendez...",
        "A partir de là",
        "liste n° 4",
        "Fini.  Puis",
    )
    for (fault, pattern), text in zip(FAULTS.items(), faulty, strict=True):
        assert re.search(pattern, text), fault
    good = "La carte~: «~bloquée~»~; n°~4, l’essai… À 9:40".replace("~", NO_BREAK)
    assert not any(re.search(pattern, good) for pattern in FAULTS.values())


@pytest.mark.parametrize(
    "fault", [r" [:;!?](?=\s|$)", r"\.\.\.", r"\.  ", r"\ba [aeio]\w+ access\b"]
)
def test_english_has_no_french_spaces(fault: str) -> None:
    """Nor three dots, nor two spaces."""
    sources = (message.id for message in extract() if message.id)
    texts = (text for id_ in sources for text in ((id_,) if isinstance(id_, str) else id_))
    wrong = [text for text in texts if re.search(fault, text.replace("type ! and", ""))]
    assert wrong == []


def test_the_catalogue_sets_what_is_written_plainly() -> None:
    """Who translates types plain spaces; `python -m tests.catalogue` does the rest."""
    typed = "L'essai n° 4 : « oui » ; pourquoi ? Ici (ou là ?)."
    assert not any(re.search(pattern, as_in_print(typed)) for pattern in FAULTS.values())

"""A misused command line is told so in French or English, with the exit code of a misuse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from babel.messages.extract import extract_from_dir

from cps_auth.cli.usage import CLICK_SENTENCES
from cps_auth.exit_codes import USAGE

Command = Callable[..., Any]  # the fixture of conftest.py, which is no module to import

MISUSES = {
    # what is typed: in French, in English
    ("nosuch",): ("Commande inconnue", "No such command"),
    ("readers", "--nosuch"): ("Option inconnue", "No such option"),
    ("readers", "--jsom"): ("Vouliez-vous dire", "Did you mean"),
    ("readers", "too", "many"): ("Arguments en trop", "unexpected extra arguments"),
    ("readers", "--reader"): ("demande une valeur", "requires an argument"),
    ("readers", "--json=yes"): ("ne prend pas de valeur", "does not take a value"),
    ("trust", "import"): ("Argument manquant", "Missing argument"),
    ("audit", "show", "--since", "x"): ("ni un jour ni un moment", "no day or moment"),
    ("browser", "install", "--root", "/nowhere"): ("n’existe pas", "does not exist"),
    ("browser", "install", "--browser", "lynx"): ("l’une de ces valeurs", "is not one of"),
}


@pytest.mark.parametrize("words", MISUSES, ids=" ".join)
@pytest.mark.parametrize("language", ["fr", "en"])
def test_a_misuse_in_the_language_of_the_environment(
    command: Command, words: tuple[str, ...], language: str
) -> None:
    """The sentence is in that language alone, for a person and in `--json`."""
    french, english = MISUSES[words]
    expected, other = (french, english) if language == "fr" else (english, french)
    environment = {"LC_ALL": "fr_FR.UTF-8" if language == "fr" else "en_US.UTF-8"}
    done = command(*words, environment=environment)
    said = done.stderr.decode()
    assert done.returncode == USAGE
    assert expected in said
    assert other not in said
    assert ("Try '" in said) <= (language == "en")
    last = words[-1:] if words[-1] == "--reader" else ()  # which would take --json for its value
    told = command(*words[: len(words) - len(last)], "--json", *last, environment=environment)
    assert told.returncode == USAGE
    answer = json.loads(told.stdout)
    assert answer["error"] == "usage"
    assert expected in answer["message"]


def test_click_says_nothing_else() -> None:
    """Each sentence of the click that is installed is known here, or said to nobody."""
    said_to_programmers = (
        *("Arguments take exactly", "Boolean option", "Could not determine", "Name '"),
        *("No options defined", "Value must be", "Takes {nargs}", "{len_type} values"),
        *("Invalid start character", "Choice({choices})", "{text} {deprecated"),
    )
    of_no_use_here = (
        *("Aborted!", "deprecated", "DeprecationWarning", "env var", "default", "required"),
        *("(dynamic)", "unknown error", "Could not open file", "Options", "Commands"),
        *(
            "Positional arguments",
            "{value!r} is not a valid boolean",
            "{name} {filename!r} is not e",
        ),
        "{value!r} is not a valid UUID.",
    )
    modules = ("core.py", "exceptions.py", "formatting.py", "parser.py", "types.py")
    found = extract_from_dir(Path(click.__file__).parent, method_map=[("**.py", "python")])
    said = {message for name, _, message, *_ in found if name in modules}
    sentences = {one if isinstance(one, str) else one[0] for one in said}
    left = {
        one
        for one in sentences - set(CLICK_SENTENCES)
        if not one.startswith((*said_to_programmers, *of_no_use_here))
    }
    assert left == set()

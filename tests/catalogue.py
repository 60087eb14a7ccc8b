"""Keeps the French catalogue in step with the sources: python -m tests.catalogue [--check].

Without an option it merges new sentences into the .po file, sets the French ones as in print, and
compiles the .mo file.
With --check it changes nothing and fails if either is out of date.
"""

from __future__ import annotations

import io
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "cps_auth/locale/fr/LC_MESSAGES"
PO, MO = FOLDER / "cps_auth.po", FOLDER / "cps_auth.mo"
NO_DATE = datetime(2026, 1, 1, tzinfo=UTC)  # so that the same sentences give the same file
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2.ext:babel_extract")]


NO_BREAK = "\N{NO-BREAK SPACE}"
"""Before ; ! ? too: consoles and Latin-1 have no narrow one (U+202F)."""
KEYS = ("tapez ! puis",)
"""What names a key of the keyboard, and is no punctuation."""


def is_prompt(source: str) -> bool:
    """Return whether a program waits behind this text, which others compare with what they know."""
    return source.rstrip().endswith(":")


def as_in_print(text: str) -> str:
    """Set a French sentence as a printer does: no-break spaces, apostrophes."""
    if any(key in text for key in KEYS):
        return text
    text = re.sub(r"[ \N{NARROW NO-BREAK SPACE}](?=[:;!?»](?:\s|$|[).,]))", NO_BREAK, text)
    text = text.replace("« ", f"«{NO_BREAK}").replace("n° ", f"n°{NO_BREAK}")
    return re.sub(r"(?<=\w)'(?=\w)", "’", text)


def extract() -> Catalog:
    """Collect every marked sentence of the product and of the demo."""
    template = Catalog(project="cps-auth", charset="utf-8", creation_date=NO_DATE)
    for tree in ("cps_auth", "pam_helper", "webdemo"):
        for name, _line, message, comments, context in extract_from_dir(
            ROOT / tree, method_map=METHODS
        ):
            template.add(message, None, [(f"{tree}/{name}", 0)], (), comments, context=context)
    return template


def updated(template: Catalog) -> Catalog:
    """Return the French catalogue with exactly the sentences of the template."""
    with PO.open("rb") as file:
        catalogue = read_po(file, locale="fr")
    catalogue.update(template, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    for message in catalogue:
        source = message.id if isinstance(message.id, str) else message.id[0]
        if source and not is_prompt(source):
            texts = tuple(map(as_in_print, _strings(message.string)))
            message.string = texts[0] if isinstance(message.id, str) else texts
    catalogue.header_comment = ""
    catalogue.revision_date = NO_DATE
    catalogue.msgid_bugs_address = catalogue.last_translator = catalogue.language_team = "-"
    return catalogue


def po_bytes(catalogue: Catalog) -> bytes:
    """Return the .po file of a catalogue."""
    file = io.BytesIO()
    write_po(file, catalogue, no_location=True, omit_header=False, sort_output=True, width=100)
    return file.getvalue()


def mo_bytes(catalogue: Catalog) -> bytes:
    """Return the .mo file of a catalogue."""
    file = io.BytesIO()
    write_mo(file, catalogue)
    return file.getvalue()


def main() -> int:
    """Update or check; return the exit code."""
    catalogue = updated(extract())
    missing = [m.id for m in catalogue if m.id and not all(_strings(m.string))]
    for sentence in missing:
        print(f"not translated: {sentence!r}")
    if "--check" in sys.argv:
        with PO.open("rb") as file:
            fresh = read_po(file, locale="fr")
        stale = {str(m.id) for m in fresh if m.id} != {str(m.id) for m in catalogue if m.id}
        if stale or mo_bytes(catalogue) != MO.read_bytes():
            print("the catalogue is out of date: run python -m tests.catalogue")
            return 1
    else:
        PO.write_bytes(po_bytes(catalogue))
        MO.write_bytes(mo_bytes(catalogue))
    return 1 if missing else 0


def _strings(string: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return list(string) if isinstance(string, tuple | list) else [string or ""]


if __name__ == "__main__":
    sys.exit(main())

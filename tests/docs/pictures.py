"""Pictures of the book: python -m tests.docs.pictures [FOLDER], docs/pictures by default.

A real Chromium plays what the page for doctor and secretary tells, on the demo's virtual reader, as
`tests.pictures` does for every page. Each picture is taken only after the words that the book
quotes were seen on the screen.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from playwright.sync_api import expect

from cps_auth.pki.judge import folder_judge
from tests.docs.markdown import ROOT
from tests.pictures import Walk, walks
from webdemo.fake_pki import default_folder, fake_pki

FOLDER = ROOT / "docs/pictures"
MAX_BYTES = 100_000
WIDTH, HEIGHT = 900, 740


def _see(walk: Walk, words: str) -> None:
    expect(walk.page.get_by_text(words).first).to_be_visible()


def no_card(walk: Walk) -> None:
    """The way in, before a card is in the reader."""
    walk.open("/")
    _see(walk, "Insérez votre carte")


def pin(walk: Walk) -> None:
    """The card was read: its holder is named, the code is asked for."""
    walk.desk.insert("doctor")
    _see(walk, "Camille LAVERGNE")


def wrong_pin(walk: Walk) -> None:
    """A wrong code, and the attempts that are left."""
    walk.type_pin("0000")
    _see(walk, "2 essais restants")


def logged_in(walk: Walk) -> None:
    """The application, open."""
    walk.type_pin("1234")
    expect(walk.page.locator("#cps-pin")).to_have_count(0)
    _see(walk, "Camille LAVERGNE")


def card_pulled(walk: Walk) -> None:
    """What is left on the screen when the card was pulled."""
    walk.desk.pull()
    _see(walk, "Carte retirée, session fermée")


SCENES: Mapping[str, Callable[[Walk], None]] = {
    "no-card": no_card,
    "pin": pin,
    "wrong-pin": wrong_pin,
    "logged-in": logged_in,
    "card-pulled": card_pulled,
}
"""By the name of the picture; played in this order, in one go."""


def take_pictures(folder: Path) -> None:
    """Play every scene in French, and keep what is on the screen at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=20_000)
    kept = default_folder()
    with walks(fake_pki(kept), folder_judge(kept)) as (french, _english):
        french.begin()
        french.page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        for name, scene in SCENES.items():
            scene(french)
            french.page.screenshot(path=folder / f"{name}.png", animations="disabled")


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)

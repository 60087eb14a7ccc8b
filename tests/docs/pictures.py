"""Pictures of the book: python -m tests.docs.pictures [FOLDER], docs/pictures by default.

A real Chromium plays what the page for doctor and secretary tells, on the demo's virtual reader.
Each picture is taken only after the words that the book quotes were seen on the screen.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

from cps_auth.pki.judge import folder_judge
from tests.docs.markdown import ROOT
from webdemo.application import create_app, stop_app
from webdemo.desk import VirtualDesk
from webdemo.fake_pki import default_folder, fake_pki
from webdemo.serve import bind_loopback, origin_of, serving

FOLDER = ROOT / "docs/pictures"
MAX_BYTES = 100_000
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


@dataclass(frozen=True, slots=True)
class Stage:
    """A browser, the application that it looks at, and the reader beside it."""

    page: Page
    origin: str
    desk: VirtualDesk

    def see(self, words: str) -> None:
        """Wait until some words are on the page."""
        expect(self.page.get_by_text(words).first).to_be_visible()

    def type_pin(self, digits: str) -> None:
        """Type a PIN and send it."""
        self.page.locator("#cps-pin").fill(digits)
        self.page.locator("form:has(#cps-pin) button").click()


def no_card(stage: Stage) -> None:
    """The way in, before a card is in the reader."""
    stage.page.goto(stage.origin + "/")
    stage.see("Insérez votre carte")


def pin(stage: Stage) -> None:
    """The card was read: its holder is named, the code is asked for."""
    stage.desk.insert("doctor")
    stage.see("Camille LAVERGNE")


def wrong_pin(stage: Stage) -> None:
    """A wrong code, and the attempts that are left."""
    stage.type_pin("0000")
    stage.see("2 essais restants")


def logged_in(stage: Stage) -> None:
    """The application, open."""
    stage.type_pin("1234")
    expect(stage.page.locator("#cps-pin")).to_have_count(0)
    stage.see("Camille LAVERGNE")


def card_pulled(stage: Stage) -> None:
    """What is left on the screen when the card was pulled."""
    stage.desk.pull()
    stage.see("Carte retirée, session fermée")


SCENES: Mapping[str, Callable[[Stage], None]] = {
    "no-card": no_card,
    "pin": pin,
    "wrong-pin": wrong_pin,
    "logged-in": logged_in,
    "card-pulled": card_pulled,
}
"""By the name of the picture; played in this order, in one go."""


@contextmanager
def stage(igc_folder: Path) -> Iterator[Stage]:
    """Serve the demo on a free port and open a French browser beside it."""
    desk = VirtualDesk(fake_pki(igc_folder))
    with tempfile.TemporaryDirectory() as folder, bind_loopback(0) as listener:
        origin = origin_of(listener)
        config = {"CPS_ORIGIN": origin, "CPS_DATABASE": Path(folder) / "sessions.sqlite3"}
        app = create_app(config, cards=desk.cards, judge=folder_judge(igc_folder))
        with serving(listener, app, stop_app), sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
            page = browser.new_page(locale="fr-FR", viewport={"width": 900, "height": 740})
            yield Stage(page, origin, desk)
            browser.close()


def take_pictures(folder: Path, igc_folder: Path) -> None:
    """Play every scene, and keep what is on the screen at its end."""
    folder.mkdir(parents=True, exist_ok=True)
    with stage(igc_folder) as played:
        for name, scene in SCENES.items():
            scene(played)
            played.page.screenshot(path=folder / f"{name}.png", animations="disabled")


if __name__ == "__main__":
    take_pictures(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER, default_folder())

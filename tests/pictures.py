"""Pictures of every page that a person meets: python -m tests.pictures FOLDER.

Each page is opened in both languages by a real Chromium, and shown in light, dark and forced
colours, on a desk and on a phone. `tests/flask/test_accessibility.py` walks the same pages.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Flask, abort
from flask.typing import ResponseReturnValue
from playwright.sync_api import Browser, Page, expect, sync_playwright

from cps_auth import errors
from cps_auth.flask.pages.refuse import answer_refusal
from cps_auth.flask.sessions.removal import UNKNOWN_PRESENCE, RemovalWatch
from cps_auth.pki.judge import Judge, folder_judge
from hardware_mocks.igc.fake_igc import FakeIgcSante
from webdemo.application import create_app, stop_app
from webdemo.desk import VirtualDesk
from webdemo.fake_pki import default_folder, fake_pki
from webdemo.serve import bind_loopback, origin_of, serving

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
LOCALES = {"fr": "fr-FR", "en": "en-GB"}
SCHEMES: Mapping[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "forced_colors": "none"},
    "dark": {"color_scheme": "dark", "forced_colors": "none"},
    "forced": {"color_scheme": "light", "forced_colors": "active"},
}
SIZES = {"desk": (1280, 800), "phone": (390, 844)}
ALL_METHODS = {
    "CPS_WEB_EID": True,
    "CPS_MTLS_PROXIES": ["192.0.2.1"],
    "CPS_MTLS_PRESET": "nginx",
    "CPS_MTLS_ORIGIN": "https://card.practice.test",
    "CPS_MTLS_SECRET": "x" * 32,
    "CPS_PSC": "production",
    "CPS_PSC_CLIENT_ID": "practice",
    "CPS_PSC_CLIENT_SECRET": "a secret of nobody",
}
WATCHERS_SEE_WITHIN_S = 20.0
SECOND = "Second lecteur 00 00"
REFUSALS: Mapping[str, errors.CpsAuthError] = {
    "too-many": errors.TooManyRequests(42.0),
    "store": errors.StoreUnavailable("sessions"),
    "forgery": errors.RequestMalformed("form-token"),
    "not-here": errors.PeerNotAllowed("peer-not-loopback"),
}


@dataclass
class Walk:
    """A browser page in one language, and the applications that it visits."""

    page: Page
    language: str
    desk: VirtualDesk
    practice: str  # the demo without its panel: what an application has
    panel: str  # the demo with its panel
    everything: str  # with every login method
    watches: list[RemovalWatch]

    def begin(self) -> None:
        """Start over: new cards, no card in, nobody logged in."""
        self.page.unroute_all()
        _show_as(self.page, "desk", "light")
        self.page.goto("about:blank")  # what watches over a session is gone before its card
        self.page.context.clear_cookies()
        if not self.desk.service_is_up:
            self.desk.start_service()
        self.desk.renew_cards()
        self.desk.readers.remove(SECOND)
        deadline = time.monotonic() + WATCHERS_SEE_WITHIN_S
        while any(watch._visits for watch in self.watches):  # a session would end by the last pull
            assert time.monotonic() < deadline, "the watchers did not see that the card left"
            time.sleep(0.005)
        # A page made while a service that came back was not asked again yet is made anew soon
        while any(watch.presence()["presence"] == UNKNOWN_PRESENCE for watch in self.watches):
            assert time.monotonic() < deadline, "the reader service did not come back"
            time.sleep(0.005)

    def open(self, path: str, *, at: str | None = None) -> None:
        """Open a page of an application; the practice's unless another is named."""
        self.page.goto((at or self.practice) + path)

    def log_in(self, persona: str = "doctor", path: str = "/", *, at: str | None = None) -> None:
        """Log in with a card, and go to a page."""
        self.desk.insert(persona)
        self.open(path, at=at)
        self.type_pin("1234")
        expect(self.page.locator("#cps-pin")).to_have_count(0)

    def type_pin(self, digits: str) -> None:
        """Type a PIN and send it."""
        self.page.locator("#cps-pin").fill(digits)
        self.page.locator("form:has(#cps-pin) button").click()


Scene = Callable[[Walk], None]
SCENES: dict[str, Scene] = {}
"""By name: what brings a page on the screen."""


def scene(name: str) -> Callable[[Scene], Scene]:
    """Register a page under a name."""

    def register(show: Scene) -> Scene:
        SCENES[name] = show
        return show

    return register


def _opens(name: str, path: str, persona: str | None = None, *, logged_in: bool = False) -> None:
    def show(walk: Walk) -> None:
        if logged_in:
            walk.log_in(persona or "doctor", path)
        else:
            if persona is not None:
                walk.desk.insert(persona)
            walk.open(path)

    SCENES[name] = show


_opens("login-empty", "/cps/login")
_opens("login-card", "/cps/login", "doctor")
_opens("login-nameless", "/cps/login", "cpe-nameless")
_opens("login-last-attempt", "/cps/login", "last-attempt")
_opens("login-blocked", "/cps/login", "pin-blocked")
_opens("login-revoked", "/cps/login", "revoked")
_opens("login-unknown-authority", "/cps/login", "unknown-root")
_opens("agenda", "/", logged_in=True)
_opens("patients", "/patients", logged_in=True)
_opens("patient", "/patients/2070", logged_in=True)
_opens("patient-child", "/patients/2063", logged_in=True)
_opens("consultations", "/patients/2041/consultations", logged_in=True)
_opens("right-missing", "/patients/2041/consultations", "pharmacist", logged_in=True)
_opens("not-found", "/patients/1", logged_in=True)
_opens("server-error", "/pictures/error")
_opens("integration", "/integration")
for _name in REFUSALS:
    _opens(f"refused-{_name}", f"/pictures/refused/{_name}")


@scene("login-wrong-pin")
def _wrong_pin(walk: Walk) -> None:
    walk.desk.insert("doctor")
    walk.open("/cps/login")
    walk.type_pin("0000")
    expect(walk.page.get_by_role("alert")).to_be_visible()


def _type_puk(page: Page, puk: str) -> None:
    for name, code in (("puk", puk), ("new_pin", "4711"), ("new_pin_again", "4711")):
        page.locator(f"#cps-{name}").fill(code)
    page.locator("form:has(#cps-puk) button").click()


@scene("login-wrong-puk")
def _wrong_puk(walk: Walk) -> None:
    walk.desk.insert("pin-blocked")
    walk.open("/cps/login")
    _type_puk(walk.page, "87654321")
    expect(walk.page.locator(".cps-note-refused")).to_be_visible()


@scene("login-unblocked")
def _unblocked(walk: Walk) -> None:
    walk.desk.insert("pin-blocked")
    walk.open("/cps/login")
    _type_puk(walk.page, "12345678")
    expect(walk.page.locator("#cps-pin")).to_be_visible()


@scene("login-several-cards")
def _several(walk: Walk) -> None:
    walk.desk.insert("doctor")
    walk.desk.readers.insert(SECOND, walk.desk.card("nurse"))
    walk.open("/cps/login")


@scene("login-chosen-card")
def _chosen(walk: Walk) -> None:
    _several(walk)
    walk.page.locator("a.cps-choice").last.click()
    expect(walk.page.locator("#cps-pin")).to_be_visible()


@scene("login-reader-lost")
def _reader_lost(walk: Walk) -> None:
    walk.desk.stop_service()
    walk.open("/cps/login")


@scene("login-logged-out")
def _logged_out(walk: Walk) -> None:
    walk.log_in()
    walk.page.locator("form[action$=logout] button").click()
    expect(walk.page.locator("#cps-pin")).to_be_visible()


@scene("login-beside")
def _beside(walk: Walk) -> None:
    walk.desk.insert("nurse")
    walk.open("/cps/login", at=walk.everything)


@scene("login-remote")
def _remote(walk: Walk) -> None:
    walk.open("/cps/login?remote=1", at=walk.everything)


@scene("login-remote-no-extension")
def _no_extension(walk: Walk) -> None:
    _remote(walk)
    walk.page.locator("#cps-web-eid").click()
    expect(walk.page.get_by_role("alert")).to_be_visible()


@scene("closed-card-removed")
def _card_removed(walk: Walk) -> None:
    walk.log_in()
    walk.desk.pull()
    expect(walk.page.locator("[data-reason=card-removed]")).to_be_visible()


@scene("closed-reader-lost")
def _session_reader_lost(walk: Walk) -> None:
    walk.log_in()
    walk.desk.stop_service()
    expect(walk.page.locator("[data-reason=service-lost]")).to_be_visible()


@scene("closed-nobody")
def _closed_nobody(walk: Walk) -> None:
    walk.open("/cps/closed")


@scene("covered")
def _covered(walk: Walk) -> None:
    walk.log_in()
    walk.page.route("**/cps/status", lambda route: route.abort())
    expect(walk.page.get_by_role("alertdialog")).to_be_visible()


@scene("panel-login")
def _panel_login(walk: Walk) -> None:
    walk.desk.insert("doctor")
    walk.open("/", at=walk.panel)
    expect(walk.page.locator("#cps-pin")).to_be_visible()


@scene("panel-agenda")
def _panel_agenda(walk: Walk) -> None:
    walk.log_in(at=walk.panel)


def _show_refusal(name: str) -> ResponseReturnValue:
    return answer_refusal(REFUSALS[name])


def _fail() -> ResponseReturnValue:
    abort(500)


def _application(folder: Path, name: str, origin: str, judge: Judge, **more: Any) -> Flask:
    desk: VirtualDesk = more.pop("desk")
    config = {
        "CPS_ORIGIN": origin,
        "CPS_DATABASE": folder / f"{name}.sqlite3",
        "CPS_REQUESTS_PER_MINUTE": 10_000,
        "CPS_REFUSALS_BEFORE_LOCKOUT": 10_000,
        **more.pop("config", {}),
    }
    app = create_app(config, cards=desk.cards, judge=judge, **more)
    app.add_url_rule("/pictures/refused/<name>", "show_refusal", _show_refusal)
    app.add_url_rule("/pictures/error", "fail", _fail)
    return app


@contextmanager
def walks(igc: FakeIgcSante, judge: Judge) -> Iterator[list[Walk]]:
    """Serve the applications and open a browser in each language.

    Args:
        igc: whose cards are on the desk.
        judge: trusts them.
    """
    desk = VirtualDesk(igc)
    desk.readers.add_reader(SECOND)
    kinds: Mapping[str, dict[str, Any]] = {
        "practice": {},
        "panel": {"mock_panel": desk},
        "everything": {"config": ALL_METHODS},
    }
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pictures-")))
        origins, watches = {}, []
        for name, more in kinds.items():
            listener = stack.enter_context(bind_loopback(0))
            origins[name] = origin_of(listener)
            app = _application(folder, name, origins[name], judge, desk=desk, **more)
            watches.append(app.extensions["cps_login"].methods["local-reader"].removal)
            stack.enter_context(serving(listener, app, stop_app))
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        stack.callback(browser.close)
        yield [
            Walk(_page(browser, locale), language, desk, watches=watches, **origins)
            for language, locale in LOCALES.items()
        ]


def _page(browser: Browser, locale: str) -> Page:
    page = browser.new_context(locale=locale, reduced_motion="reduce").new_page()
    page.set_default_timeout(20_000)
    return page


def variants(page: Page) -> Iterator[str]:
    """Show the page that is open in every size and colour scheme, without loading it again."""
    for size in SIZES:
        for scheme in SCHEMES:
            _show_as(page, size, scheme)
            yield f"{size}-{scheme}"


def _show_as(page: Page, size: str, scheme: str) -> None:
    width, height = SIZES[size]
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(**SCHEMES[scheme])


def main(arguments: list[str]) -> int:
    """Make the pictures; names of scenes after the folder make only those."""
    if not arguments:
        print(__doc__)
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    expect.set_options(timeout=20_000)
    kept = default_folder()
    with walks(fake_pki(kept), folder_judge(kept)) as both:
        for walk in both:
            for name in arguments[1:] or SCENES:
                walk.begin()
                SCENES[name](walk)
                for variant in variants(walk.page):
                    walk.page.screenshot(path=folder / f"{name}-{walk.language}-{variant}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

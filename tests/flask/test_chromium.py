"""A real browser: the login page follows the card, and an open page notices that it left."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from flask import Flask, render_template_string, request
from flask_login import login_required
from playwright.sync_api import APIResponse, Page, Request, Route, expect, sync_playwright

from cps_auth.flask import CpsLogin
from cps_auth.pki.judge import Judge
from webdemo.application import create_app, stop_app
from webdemo.desk import VirtualDesk
from webdemo.serve import bind_loopback, origin_of, serving

pytestmark = pytest.mark.system

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NOTICED_WITHIN_S = 3.0
"""About one second, and room; on a busy machine, the best of a few times."""
TRIES = 5
SECOND = "Second lecteur 00 00"


@pytest.fixture
def origin(desk: VirtualDesk, judge: Judge, tmp_path: Path) -> Iterator[str]:
    """The demo, served on a free loopback port."""
    with bind_loopback(0) as listener:
        where = origin_of(listener)
        config = {"CPS_ORIGIN": where, "CPS_DATABASE": tmp_path / "demo.sqlite3"}
        app = create_app(config, cards=desk.cards, judge=judge, mock_panel=desk)
        with serving(listener, app, stop_app):
            yield where


@pytest.fixture
def page() -> Iterator[Page]:
    """An empty tab of a French browser; anything that a page's script does wrong fails the test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        tab = browser.new_context(locale="fr-FR").new_page()
        tab.set_default_timeout(20_000)
        expect.set_options(timeout=20_000)
        wrong: list[str] = []
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda said: wrong.append(said.text) if "Policy" in said.text else None)
        yield tab
        browser.close()
    assert wrong == []


def test_a_practitioner_logs_in_works_and_pulls_the_card(
    page: Page, origin: str, desk: VirtualDesk
) -> None:
    """Insert, type four digits, see the page; pull, and the page goes away by itself, at once."""
    for _ in range(TRIES):
        if log_in_and_pull(page, origin, desk) < NOTICED_WITHIN_S:
            break
    else:
        pytest.fail("the page notices too late that the card was pulled")
    page.go_back()
    expect(page.get_by_text("Amlodipine")).to_have_count(0)


def log_in_and_pull(page: Page, origin: str, desk: VirtualDesk) -> float:
    """Return the seconds until the page said that the card was pulled."""
    page.context.clear_cookies()
    page.goto(origin)
    expect(page.get_by_role("heading", level=1)).to_have_text("Insérez votre carte CPS")
    desk.insert("doctor")
    expect(page.get_by_text("Camille LAVERGNE", exact=True)).to_be_visible()
    pin = page.get_by_label("Les quatre chiffres du code porteur")
    expect(pin).to_be_focused()
    pin.press_sequentially("1234")
    pin.press("Enter")
    page.get_by_role("link", name="Odette Marivaux").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Odette Marivaux")
    pulled_at = time.monotonic()
    desk.pull()
    expect(page.get_by_role("heading", level=1)).to_have_text("Carte retirée, session fermée")
    return time.monotonic() - pulled_at


def test_a_wrong_pin_is_explained_and_the_next_one_is_typed_by_hand(
    page: Page, origin: str, desk: VirtualDesk
) -> None:
    """The alert tells the attempts left; nothing is filled in and reloading sends nothing."""
    desk.insert("doctor")
    page.goto(origin)
    page.get_by_label("Les quatre chiffres du code porteur").fill("0000")
    page.get_by_role("button", name="Se connecter").click()
    expect(page.get_by_role("alert")).to_contain_text("2 essais restants.")
    expect(page.get_by_label("Les quatre chiffres du code porteur")).to_have_value("")
    page.reload()
    expect(page.get_by_role("main")).to_be_visible()
    assert desk.card("doctor").pin_attempts_left == 2


@contextmanager
def held_back(
    page: Page, path: str, meanwhile: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Hold the answer to a form back until the page's script heard of its consequences, twice."""
    held: list[tuple[Route, APIResponse]] = []
    asked: list[str] = []
    led: list[str] = []

    def hold(route: Route) -> None:
        if route.request.method == "POST":
            held.append((route, route.fetch(max_redirects=0)))
            meanwhile()
        else:
            route.continue_()

    page.route(f"**{path}*", hold)
    yield

    def note(sent: Request) -> None:
        if held:
            (led if sent.is_navigation_request() else asked).append(sent.url)

    page.on("request", note)
    while sum(url.endswith("/cps/status") for url in asked) < 3:  # two were answered since then
        assert led == []
        page.wait_for_timeout(20)
    ((route, answer),) = held
    route.fulfill(response=answer)


def test_a_logout_leads_where_its_answer_says(page: Page, origin: str, desk: VirtualDesk) -> None:
    """The page hears that its session is over before the logout's slow answer, and waits for it."""
    desk.insert("doctor")
    page.goto(origin)
    page.get_by_label("Les quatre chiffres du code porteur").fill("1234")
    page.get_by_role("button", name="Se connecter").click()
    with held_back(page, "/cps/logout"):
        page.locator("form[action$=logout] button").click(no_wait_after=True)
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Session fermée")
    expect(page.get_by_label("Les quatre chiffres du code porteur")).to_be_visible()


def test_a_login_leads_where_its_answer_says(page: Page, origin: str, desk: VirtualDesk) -> None:
    """A colleague's card comes while the PIN is verified: the page is not made anew meanwhile."""
    desk.readers.add_reader(SECOND)
    colleague = desk.card("nurse")
    desk.insert("doctor")
    page.goto(origin)
    page.get_by_label("Les quatre chiffres du code porteur").fill("1234")
    with held_back(page, "/cps/login", lambda: desk.readers.insert(SECOND, colleague)):
        page.get_by_role("button", name="Se connecter").click(no_wait_after=True)
    expect(page.locator("form[action$=logout]")).to_be_visible()


def test_another_tab_notices_too(page: Page, origin: str, desk: VirtualDesk) -> None:
    """Every open page of the session closes, and inserting a card leads back to the login."""
    desk.insert("nurse")
    page.goto(origin)
    page.get_by_label("Les quatre chiffres du code porteur").fill("1234")
    page.get_by_role("button", name="Se connecter").click()
    expect(page.get_by_role("list").first).to_be_visible()
    other = page.context.new_page()
    other.goto(origin + "/patients")
    desk.pull()
    for tab in (page, other):
        expect(tab.get_by_role("heading", level=1)).to_have_text("Carte retirée, session fermée")
    desk.insert("doctor")
    expect(other.get_by_role("heading", level=1)).to_have_text("Saisissez votre code")


def test_the_panel_pulls_the_card_beside_the_page(
    page: Page, origin: str, desk: VirtualDesk
) -> None:
    """With the mock reader a person plays the story with the mouse alone."""
    page.goto(origin)
    page.locator("[data-persona=pharmacist]").click()
    page.get_by_label("Les quatre chiffres du code porteur").fill("1234")
    page.get_by_role("button", name="Se connecter").click()
    expect(page.get_by_text("Pharmacie des Tilleuls")).to_be_visible()
    page.get_by_role("button", name="Retirer la carte").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Carte retirée, session fermée")
    expect(page.locator(".desk-lock strong")).to_have_text("verrouillé")
    assert desk.inserted is None


@dataclass
class Status:
    """The status address of a served application: how often it was asked, and a way to stop it."""

    answers: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def __post_init__(self) -> None:
        self.answers.set()

    def watch(self) -> None:
        """Count, and wait while nothing is to be answered."""
        if request.endpoint == "cps.status":
            self.asked += 1
            assert self.answers.wait(60)


@pytest.fixture
def watched(desk: VirtualDesk, judge: Judge, tmp_path: Path) -> Iterator[tuple[str, Status]]:
    """A page with a field, watched over, and the server's status address."""
    status = Status()
    with bind_loopback(0) as listener:
        where = origin_of(listener)
        app = Flask("watched")
        app.config.update(
            SECRET_KEY="k", CPS_ORIGIN=where, CPS_DATABASE=tmp_path / "watched.sqlite3"
        )
        login = CpsLogin(app, cards=desk.cards, judge=judge)
        app.before_request(status.watch)

        @app.get("/")
        @login_required
        def home() -> str:
            return render_template_string("<input aria-label=Dose> {{ cps_watch() }}")

        with serving(listener, app, login.stop):
            yield where, status
        status.answers.set()


def _log_in(page: Page, origin: str, desk: VirtualDesk) -> None:
    desk.insert("doctor")
    page.goto(origin)
    page.get_by_label("Les quatre chiffres du code porteur").fill("1234")
    page.get_by_role("button", name="Se connecter").click()
    expect(page.get_by_label("Dose")).to_be_visible()


def test_a_page_whose_server_hangs_is_out_of_reach(
    page: Page, watched: tuple[str, Status], desk: VirtualDesk
) -> None:
    """Covered, and inert for Tab and screen readers; when the server is back, so is the page."""
    origin, status = watched
    _log_in(page, origin, desk)
    dose = page.get_by_label("Dose")
    dose.fill("5 mg")
    status.answers.clear()
    asked_at = time.monotonic()
    cover = page.get_by_role("alertdialog")
    expect(cover).to_be_visible()
    assert time.monotonic() - asked_at < NOTICED_WITHIN_S
    for _ in range(3):
        page.keyboard.press("Escape")
        page.keyboard.press("Tab")
    expect(cover).to_be_visible()
    assert page.evaluate("document.activeElement.tagName") != "INPUT"
    page.keyboard.type("0")
    status.answers.set()
    expect(cover).to_have_count(0)
    expect(dose).to_have_value("5 mg")


def test_one_tab_asks_for_all(page: Page, watched: tuple[str, Status], desk: VirtualDesk) -> None:
    """Four tabs cost no more than one, and all of them notice."""
    origin, status = watched
    _log_in(page, origin, desk)
    tabs = [page, *(page.context.new_page() for _ in range(3))]
    for tab in tabs[1:]:
        tab.goto(origin)
    page.wait_for_timeout(500)
    before, began = status.asked, time.monotonic()
    page.wait_for_timeout(3000)
    per_second = (status.asked - before) / (time.monotonic() - began)
    assert 0 < per_second < 5  # one tab alone asks 2.5 times
    desk.pull()
    for tab in tabs:
        expect(tab.get_by_role("heading", level=1)).to_have_text("Carte retirée, session fermée")


@pytest.fixture
def remote_login(desk: VirtualDesk, judge: Judge, tmp_path: Path) -> Iterator[str]:
    """The demo's login page for cards in other machines."""
    with bind_loopback(0) as listener:
        where = origin_of(listener)
        config = {
            "CPS_ORIGIN": where,
            "CPS_DATABASE": tmp_path / "demo.sqlite3",
            "CPS_WEB_EID": True,
        }
        app = create_app(config, cards=desk.cards, judge=judge)
        with serving(listener, app, stop_app):
            yield f"{where}/cps/login?remote=1"


def test_a_page_older_than_the_session_is_made_anew_once(page: Page, remote_login: str) -> None:
    """A tab that the browser brought back, or left open beside a login, is no refusal to read."""
    page.goto(remote_login)
    button = page.get_by_role("button", name="Se connecter avec ma carte")
    page.context.clear_cookies()
    with page.expect_navigation():
        button.click()
    button.click()
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Votre navigateur n’a pas encore l’extension")
    page.context.clear_cookies()
    with page.expect_navigation():
        button.click()
    page.context.clear_cookies()
    button.click()
    expect(alert).to_contain_text("La connexion a été refusée")


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_for_developers_fits_every_screen(page: Page, origin: str, width: int) -> None:
    """How to put the card into one's own application: no login, no sideways scrolling."""
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{origin}/integration")
    expect(page.get_by_role("heading", level=1)).to_have_text("La carte CPS dans votre application")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

"""Chromium, the demo and a real OpenID provider: there, back as the card's own doctor, and out."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask, Response, request
from playwright.sync_api import Page, expect, sync_playwright

from cps_auth.flask.sessions.model import EndReason, SessionRow
from cps_auth.flask.state import LoginState
from cps_auth.pki.judge import Judge, folder_judge
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.pro_sante_connect.stand_in import StandIn, stand_in
from webdemo.application import create_app, stop_app
from webdemo.desk import VirtualDesk
from webdemo.serve import bind_loopback, origin_of, serving

pytestmark = pytest.mark.system

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
DEADLINE_S = 20.0
BUTTON = "Se connecter avec Pro Santé Connect"
DOCTOR = re.compile("Camille LAVERGNE")


@dataclass
class Demo:
    """The running demo, its provider and its virtual reader.

    Attributes:
        left_open: sessions that were open when a back-channel logout had its answer.
    """

    origin: str
    app: Flask
    provider: StandIn
    desk: VirtualDesk
    left_open: list[int]

    def sessions(self) -> tuple[SessionRow, ...]:
        """Return the open sessions."""
        state: LoginState = self.app.extensions["cps_login"]
        return state.stores.sessions.live(at=state.clock())


@pytest.fixture
def demo(
    psc_installed: None,  # noqa: ARG001, it skips
    igc: FakeIgcSante,
    igc_dir: Path,
    tmp_path: Path,
) -> Iterator[Demo]:
    """Serve the demo on a free port, with a stand-in Pro Santé Connect of its own."""
    desk = VirtualDesk(igc)
    judge: Judge = folder_judge(igc_dir)
    with bind_loopback(0) as listener:
        origin = origin_of(listener)
        with stand_in(origin) as provider:
            config = {"CPS_ORIGIN": origin, "CPS_DATABASE": tmp_path / "demo.sqlite3"}
            app = create_app(
                {**config, **provider.settings()}, cards=desk.cards, judge=judge, mock_panel=desk
            )
            demo = Demo(origin, app, provider, desk, [])

            def count(response: Response) -> Response:
                if request.path == "/cps/psc/backchannel-logout":
                    demo.left_open.append(len(demo.sessions()))
                return response

            app.after_request(count)
            with serving(listener, app, stop_app):
                yield demo


@pytest.fixture
def page() -> Iterator[Page]:
    """An empty tab of a French browser; anything that a page's policy forbids fails the test."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])
        tab = browser.new_context(locale="fr-FR").new_page()
        tab.set_default_timeout(DEADLINE_S * 1000)
        expect.set_options(timeout=DEADLINE_S * 1000)
        wrong: list[str] = []
        tab.on("console", lambda said: wrong.append(said.text) if "Policy" in said.text else None)
        yield tab
        browser.close()
    assert wrong == []


def come_in(page: Page, demo: Demo) -> SessionRow:
    """Press the button, choose the doctor at the provider, and come back."""
    page.goto(demo.origin)
    page.get_by_role("button", name=BUTTON).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Choisissez une personne inventée")
    assert page.url.startswith(demo.provider.issuer.split("/auth/")[0])
    page.get_by_role("button", name=DOCTOR).click()
    page.wait_for_url(demo.origin + "/")
    expect(page.get_by_text(DOCTOR).first).to_be_visible()
    (row,) = demo.sessions()
    return row


def test_the_provider_gives_the_doctor_that_the_card_is(page: Page, demo: Demo) -> None:
    """The button is beside the reader; the card's login in that browser then takes its place."""
    by_provider = come_in(page, demo)
    assert by_provider.method == "pro-sante-connect"
    demo.desk.insert("doctor")
    page.goto(demo.origin + "/cps/login?card=1")
    page.get_by_label("Les quatre chiffres du code porteur").fill("1234")
    page.get_by_role("button", name="Se connecter", exact=True).click()
    page.wait_for_url(demo.origin + "/")
    expect(page.get_by_text(DOCTOR).first).to_be_visible()
    (by_card,) = demo.sessions()
    assert by_card.method == "local-reader"
    for name in ("ps_idnat", "display_name", "profession_code"):
        theirs = getattr(by_provider.holder.practitioner, name)
        assert getattr(by_card.holder.practitioner, name) == theirs


def test_the_provider_ends_the_session(page: Page, demo: Demo) -> None:
    """Logged out in another tab, at the provider itself: our row is over when it has its answer.

    So no second passes, on a machine that gives a request its time.
    """
    row = come_in(page, demo)
    assert row.holder.psc is not None
    other = page.context.new_page()
    other.goto(
        f"{demo.provider.issuer}/protocol/openid-connect/logout"
        f"?id_token_hint={row.holder.psc.id_token}"
    )
    other.get_by_role("button").click(no_wait_after=True)
    give_up_s = time.monotonic() + DEADLINE_S
    while not demo.left_open:
        assert time.monotonic() < give_up_s
        other.wait_for_timeout(10)
    assert demo.left_open == [0]
    closed = page.context.new_page()  # the first tab may be on its way there by itself
    closed.goto(demo.origin + "/cps/closed")
    expect(closed.locator(f'[data-reason="{EndReason.PROVIDER_LOGOUT.value}"]')).to_be_visible()


def test_our_logout_leads_through_the_provider_and_back(page: Page, demo: Demo) -> None:
    """Its session ends there, too: the button asks for a person again."""
    come_in(page, demo)
    page.get_by_role("button", name=re.compile("Fermer")).click()
    page.get_by_role("button", name=re.compile("Se déconnecter de Pro Santé Connect")).click()
    page.wait_for_url(re.compile(re.escape(demo.origin)))
    assert demo.sessions() == ()
    come_in(page, demo)


def test_on_a_phone_the_button_is_there_without_a_reader(page: Page, demo: Demo) -> None:
    """Small screen: nothing is cut off, and the button can be tapped."""
    page.set_viewport_size({"width": 360, "height": 640})
    page.goto(demo.origin)
    button = page.get_by_role("button", name=BUTTON)
    box = button.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    assert box["height"] >= 44

"""Everything together: a TLS page, our extension in Chromium, the card program, a card."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, expect, sync_playwright

pytestmark = pytest.mark.system

EXTENSION = Path(__file__).parents[3] / "webextension"
NOTICED_WITHIN_S = 1.0


@pytest.fixture
def browser(display: str, private_pcscd: Any) -> Iterator[BrowserContext]:
    """Chromium with our extension, in a home where `cps-auth browser install` was run."""
    with tempfile.TemporaryDirectory(prefix="home-") as home, sync_playwright() as play:
        env = {**private_pcscd.env, "DISPLAY": display, "HOME": home}
        env.pop("XDG_CONFIG_HOME", None)
        install = [sys.executable, "-m", "cps_auth", "browser", "install", "--browser", "chromium"]
        subprocess.run(install, env=env, check=True, capture_output=True)
        profile = Path(home) / ".config/chromium"
        context = play.chromium.launch_persistent_context(
            profile,
            executable_path="/usr/bin/chromium",
            headless=False,
            ignore_default_args=["--disable-extensions"],
            ignore_https_errors=True,
            locale="fr-FR",
            env=env,
            args=[
                "--no-sandbox",
                "--headless=new",
                "--disable-gpu",
                "--no-first-run",
                "--disable-background-networking",
                f"--disable-extensions-except={EXTENSION}",
                f"--load-extension={EXTENSION}",
            ],
        )
        context.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        yield context
        context.close()


def _log_in(page: Page, origin: str, hands: Any) -> None:
    page.goto(f"{origin}/cps/login?remote=1")
    page.get_by_role("button", name="Se connecter avec ma carte").click()
    hands.type("1234")
    hands.press("Return")
    expect(page.get_by_role("heading", level=1)).to_have_text("Camille LAVERGNE")


def test_the_same_application_takes_the_card_beside_it(
    browser: BrowserContext, served_here: tuple[str, Flask], private_pcscd: Any
) -> None:
    """Local reader: card in, four digits in the page, page; card out, page closed in a second."""
    inserted = private_pcscd.insert()
    page = browser.new_page()
    page.goto(served_here[0])
    page.get_by_label("Les quatre chiffres du code porteur").press_sequentially("1234")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Camille LAVERGNE")
    inserted.remove()
    private_pcscd.await_empty(inserted.reader)
    pulled_at = time.monotonic()
    expect(page.get_by_role("heading", level=1)).to_have_text("Carte retirée, session fermée")
    assert time.monotonic() - pulled_at < NOTICED_WITHIN_S + 0.5  # its page polls


def test_a_login_by_extension_ends_when_the_card_is_pulled(
    browser: BrowserContext, served: tuple[str, Flask], private_pcscd: Any, hands: Any
) -> None:
    """Click, PIN in the window of the computer, page; pull, and every page closes in a second."""
    origin, app = served
    inserted = private_pcscd.insert()
    page = browser.new_page()
    _log_in(page, origin, hands)
    other = browser.new_page()
    other.goto(origin)
    expect(other.get_by_role("heading", level=1)).to_have_text("Camille LAVERGNE")
    inserted.remove()
    private_pcscd.await_empty(inserted.reader)
    pulled_at = time.monotonic()
    state = app.extensions["cps_login"]
    hands.until(lambda: not state.stores.sessions.live(at=state.clock()))
    assert time.monotonic() - pulled_at < NOTICED_WITHIN_S
    for tab in (page, other):
        expect(tab.get_by_role("heading", level=1)).to_have_text("Carte retirée, session fermée")
    page.goto(origin)
    expect(page.get_by_role("heading", level=1)).not_to_have_text("Camille LAVERGNE")


@pytest.mark.parametrize(
    "leave",
    [lambda page: page.close(), lambda page: page.goto("about:blank")],
    ids=["closed", "another page"],
)
def test_a_page_that_is_left_leaves_no_window(
    browser: BrowserContext,
    served: tuple[str, Flask],
    private_pcscd: Any,
    hands: Any,
    leave: Callable[[Page], object],
) -> None:
    """Nobody is asked for a PIN on behalf of a page that is gone, and the next login can begin."""
    private_pcscd.insert()
    page = browser.new_page()
    page.goto(f"{served[0]}/cps/login?remote=1")
    page.get_by_role("button", name="Se connecter avec ma carte").click()
    hands.wait_for_window()
    leave(page)
    hands.wait_for_no_window()
    _log_in(browser.new_page(), served[0], hands)


_ASK_TWICE = """() => {
  window.heard = [];
  addEventListener("message", ({data}) => {
    if (/-(success|failure)$/.test(data?.action)) window.heard.push(data.action); });
  for (const nonce of ["A", "B"])
    postMessage({action: "web-eid:authenticate", challengeNonce: nonce.repeat(44)}); }"""


def test_a_page_that_asks_twice_at_once_is_answered_once(
    browser: BrowserContext, served: tuple[str, Flask], private_pcscd: Any, hands: Any
) -> None:
    """A double click is one login: the second request fails nothing."""
    private_pcscd.insert()
    page = browser.new_page()
    page.goto(f"{served[0]}/cps/login?remote=1")
    page.evaluate(_ASK_TWICE)
    hands.type("1234")
    hands.press("Return")
    hands.until(lambda: page.evaluate("() => window.heard"))
    assert page.evaluate("() => window.heard") == ["web-eid:authenticate-success"]


_SIGN_AND_WATCH = """() => new Promise((done) => {
  window.lost = new Promise((told) => addEventListener("message", ({data}) => {
    if (data?.action === "web-eid:authenticate-success") postMessage({action: "cps-auth:watch"});
    if (data?.action === "cps-auth:card-present") done(true);
    if (data?.action === "cps-auth:card-removed") told(data.reason); }));
  postMessage({action: "web-eid:authenticate", challengeNonce: "A".repeat(44)}); })"""


def _card_programs(display: str) -> list[Path]:
    """Return the card programs that run on a display."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_host = b"cps_auth.native_host" in (process / "cmdline").read_bytes()
            if is_host and f"DISPLAY={display}".encode() in (process / "environ").read_bytes():
                found.append(process)
    return found


_OTHER_EXTENSION = """() => new Promise((done) => {
  const heard = [];
  addEventListener("message", ({data}) => {
    if (data.action !== "web-eid:authenticate") heard.push(data.action);
    else postMessage({action: "web-eid:authenticate-ack"}); });
  postMessage({action: "web-eid:authenticate", challengeNonce: "A".repeat(44)});
  setTimeout(() => done(heard), 500); })"""


def test_a_login_that_another_extension_serves(
    browser: BrowserContext, served: tuple[str, Flask], private_pcscd: Any, hands: Any
) -> None:
    """Where Web eID's own extension acknowledges, ours says nothing and ends its card program."""
    private_pcscd.insert()
    page = browser.new_page()
    page.goto(f"{served[0]}/cps/login?remote=1")
    assert page.evaluate(_OTHER_EXTENSION) == ["web-eid:authenticate-ack"]
    hands.until(lambda: not _card_programs(hands.display))
    _log_in(browser.new_page(), served[0], hands)


def test_a_second_login_leaves_the_first_page_under_watch(
    browser: BrowserContext, served: tuple[str, Flask], private_pcscd: Any, hands: Any
) -> None:
    """Logging in again, as for a fresh proof, makes no page deaf to the card's removal."""
    inserted = private_pcscd.insert()
    pages = []
    for _ in range(2):
        page = browser.new_page()
        page.goto(f"{served[0]}/cps/login?remote=1")
        page.evaluate(f"() => {{ window.present = ({_SIGN_AND_WATCH})(); }}")
        hands.type("1234")
        hands.press("Return")
        assert page.evaluate("() => window.present")
        pages.append(page)
    inserted.remove()
    assert [page.evaluate("() => window.lost") for page in pages] == ["card-removed"] * 2


def test_cancelling_is_explained_on_the_page(
    browser: BrowserContext, served: tuple[str, Flask], private_pcscd: Any, hands: Any
) -> None:
    """Escape in the window: a sentence on the page, and the button is there again."""
    private_pcscd.insert()
    page = browser.new_page()
    page.goto(f"{served[0]}/cps/login?remote=1")
    page.get_by_role("button", name="Se connecter avec ma carte").click()
    hands.wait_for_window()
    hands.press("Escape")
    expect(page.get_by_role("alert")).to_contain_text("annulée")
    expect(page.get_by_role("button", name="Se connecter avec ma carte")).to_be_enabled()


def test_a_page_cannot_speak_for_another_origin(
    browser: BrowserContext, served: tuple[str, Flask], private_pcscd: Any, hands: Any
) -> None:
    """What a page says about its origin changes nothing: the browser says it."""
    private_pcscd.insert()
    page = browser.new_page()
    page.goto(f"{served[0]}/cps/login?remote=1")
    page.evaluate(
        """() => { window.heard = new Promise((done) => addEventListener("message", ({data}) => {
          if (data?.action === "web-eid:authenticate-success") done(data); }));
          window.postMessage({action: "web-eid:authenticate", challengeNonce: "A".repeat(44),
            origin: "https://bank.test", options: {lang: "fr", origin: "https://bank.test"}}); }"""
    )
    hands.type("1234")
    hands.press("Return")
    token = page.evaluate("() => window.heard")
    assert _signed_for(token, served[0])
    assert not _signed_for(token, "https://bank.test")


def _signed_for(token: dict[str, Any], origin: str) -> bool:
    from datetime import UTC, datetime

    from cryptography import x509

    from cps_auth.errors import BadSignature
    from cps_auth.login.challenge import challenge_of_site
    from cps_auth.login.proof import check_signature
    from cps_auth.login.web_eid import parse_token

    proof = parse_token(json.dumps(token).encode())
    key = x509.load_der_x509_certificate(proof.unverified_certificate_der).public_key()
    challenge = challenge_of_site(origin, "A" * 44, at=datetime.now(UTC))
    try:
        check_signature(key, challenge, proof.signature)
    except BadSignature:
        return False
    return True


def test_documents_are_not_signed(browser: BrowserContext, served: tuple[str, Flask]) -> None:
    """The signing messages of web-eid.js fail politely; status tells the versions."""
    page = browser.new_page()
    page.goto(f"{served[0]}/cps/login?remote=1")
    answers = page.evaluate(
        """async () => { const ask = (action) => new Promise((done) => {
             addEventListener("message", ({data}) => {
               if (new RegExp(`^${action}-(success|failure)$`).test(data?.action)) done(data); });
             window.postMessage({action}); });
           return [await ask("web-eid:sign"), await ask("web-eid:get-signing-certificate"),
             await ask("web-eid:status")]; }"""
    )
    assert [answer["action"] for answer in answers] == [
        "web-eid:sign-failure",
        "web-eid:get-signing-certificate-failure",
        "web-eid:status-success",
    ]
    assert answers[0]["error"]["code"] == "ERR_WEBEID_NATIVE_FATAL"
    assert answers[2]["nativeApp"].startswith("2.")

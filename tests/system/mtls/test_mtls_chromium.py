"""The way in by TLS in a real browser: what its policies let through, from button to page."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect, sync_playwright

pytestmark = pytest.mark.system

APP, CPS = "app.localhost", "cps.localhost"
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


RESOLVER = """
const dns = require("dns");
for (const [where, name] of [[dns, "lookup"], [dns.promises, "lookup"]]) {
  const real = where[name];
  where[name] = (host, ...rest) =>
    real.call(where, host.endsWith(".localhost") ? "127.0.0.1" : host, ...rest);
}
"""
"""Playwright holds the client certificate itself, and asks a resolver that lacks RFC 6761."""


@pytest.fixture
def open_tab(site, tmp_path, monkeypatch):
    """Gives a tab of a French browser, with or without a certificate for the other host."""
    (tmp_path / "resolver.js").write_text(RESOLVER)
    monkeypatch.setenv("NODE_OPTIONS", f"--require {tmp_path}/resolver.js")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGUMENTS])

        def give(pem_file=None):
            certificates = []
            if pem_file is not None:
                file = str(pem_file)
                certificates = [{"origin": site.origin(CPS), "certPath": file, "keyPath": file}]
            context = browser.new_context(
                locale="fr-FR", ignore_https_errors=True, client_certificates=certificates
            )
            tab = context.new_page()
            tab.set_default_timeout(20_000)
            expect.set_options(timeout=20_000)
            return tab

        yield give
        browser.close()


def test_chromium_goes_from_the_button_to_the_page(site, open_tab, persona_key) -> None:
    """The form's redirection to the other host and back passes every policy of the pages."""
    tab = open_tab(persona_key("doctor").pem_file)
    tab.goto(site.origin(APP) + "/")
    tab.get_by_role("button", name="certificat").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Camille LAVERGNE")
    assert tab.url == site.origin(APP) + "/"


def test_chromium_without_a_certificate_is_led_back_to_the_login(site, open_tab) -> None:
    """The refusal on the other host leads to the login page of the application's own."""
    tab = open_tab()
    tab.goto(site.origin(APP) + "/cps/login")
    tab.get_by_role("button", name="certificat").click()
    expect(tab.get_by_role("heading", level=1)).to_have_text("Demande refusée")
    assert tab.url.startswith(site.origin(CPS))
    tab.get_by_role("link", name="Ouvrir la page de connexion").click()
    expect(tab.get_by_role("button", name="certificat")).to_be_visible()
    assert tab.url == site.origin(APP) + "/cps/login"

"""TLS client certificates through real proxies: who comes in, and who only says so."""

from __future__ import annotations

import re
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from hardware_mocks.igc import FakeIgcSante

pytestmark = pytest.mark.system

PROXIES = ("nginx", "apache", "haproxy")


def _start(browser, site) -> str:
    page = browser.ask("GET", f"{site.origin}/cps/login").text
    found = re.search(r'name="cps_token" value="(\w+)"', page)
    assert found is not None, page
    form = {"cps_token": found.group(1), "next": "/?x=1"}
    begun = browser.ask("POST", f"{site.origin}/cps/mtls/start", form)
    assert begun.status == 303, begun.text + site.audit()
    assert begun.location.startswith(f"{site.mtls_origin}/cps/mtls/prove?started=")
    return begun.location


@pytest.mark.parametrize("proxy", PROXIES)
def test_a_holder_comes_in_with_their_certificate(make_site, browser_of, proxy: str) -> None:
    """Three steps, two hosts, two workers; and forged headers change nothing anywhere."""
    site = make_site(proxy)
    browser = browser_of("doctor")
    proved = browser.ask("GET", _start(browser, site))
    assert proved.status == 303, proved.text + site.audit()
    finished = browser.ask("GET", proved.location)
    assert (finished.status, finished.location) == (303, "/?x=1")
    assert "Camille LAVERGNE" in browser.ask("GET", f"{site.origin}/").text
    again = browser.ask("GET", proved.location)
    assert again.status == 403  # the code is gone
    assert "login accepted holder=899900000011" in site.audit()
    assert "way_in=mtls" in site.audit()


@pytest.mark.parametrize(
    ("persona", "code"),
    [
        ("revoked", "certificate-revoked"),
        ("unknown-root", "request-malformed"),  # the proxy says FAILED, and that ends it
        (None, "request-malformed"),
    ],
)
def test_t41_what_nginx_passes_on_is_judged_again(
    make_site, browser_of, persona: str | None, code: str
) -> None:
    """T41: the proxy's word is needed and never enough; one answer for every reason."""
    site = make_site("nginx")
    browser = browser_of(persona)
    refused = browser.ask("GET", _start(browser, site))
    assert refused.status == 403
    assert "code=" + code in site.audit()
    assert browser.ask("GET", f"{site.origin}/").status == 401


@pytest.mark.parametrize("proxy", PROXIES)
def test_t41_forged_headers_do_not_pass(
    make_site, browser_of, igc: FakeIgcSante, proxy: str
) -> None:
    """T41: header by hand, twice, with underscores, on either host, with and without a card."""
    site = make_site(proxy)
    stranger = browser_of(None)
    there = _start(stranger, site)
    der = igc.credentials("doctor").authentication_certificate_der
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
    value = {"nginx": quote(pem), "apache": pem.replace("\n", " ").strip()}.get(proxy)
    value = value or "".join(pem.splitlines()[1:-1])
    good = "0" if proxy == "haproxy" else "SUCCESS"
    forgeries = [
        [("X-SSL-Client-Cert", value), ("X-SSL-Client-Verify", good)],
        [("x-ssl-client-cert", value), ("x-ssl-client-verify", good)],
        [("X_SSL_Client_Cert", value), ("X_SSL_Client_Verify", good)],
        [("X-SSL-Client-Cert", value)] * 2 + [("X-SSL-Client-Verify", good)] * 2,
        [("X-SSL-Client-Cert", value), ("X_SSL_Client_Cert", value),
         ("X-SSL-Client-Verify", good), ("X_SSL_Client_Verify", good)],
    ]  # fmt: skip
    own = there.replace(site.mtls_origin, site.origin)
    for headers in forgeries:
        for url in (there, own):
            answer = stranger.ask("GET", url, headers=headers)
            assert answer.status in (400, 403), (url, headers)
    assert "login accepted" not in site.audit()


def test_a_link_from_somebody_else_logs_nobody_in(make_site, browser_of) -> None:
    """T46: a victim's certificate, sent by a link, opens nothing in the attacker's browser."""
    site = make_site("nginx")
    attacker, victim = browser_of(None), browser_of("doctor")
    there = _start(attacker, site)
    proved = victim.ask("GET", there)
    assert proved.status == 303
    assert victim.ask("GET", proved.location).status == 403  # another browser had started
    assert attacker.ask("GET", proved.location).status == 403  # and the code is gone
    assert "code=challenge-unknown" in site.audit()

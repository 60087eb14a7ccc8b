"""T41 through real proxies: the configurations of docs/mtls.md, gunicorn with two workers."""

from __future__ import annotations

import base64
import http.client
import ssl
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding

from hardware_mocks.igc.fake_igc import FakeIgcSante

pytestmark = pytest.mark.system

APP, CPS = "app.localhost", "cps.localhost"
STRANGER_ADDRESS = "127.0.0.3"  # neither the browser's nor a proxy's
BROKEN_OFF = (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)
PUBLIC_MESSAGE = "Rouvrez la page de connexion"


def _spelled(proxy: str, der: bytes) -> str:
    """Write a certificate as that proxy does."""
    pem = x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()
    if proxy == "nginx":
        return quote(pem, safe="")
    return pem.replace("\n", " ") if proxy == "apache" else base64.b64encode(der).decode()


def _forged(site, der: bytes, *, secret: str | None = None) -> tuple[tuple[str, str], ...]:
    """Return the headers that the proxy itself would add."""
    return (
        ("X-SSL-Client-Cert", _spelled(site.proxy, der)),
        ("X-SSL-Client-Verify", "0" if site.proxy == "haproxy" else "SUCCESS"),
        ("X-CPS-Proxy-Secret", site.secret if secret is None else secret),
    )


@pytest.fixture
def refused(site):
    """Checks a refusal by the application: public message, one precise audit line, no session."""
    before = len(site.audit())

    def check(browser, answer, *why: str) -> None:
        assert answer.status == 403
        assert PUBLIC_MESSAGE in answer.text
        assert answer.location is None
        (line,) = site.audit()[before:]
        assert line.startswith("login refused code=")
        assert "method=mtls" in line
        assert any(reason in line for reason in why), line
        assert not browser.is_in()

    return check


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_card_logs_in_through_both_workers(site, visit, persona_key, version) -> None:
    """Whichever worker serves a step, the login works, and says that TLS proved it."""
    key, workers = persona_key("doctor"), set()
    for _ in range(40):
        browser = visit(key, version)
        started = browser.start()
        proved = browser.open(started)
        done = browser.open(proved.location)
        assert (done.status, done.location) == (303, "/me")
        shown = browser.open("/me")
        assert '"ps_idnat":"899900000011"' in shown.text
        assert '"proof":"tls"' in shown.text
        workers.add((proved.worker, done.worker, shown.worker))
        if any(len(set(served)) == 2 for served in workers):
            break
    else:
        pytest.fail("one worker served everything")
    assert "method=mtls proof=tls" in site.audit()[-1]


def test_without_a_certificate_nobody_is_let_in(visit, refused) -> None:
    """The proxy asks, the browser has none: a page of the application, and no session."""
    browser = visit()
    refused(browser, browser.log_in(), "no-certificate")


def test_a_self_signed_certificate_is_refused(
    site, visit, client_key, igc: FakeIgcSante, refused
) -> None:
    """The doctor's name under a key of one's own; the proxy passes it on with its no."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    genuine = x509.load_der_x509_certificate(
        igc.credentials("doctor").authentication_certificate_der
    )
    now = datetime.now(UTC)
    forged = (
        x509.CertificateBuilder()
        .subject_name(genuine.subject)
        .issuer_name(genuine.subject)
        .public_key(key.public_key())
        .serial_number(genuine.serial_number)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    browser = visit(client_key(forged.public_bytes(Encoding.DER), key))
    started = browser.start()
    try:
        answer = browser.open(started)
    except BROKEN_OFF:
        assert site.proxy == "caddy"
        assert not visit().is_in()
        return
    refused(browser, answer, "proxy-did-not-verify")


@pytest.mark.parametrize(
    ("persona", "why"),
    [
        ("revoked", "certificate-revoked"),
        ("test-category", "wrong-purpose"),
        ("signature-only", "wrong-purpose"),
        ("unknown-root", "untrusted-issuer"),
        ("expired", "certificate-expired"),
    ],
)
def test_a_card_that_must_not_log_in_is_refused(
    site, visit, persona_key, refused, persona: str, why: str
) -> None:
    """By the application, or by its proxy before: no session, and no code."""
    browser = visit(persona_key(persona))
    started = browser.start()
    try:
        answer = browser.open(started)
    except BROKEN_OFF:
        assert site.breaks_off
        assert persona in ("expired", "signature-only", "unknown-root")
        assert not visit().is_in()
        return
    refused(browser, answer, why, "proxy-did-not-verify")


def test_the_signature_certificate_of_a_good_card_is_refused(
    site, visit, igc: FakeIgcSante, client_key, refused
) -> None:
    """Its key is for documents, though its chain is genuine."""
    card = igc.credentials("doctor")
    browser = visit(client_key(card.signature_certificate_der, card.signature_key))
    try:
        answer = browser.open(browser.start())
    except BROKEN_OFF:
        assert site.breaks_off
        return
    refused(browser, answer, "wrong-purpose", "proxy-did-not-verify")


def _spellings(name: str) -> tuple[str, ...]:
    return (name, name.replace("-", "_"), name.lower(), name.upper().replace("-", "_"))


FORGERIES = {
    "as the proxy writes them": lambda headers: headers,
    "with underscores": lambda headers: [(n.replace("-", "_"), v) for n, v in headers],
    "in lower case": lambda headers: [(n.lower(), v) for n, v in headers],
    "half with underscores": lambda headers: [(n.replace("-", "_", 1), v) for n, v in headers],
    "each of them twice": lambda headers: [*headers, *headers],
    "in every spelling at once": lambda headers: [
        (spelled, v) for n, v in headers for spelled in _spellings(n)
    ],
}


@pytest.mark.parametrize("forgery", sorted(FORGERIES))
@pytest.mark.parametrize("host", [APP, CPS])
def test_t41_headers_that_the_browser_wrote_count_for_nothing(
    site, visit, igc: FakeIgcSante, refused, host: str, forgery: str
) -> None:
    """Through either host, in any spelling, even by somebody who learnt the secret."""
    browser = visit()
    der = igc.credentials("doctor").authentication_certificate_der
    path = browser.start().removeprefix(site.origin(CPS))
    answer = browser.open(
        site.origin(host) + path, headers=tuple(FORGERIES[forgery](_forged(site, der)))
    )
    refused(browser, answer, "not-the-mtls-host" if host == APP else "no-certificate")


@pytest.mark.parametrize("forgery", sorted(FORGERIES))
def test_t41_forged_headers_do_not_replace_the_certificate_of_the_handshake(
    site, visit, persona_key, igc: FakeIgcSante, forgery: str
) -> None:
    """A nurse who writes the doctor's certificate into a header is the nurse, or refused."""
    browser = visit(persona_key("nurse"))
    der = igc.credentials("doctor").authentication_certificate_der
    headers = tuple(FORGERIES[forgery](_forged(site, der)))
    answer = browser.open(browser.start(), headers=headers)
    if answer.status == 303:
        browser.open(answer.location)
        assert '"ps_idnat":"00B6000033"' in browser.open("/me").text
    else:
        assert not browser.is_in()


@pytest.mark.parametrize("name_first", [APP, CPS])
def test_t41_the_name_in_tls_and_the_host_in_http_must_agree(
    site, visit, igc: FakeIgcSante, name_first: str
) -> None:
    """A handshake under one name gives no rights under the other."""
    browser = visit()
    der = igc.credentials("doctor").authentication_certificate_der
    other = APP if name_first == CPS else CPS
    path = browser.start().removeprefix(site.origin(CPS))
    answer = browser.open(site.origin(other) + path, headers=_forged(site, der), sni=name_first)
    assert answer.status in (403, 404, 421)
    assert answer.location is None
    assert not browser.is_in()


def test_t41_gunicorn_itself_believes_nobody_but_the_proxy(
    site, visit, igc: FakeIgcSante, refused
) -> None:
    """Everything right, secret and Host included, from another address of this machine."""
    browser = visit()
    parts = urlsplit(browser.start())
    der = igc.credentials("doctor").authentication_certificate_der
    connection = http.client.HTTPConnection(
        "127.0.0.1", site.gunicorn_port, timeout=30, source_address=(STRANGER_ADDRESS, 0)
    )
    forwarded = {"Host": parts.netloc, "X-Forwarded-For": site.proxy_address}
    headers = dict(_forged(site, der)) | forwarded
    connection.request("GET", f"{parts.path}?{parts.query}", headers=headers)
    answer = connection.getresponse()
    page = type("Page", (), {"status": answer.status, "location": answer.headers["Location"]})()
    page.text = answer.read().decode()
    connection.close()
    refused(browser, page, "not-the-proxy")


SMUGGLED = {
    "a folded line": "X-Note: a\r\n {name}: {value}\r\n",
    "a space before the colon": "{name} : {value}\r\n",
    "a tab before the colon": "{name}\t: {value}\r\n",
    "a bare line feed": "X-Note: a\n{name}: {value}\r\n",
    "a bare carriage return": "X-Note: a\r{name}: {value}\r\n",
    "a null byte": "{name}\x00: {value}\r\n",
    "a null byte in a value": "X-Note: \x00\n{name}: {value}\r\n",
    "an empty name": ": a\r\n{name}: {value}\r\n",
    "a connection option": "Connection: close, {name}\r\n{name}: {value}\r\n",
}


@pytest.mark.parametrize("how", sorted(SMUGGLED))
@pytest.mark.parametrize("host", [APP, CPS])
def test_t41_a_smuggled_header_counts_for_nothing(
    site, visit, igc: FakeIgcSante, host: str, how: str
) -> None:
    """What two parsers may read in two ways: whatever comes back, there is no code in it."""
    browser = visit()
    path = browser.start().removeprefix(site.origin(CPS))
    der = igc.credentials("doctor").authentication_certificate_der
    lines = "".join(SMUGGLED[how].format(name=n, value=v) for n, v in _forged(site, der))
    netloc = urlsplit(site.origin(CPS)).netloc
    text = f"GET {path} HTTP/1.1\r\nHost: {netloc}\r\nConnection: close\r\n{lines}\r\n"
    assert "code=" not in _raw(site, host, text)
    assert not browser.is_in()


@pytest.mark.parametrize(
    "framing",
    [
        "Content-Length: {short}\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: {whole}\r\n",
        "Content-Length: 0\r\nContent-Length: {whole}\r\n",
        "Transfer-Encoding: xchunked\r\nContent-Length: {whole}\r\n",
        "Transfer-Encoding: chunked, identity\r\nContent-Length: {whole}\r\n",
        "Transfer-Encoding:\x0bchunked\r\nContent-Length: {whole}\r\n",
    ],
)
@pytest.mark.parametrize("host", [APP, CPS])
def test_t41_a_smuggled_request_counts_for_nothing(
    site, visit, igc: FakeIgcSante, host: str, framing: str
) -> None:
    """A second request hidden in a body never reaches the application as the proxy's own."""
    browser = visit()
    path = browser.start().removeprefix(site.origin(CPS))
    der = igc.credentials("doctor").authentication_certificate_der
    netloc = urlsplit(site.origin(CPS)).netloc
    headers = "".join(f"{name}: {value}\r\n" for name, value in _forged(site, der))
    hidden = f"GET {path} HTTP/1.1\r\nHost: {netloc}\r\n{headers}\r\n"
    body = f"0\r\n\r\n{hidden}"
    outer = framing.format(short=4, whole=len(body))
    text = f"POST {path} HTTP/1.1\r\nHost: {netloc}\r\n{outer}\r\n{body}"
    assert "code=" not in _raw(site, host, text)
    assert "code=" not in _raw(site, host, f"GET /cps/login HTTP/1.1\r\nHost: {netloc}\r\n\r\n")
    assert not browser.is_in()


def _raw(site, sni: str, text: str) -> str:
    """Send these very bytes, and return all that comes back."""
    received = b""
    with site.connect(sni) as tls:
        tls.settimeout(2)
        tls.sendall(text.encode("latin-1"))
        try:
            while chunk := tls.recv(65536):
                received += chunk
        except (TimeoutError, ssl.SSLError, ConnectionError):
            pass  # the proxy keeps the connection open, or broke it off
    return received.decode("latin-1")


def test_a_code_is_good_once_across_both_workers(visit, persona_key) -> None:
    """The same address again, ten times and by both workers: refused."""
    browser = visit(persona_key("doctor"))
    finish = browser.open(browser.start()).location
    assert browser.open(finish).status == 303
    stranger = visit()
    stranger.cookies = dict(browser.cookies)
    assert {stranger.open(finish).status for _ in range(10)} == {403}


def test_t46_a_link_from_somebody_else_logs_nobody_in(visit, persona_key, refused) -> None:
    """A victim's certificate, used through an attacker's link, opens nothing for either."""
    attacker, victim = visit(), visit(persona_key("doctor"))
    finish = victim.open(attacker.start()).location
    refused(victim, victim.open(finish), "no-browser-session")
    assert attacker.open(finish).status == 403
    assert not attacker.is_in()


def test_the_application_of_the_documents_greets_the_holder(visit, persona_key) -> None:
    """The fifteen lines of docs/flask.md, unchanged, behind each proxy."""
    browser = visit(persona_key("doctor"))
    assert browser.log_in().status == 303
    assert "Camille LAVERGNE" in browser.open("/").text

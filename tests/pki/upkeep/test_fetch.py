"""Fetching from a loopback server that does everything a server must not."""

from __future__ import annotations

import dataclasses
import gzip
import http.server
import ssl
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from cps_auth.errors import TrustStoreUnusable
from cps_auth.pki.chain.trust_store import TrustStore, folder_trust, is_web_address
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_index import index_path
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.upkeep.fetch import (
    FetchFailed,
    Limits,
    OnlineOcsp,
    _Redirects,
    fetch_list,
    list_urls,
)
from cps_auth.pki.upkeep.update import Outcome, import_lists, update_lists
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.igc.ocsp import OcspResponder, ocsp_answer
from tests.server_certificate import write_server_pem

Handler = http.server.BaseHTTPRequestHandler
Route = Callable[[Handler, bytes], None]
LIMITS = Limits(max_bytes=50_000, deadline_s=60.0, idle_s=60.0)  # for a busy machine, too
IMPATIENT = Limits(max_bytes=50_000, deadline_s=1.0, idle_s=0.5)


class Site:
    """A server on loopback: routes by path, and what was asked."""

    def __init__(self, pem: Path | None = None) -> None:
        """Serve http, or https with a certificate and its key."""
        self.routes: dict[str, Route] = {}
        self.asked: list[str] = []
        site = self

        class _Handler(Handler):
            def do_GET(self) -> None:  # noqa: N802, the name is the library's
                site.asked.append(self.path)
                length = int(self.headers.get("Content-Length", 0))
                site.routes[self.path](self, self.rfile.read(length))

            do_POST = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        if pem is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(pem)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "http" if pem is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def serve(self, path: str, content: bytes, status: int = 200, **headers: str) -> None:
        """Answer a path with these bytes."""

        def route(handler: Handler, _body: bytes) -> None:
            handler.send_response(status)
            for name, value in {"Content_Length": str(len(content)), **headers}.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(content)

        self.routes[path] = route


@pytest.fixture
def site() -> Iterator[Site]:
    """A server of its own for every test."""
    running = Site()
    yield running
    running.close()


def _trust(igc: FakeIgcSante, site: Site, *paths: str) -> TrustStore:
    """Return FORT alone, whose lists are on the loopback server."""
    authorities = [igc.authorities[name].certificate for name in ("fort", "fort-personnes")]
    store = dataclasses.replace(
        igc.trust_store(), anchors=(authorities[0],), intermediates=(authorities[1],)
    )
    return dataclasses.replace(store, crl_urls=tuple(site.url + path for path in paths))


def _why(url: str, trust: TrustStore, limits: Limits = LIMITS) -> str:
    with pytest.raises(FetchFailed) as caught:
        fetch_list(url, trust, limits)
    return caught.value.why


def test_addresses_are_those_of_the_store(igc: FakeIgcSante, site: Site) -> None:
    """The addresses of the settings and those in the CA certificates, there without LDAP."""
    trust = _trust(igc, site, "/a.crl")
    urls = list_urls(trust)
    assert urls == (f"{site.url}/a.crl", "http://igc-sante.invalid/CRL/ACR-FO.crl")


@pytest.mark.parametrize("url", ["ldap://127.0.0.1/x", "file:///etc/passwd", "ftp://h/x"])
def test_address_that_cannot_be_asked_is_told(
    igc: FakeIgcSante, site: Site, tmp_path: Path, url: str
) -> None:
    """It is never passed over in silence: an outcome of its own, and a trust.toml is refused."""
    trust = dataclasses.replace(_trust(igc, site), crl_urls=(url,))
    outcomes = list(update_lists(trust, tmp_path, at=igc.made_at))
    assert (outcomes[0].source, outcomes[0].result) == (url, "address-unsupported")
    igc.write(tmp_path / "igc")
    (tmp_path / "igc/trust.toml").write_text(f'name = "x"\ncrl_urls = ["{url}"]\n')
    with pytest.raises(TrustStoreUnusable) as caught:
        folder_trust(tmp_path / "igc")
    assert caught.value.what.endswith(f"neither http nor https: {url}")


def test_authority_that_names_ldap_alone_is_told(igc: FakeIgcSante, site: Site) -> None:
    """Of a distribution point, what can be asked; all of it where nothing can."""
    ldap, web = (x509.UniformResourceIdentifier(url) for url in ("ldap://h/x", "http://h/x"))
    for names, urls in (([ldap, web], ("http://h/x",)), ([ldap], ("ldap://h/x",))):
        point = x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)])
        authority = x509.load_der_x509_certificate(
            igc.issue(igc.request().having(point, critical=False), "fort")
        )
        trust = dataclasses.replace(_trust(igc, site), intermediates=(authority,))
        assert list_urls(trust) == urls


@pytest.mark.parametrize(
    "url",
    [
        "ftp://h/x",
        "ldap://h/x",
        "file:///x",
        "http:///x",
        "http://user@h/x",
        "http://h:port/x",
        "http://h/\r\nX: y",
        "http://h/a b",
        "http://é/",
        "",
    ],
)
def test_odd_addresses(url: str) -> None:
    """T53: only plain http and https addresses are asked: no LDAP, no file, no user in it."""
    assert not is_web_address(url)


def test_other_hosts_are_not_asked(igc: FakeIgcSante, site: Site) -> None:
    """A host that the store does not name is not asked, nor another port of one that it does."""
    trust = _trust(igc, site, "/a.crl")
    assert _why("http://localhost:1/a.crl", trust) == "address-not-allowed"
    assert _why("http://127.0.0.1:1/a.crl", trust) == "address-not-allowed"


def test_what_is_there_is_fetched(igc: FakeIgcSante, site: Site) -> None:
    """The bytes come as they are."""
    site.serve("/a.crl", igc.crls["ACI-FO-PP"])
    assert fetch_list(f"{site.url}/a.crl", _trust(igc, site, "/a.crl")) == igc.crls["ACI-FO-PP"]


@pytest.mark.parametrize("status", [204, 304, 404, 500])
def test_anything_but_ok(igc: FakeIgcSante, site: Site, status: int) -> None:
    """An error page is no list."""
    site.serve("/a.crl", b"", status)
    assert _why(f"{site.url}/a.crl", _trust(igc, site, "/a.crl")) == "status"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirect_on_the_same_host(igc: FakeIgcSante, site: Site, status: int) -> None:
    """It is followed, a few times."""
    site.serve("/a.crl", b"", status, Location="/b.crl")
    site.serve("/b.crl", b"", status, Location=f"{site.url}/c.crl")
    site.serve("/c.crl", b"abc")
    assert fetch_list(f"{site.url}/a.crl", _trust(igc, site, "/a.crl"), LIMITS) == b"abc"
    site.serve("/c.crl", b"", status, Location="/a.crl")
    assert _why(f"{site.url}/a.crl", _trust(igc, site, "/a.crl")) == "status"


@pytest.mark.parametrize(
    "location",
    [
        "http://localhost:{port}/b.crl",
        "http://127.0.0.1:1/b.crl",
        "http://x@127.0.0.1:{port}/b.crl",
        "file:///etc/hostname",
        "ftp://127.0.0.1/b.crl",
        "https://127.0.0.1:1/b.crl",
        "//h/b.crl",
    ],
)
def test_redirect_elsewhere(igc: FakeIgcSante, site: Site, location: str) -> None:
    """Another host, port or scheme is not asked."""
    port = site.url.rpartition(":")[2]
    site.serve("/a.crl", b"", 302, Location=location.format(port=port))
    site.serve("/b.crl", b"abc")
    assert _why(f"{site.url}/a.crl", _trust(igc, site, "/a.crl")) == "status"
    assert site.asked == ["/a.crl"]


def test_redirect_from_http_to_https() -> None:
    """To the same host, on the port of https, and never back."""
    redirects = _Redirects()
    asked = urllib.request.Request("http://h:8080/a")
    followed = redirects.redirect_request(asked, None, 301, "", {}, "https://h/b")
    assert followed is not None
    assert followed.full_url == "https://h/b"
    for start, newurl in (("http://h/a", "https://other/b"), ("https://h/a", "http://h/b")):
        request = urllib.request.Request(start)  # noqa: S310, not opened
        assert redirects.redirect_request(request, None, 301, "", {}, newurl) is None
    question = urllib.request.Request("http://h/a", b"question")
    assert redirects.redirect_request(question, None, 307, "", {}, "http://h/b") is None


def test_https(igc: FakeIgcSante, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server whose certificate nobody here vouches for is not believed; one that is, is."""
    pem = tmp_path / "server.pem"
    write_server_pem(pem, addresses=["127.0.0.1"])
    secure = Site(pem)
    try:
        secure.serve("/a.crl", b"abc")
        trust = _trust(igc, secure, "/a.crl")
        assert _why(f"{secure.url}/a.crl", trust) == "unreachable"
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        assert fetch_list(f"{secure.url}/a.crl", trust, LIMITS) == b"abc"
    finally:
        secure.close()


def test_proxy(igc: FakeIgcSante, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """http_proxy is asked for everything but what no_proxy names."""
    monkeypatch.setenv("http_proxy", site.url)
    monkeypatch.setenv("no_proxy", "here.invalid")
    for name in ("there", "here"):
        site.serve(f"http://{name}.invalid/a.crl", b"abc")
    urls = tuple(f"http://{name}.invalid/a.crl" for name in ("there", "here"))
    trust = dataclasses.replace(_trust(igc, site), crl_urls=urls)
    assert fetch_list(urls[0], trust, LIMITS) == b"abc"
    assert _why(urls[1], trust) == "unreachable"
    assert site.asked == [urls[0]]


def test_too_long(igc: FakeIgcSante, site: Site) -> None:
    """T53: a list over the limit is refused, announced or not."""
    trust = _trust(igc, site, "/a.crl")
    site.serve("/a.crl", bytes(50_001))
    assert _why(f"{site.url}/a.crl", trust) == "too-long"

    def endless(handler: Handler, _body: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(bytes(10_000))
        except OSError:
            handler.close_connection = True

    site.routes["/a.crl"] = endless
    assert _why(f"{site.url}/a.crl", trust) == "too-long"


def test_nothing_is_unpacked(igc: FakeIgcSante, site: Site) -> None:
    """T53: a small answer that unpacks to a huge one is refused for being packed."""
    site.serve("/a.crl", gzip.compress(bytes(10_000_000)), Content_Encoding="gzip")
    assert _why(f"{site.url}/a.crl", _trust(igc, site, "/a.crl")) == "encoded"


def test_truncated(igc: FakeIgcSante, site: Site) -> None:
    """Fewer bytes than announced are no list."""
    site.serve("/a.crl", b"x" * 100, Content_Length="101")
    assert _why(f"{site.url}/a.crl", _trust(igc, site, "/a.crl")) in ("truncated", "unreachable")


@pytest.mark.parametrize("in_headers", [True, False])
def test_drip(igc: FakeIgcSante, site: Site, in_headers: bool) -> None:
    """A byte now and then does not keep us beyond the deadline, in the headers neither."""
    ended = threading.Event()

    def drip(handler: Handler, _body: bytes) -> None:
        if not in_headers:
            handler.send_response(200)
            handler.end_headers()
        try:
            while not ended.wait(0.05):
                handler.wfile.write(b"H")
                handler.wfile.flush()
        except OSError:
            handler.close_connection = True

    site.routes["/a.crl"] = drip
    start = time.monotonic()
    assert _why(f"{site.url}/a.crl", _trust(igc, site, "/a.crl"), IMPATIENT) == "too-slow"
    assert time.monotonic() - start < 10
    ended.set()


def test_nobody_there(igc: FakeIgcSante, site: Site) -> None:
    """A server that is not there is said to be unreachable."""
    trust = dataclasses.replace(_trust(igc, site), crl_urls=("http://127.0.0.1:1/a.crl",))
    assert _why("http://127.0.0.1:1/a.crl", trust) == "unreachable"


# --- Update ----------------------------------------------------------------------


def _update(igc: FakeIgcSante, site: Site, folder: Path, *paths: str) -> list[Outcome]:
    trust = _trust(igc, site, *paths)
    outcomes = list(update_lists(trust, folder, at=igc.made_at))
    assert outcomes[-1].result == "unreachable"  # the .invalid address in the intermediate
    return outcomes[:-1]


def test_update_makes_a_judge_work(igc: FakeIgcSante, site: Site, tmp_path: Path) -> None:
    """Both lists are fetched, verified, stored and indexed; a judge needs nothing else."""
    folder = tmp_path / "crl"
    site.serve("/ACI-FO-PP.crl", igc.crls["ACI-FO-PP"])
    site.serve("/ACR-FO.crl", igc.crls["ACR-FO"])
    paths = ("/ACI-FO-PP.crl", "/ACR-FO.crl")
    assert [o.result for o in _update(igc, site, folder, *paths)] == ["stored", "stored"]
    assert [o.result for o in _update(igc, site, folder, *paths)] == ["unchanged", "unchanged"]
    files = sorted(folder.glob("*.crl"))
    assert all(index_path(file).exists() for file in files)
    judge = Judge(_trust(igc, site), CrlStore.from_folder(folder))
    assert judge.judge(igc.credentials("doctor").authentication_certificate_der, at=igc.made_at)


def test_update_replaces_what_is_older(igc: FakeIgcSante, site: Site, tmp_path: Path) -> None:
    """A newer list replaces the older one; the older one never comes back."""
    site.serve("/a.crl", igc.crls["ACI-FO-PP"])
    assert _update(igc, site, tmp_path, "/a.crl")[0] == Outcome(
        f"{site.url}/a.crl", "stored", "FICTIVE AC IGC-SANTE FORT PERSONNES", 1
    )
    newer = igc.crl(number=2, revoked=[Revocation(1, igc.made_at)])
    site.serve("/a.crl", newer)
    assert _update(igc, site, tmp_path, "/a.crl")[0].number == 2
    site.serve("/a.crl", igc.crls["ACI-FO-PP"])
    assert _update(igc, site, tmp_path, "/a.crl")[0].result == "crl-rollback"
    (file,) = tmp_path.glob("*.crl")
    assert file.read_bytes() == newer


def test_update_keeps_what_is_good(igc: FakeIgcSante, site: Site, tmp_path: Path) -> None:
    """Whatever comes in its place, the good list stays, and the outcome says why."""
    site.serve("/a.crl", igc.crls["ACI-FO-PP"])
    _update(igc, site, tmp_path, "/a.crl")
    forger = igc.authorities["rogue-fort-personnes"].key
    future = igc.made_at + timedelta(hours=1)
    for bad, why in (
        (b"<html>portail</html>", "crl-malformed"),
        (igc.crl(number=9, signing_key=forger, revoked=[]), "crl-bad-signature"),
        (igc.crl("rogue-fort-personnes", number=9, revoked=[]), "crl-other-key"),
        (igc.crl("standard-personnes", number=9), "no-crl"),
        (igc.crl(number=9, this_update=future), "crl-not-yet-valid"),
    ):
        site.serve("/a.crl", bad)
        assert _update(igc, site, tmp_path, "/a.crl")[0].result == why
        (file,) = tmp_path.glob("*.crl")
        assert file.read_bytes() == igc.crls["ACI-FO-PP"]


def test_names_of_files_are_ours(igc: FakeIgcSante, site: Site, tmp_path: Path) -> None:
    """No address chooses where a list is written: its authority, key and scope do."""
    paths = ("/../../etc/x.crl", "/a/..%2f..%2fx.crl", "/x.crl", "/y/x.crl", "/.hidden.crl")
    for path in paths:
        site.serve(path, igc.crls["ACI-FO-PP"])
    outcomes = _update(igc, site, tmp_path / "lists", *paths)
    assert [outcome.result for outcome in outcomes] == ["stored", *["unchanged"] * 4]
    (file,) = (tmp_path / "lists").glob("*.crl")
    assert file.name.startswith("FICTIVE-AC-IGC-SANTE-FORT-PERSONNES-")
    assert [path.name for path in tmp_path.iterdir()] == ["lists"]


def test_lists_from_a_folder(igc: FakeIgcSante, tmp_path: Path) -> None:
    """A computer that is offline takes its lists from a file, under the same rules."""
    source, folder = tmp_path / "usb", tmp_path / "crl"
    source.mkdir()
    for name, der in igc.crls.items():
        (source / f"{name}.crl").write_bytes(der)
    (source / "bad.crl").write_bytes(b"x")
    (source / "readme.txt").write_bytes(b"x")
    outcomes = list(import_lists(source, igc.trust_store(), folder, at=igc.made_at))
    assert sorted(outcome.result for outcome in outcomes) == ["crl-malformed", *["stored"] * 4]


# --- OCSP ------------------------------------------------------------------------


def test_responder_is_asked(igc: FakeIgcSante, site: Site) -> None:
    """A judge without the list of the cards asks responders, with a nonce, until one proves it."""
    issuer = igc.authorities["fort-personnes"]
    doctor = igc.credentials("doctor").authentication_certificate_der

    def respond(handler: Handler, body: bytes) -> None:
        request = ocsp.load_der_ocsp_request(body)
        nonce = request.extensions.get_extension_for_class(x509.OCSPNonce).value.nonce
        content = ocsp_answer(
            x509.load_der_x509_certificate(doctor),
            issuer.certificate,
            OcspResponder(issuer.certificate, issuer.key),
            nonce=nonce,
        )
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    site.routes["/good"] = respond
    site.serve("/down", b"", 500)
    site.serve("/rubbish", b"rubbish")
    for paths, asked in (
        (("/good", "/rubbish"), ["/good"]),
        (("/down", "/rubbish", "/good"), ["/down", "/rubbish", "/good"]),
    ):
        site.asked.clear()
        urls = ("ldap://x", *(site.url + path for path in paths))
        trust = dataclasses.replace(_trust(igc, site), ocsp_urls=urls)
        judge = Judge(trust, CrlStore([igc.crls["ACR-FO"]]), ocsp=OnlineOcsp(trust))
        judged = judge.judge(doctor, at=datetime.now(UTC))
        assert [piece.source for piece in judged.revocation] == ["ocsp", "crl"]
        assert site.asked == asked


def test_responder_that_fails_gives_no_answer(igc: FakeIgcSante, site: Site) -> None:
    """An error page is no answer, and the next responder is asked."""
    site.serve("/one", b"", 500)
    site.serve("/two", b"rubbish")
    urls = (f"{site.url}/one", f"{site.url}/two")
    source = OnlineOcsp(dataclasses.replace(_trust(igc, site), ocsp_urls=urls), LIMITS)
    doctor = x509.load_der_x509_certificate(
        igc.credentials("doctor").authentication_certificate_der
    )
    answers = list(source.answers(doctor, igc.authorities["fort-personnes"].certificate))
    assert [answer.unverified_der for answer in answers] == [b"rubbish"]
    assert doctor.public_bytes(Encoding.DER) not in answers


@pytest.mark.parametrize(("ask_again_after_s", "times"), [(3600.0, 1), (0.0, 3)])
@pytest.mark.parametrize("status", [200, 500])
def test_open_sessions_do_not_ask_all_the_time(
    igc: FakeIgcSante, site: Site, ask_again_after_s: float, times: int, status: int
) -> None:
    """For a moment an answer counts again, and so does a silence."""
    site.serve("/", b"an answer", status)
    trust = dataclasses.replace(_trust(igc, site), ocsp_urls=(site.url,))
    source = OnlineOcsp(trust, LIMITS, ask_again_after_s)
    doctor = x509.load_der_x509_certificate(
        igc.credentials("doctor").authentication_certificate_der
    )
    issuer = igc.authorities["fort-personnes"].certificate
    answers = [list(source.answers(doctor, issuer)) for _ in range(3)]
    assert len(site.asked) == times
    expected = [b"an answer"] if status == 200 else []
    assert [[answer.unverified_der for answer in given] for given in answers] == [expected] * 3


def test_an_answer_is_about_one_certificate(igc: FakeIgcSante, site: Site) -> None:
    """What was said of one card is never given for another."""
    site.serve("/", b"an answer")
    trust = dataclasses.replace(_trust(igc, site), ocsp_urls=(site.url,))
    source = OnlineOcsp(trust, LIMITS)
    issuer = igc.authorities["fort-personnes"].certificate
    for name in ("doctor", "pharmacist"):
        card = x509.load_der_x509_certificate(igc.credentials(name).authentication_certificate_der)
        assert list(source.answers(card, issuer))
    assert site.asked == ["/", "/"]

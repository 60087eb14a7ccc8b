"""T41, the way in by TLS client certificate: who may report one, and what becomes of it."""

from __future__ import annotations

import base64
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import TestResponse

from cps_auth.errors import ConfigurationError
from cps_auth.flask import login_refused
from cps_auth.flask.methods.mtls.proxy_presets import PRESETS
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.flask.conftest import cookie_name

ORIGIN = "https://app.example.fr"
MTLS_ORIGIN = "https://cps.example.fr"
PROXY = "192.0.2.1"
SECRET = "s" * 32
CONFIG = {
    "CPS_ORIGIN": ORIGIN,
    "CPS_MTLS_PROXIES": [PROXY],
    "CPS_MTLS_PRESET": "haproxy",
    "CPS_MTLS_ORIGIN": MTLS_ORIGIN,
    "CPS_MTLS_SECRET": SECRET,
    "CPS_REFUSALS_BEFORE_LOCKOUT": 1000,
}


@dataclass
class RemoteVisitor:
    """A browser far away, and the proxy that its requests come through."""

    app: Flask
    client: FlaskClient
    peer: str | None = PROXY
    added: dict[str, str] = field(default_factory=dict)  # by the host that asks for certificates

    def presents(self, der: bytes) -> RemoteVisitor:
        """Log in with this certificate from now on."""
        self.added = {
            "X-SSL-Client-Cert": base64.b64encode(der).decode(),
            "X-SSL-Client-Verify": "0",
            "X-CPS-Proxy-Secret": SECRET,
        }
        return self

    def open(self, where: str, **more: Any) -> TestResponse:
        """Open an absolute address, or a path of the application's own host."""
        parts = urlsplit(where if "://" in where else ORIGIN + where)
        origin = f"{parts.scheme}://{parts.netloc}"
        headers = {"Sec-Fetch-Dest": "document", **(self.added if origin == MTLS_ORIGIN else {})}
        return self.client.open(
            parts._replace(scheme="", netloc="").geturl(),
            base_url=origin,
            headers=[*headers.items(), *more.pop("headers", ())],
            environ_overrides={"REMOTE_ADDR": self.peer},
            **more,
        )

    def start(self, asked: str = "/me") -> TestResponse:
        """Press the button of the login page."""
        page = self.open(f"/cps/login?next={quote(asked)}").text
        token = page.split('action="/cps/mtls/start"')[1].split('name="cps_token" value="')[1]
        data = {"cps_token": token.split('"')[0], "next": asked}
        return self.open("/cps/mtls/start", method="POST", data=data, headers=[("Origin", ORIGIN)])

    def prove(self) -> TestResponse:
        """Press the button, and follow to the host that asks for certificates."""
        return self.open(self.start().location)

    def log_in(self) -> TestResponse:
        """Go all the way; stop where it is refused."""
        proved = self.prove()
        return self.open(proved.location) if proved.status_code == 303 else proved

    def is_in(self) -> bool:
        """Whether a page that needs a login is served."""
        return self.open("/me").status_code == 200


Visit = Callable[[], RemoteVisitor]


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """An application behind a proxy, without a reader."""
    return make_app(config=CONFIG, cards=None)


@pytest.fixture
def visit(app: Flask, igc: FakeIgcSante) -> Visit:
    """Gives a new browser with the doctor's card."""
    der = igc.credentials("doctor").authentication_certificate_der
    return lambda: RemoteVisitor(app, app.test_client()).presents(der)


@pytest.fixture
def visitor(visit: Visit) -> RemoteVisitor:
    """A browser with the doctor's card."""
    return visit()


@pytest.fixture
def refused(
    app: Flask, caplog: pytest.LogCaptureFixture
) -> Callable[[RemoteVisitor, TestResponse, str], None]:
    """Checks a refusal: the public message, one precise audit line, one signal, no session."""
    caplog.set_level(logging.INFO, "cps_auth.audit")
    told: list[object] = []
    login_refused.connect(lambda _, error: told.append(error), app, weak=False)

    def check(visitor: RemoteVisitor, answer: TestResponse, why: str) -> None:
        assert answer.status_code == 403
        assert "Rouvrez la page de connexion" in answer.text
        assert f'href="{ORIGIN}/cps/login"' in answer.text
        (line,) = [record.getMessage() for record in caplog.records]
        assert line.startswith("login refused code=")
        assert why in line
        assert "method=mtls" in line
        assert len(told) == 1
        assert not visitor.is_in()

    return check


def test_a_certificate_that_the_proxy_verified_opens_a_session(visitor: RemoteVisitor) -> None:
    """Start, prove on the other host, finish: logged in, and led to the page that was asked for."""
    done = visitor.log_in()
    assert (done.status_code, done.location) == (303, "/me")
    me = visitor.open("/me").json
    assert me["ps_idnat"] == "899900000011"
    assert me["method"] == "mtls"


def test_session_and_audit_line_say_how_it_was_proved(
    visitor: RemoteVisitor, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can take it for a signature over a challenge of ours, then or later."""
    with caplog.at_level(logging.INFO, "cps_auth.audit"):
        visitor.log_in()
    (line,) = [record.getMessage() for record in caplog.records]
    assert "method=mtls proof=tls" in line
    stores = visitor.app.extensions["cps_login"].stores
    (row,) = stores.sessions.live(at=visitor.app.extensions["cps_login"].clock())
    assert row.holder.proof.value == "tls"


def test_max_age_is_never_met_by_a_tls_handshake(visitor: RemoteVisitor) -> None:
    """A browser keeps the card's key open: nobody knows when the PIN was typed, so 403."""
    visitor.log_in()
    assert visitor.open("/doctors").status_code == 200
    assert visitor.open("/fresh").status_code == 403


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_logs_in(make_app: Callable[..., Flask], igc: FakeIgcSante, name: str) -> None:
    """The headers of each of the six, as documented."""
    app = make_app(config={**CONFIG, "CPS_MTLS_PRESET": name}, cards=None)
    der, preset = igc.credentials("doctor").authentication_certificate_der, PRESETS[name]
    visitor = RemoteVisitor(app, app.test_client()).presents(der)
    value = base64.b64encode(der).decode()
    visitor.added = {
        preset.certificate_header: f":{value}:" if name == "rfc9440" else value,
        "X-CPS-Proxy-Secret": SECRET,
    }
    if preset.verdict_header is not None:
        visitor.added[preset.verdict_header] = preset.verified
    assert visitor.log_in().status_code == 303
    assert visitor.is_in()


@pytest.mark.parametrize(
    ("persona", "code"),
    [
        ("expired", "certificate-expired"),
        ("revoked", "certificate-revoked"),
        ("unknown-root", "untrusted-issuer"),
        ("test-category", "wrong-purpose"),
        ("signature-only", "wrong-purpose"),
    ],
)
def test_t41_the_proxys_yes_is_never_enough(
    visitor: RemoteVisitor, igc: FakeIgcSante, refused, persona: str, code: str
) -> None:
    """Whatever the proxy says, the certificate is judged in full."""
    visitor.presents(igc.credentials(persona).authentication_certificate_der)
    refused(visitor, visitor.prove(), f"code={code}")


def test_t41_the_signature_certificate_of_a_good_card_is_refused(
    visitor: RemoteVisitor, igc: FakeIgcSante, refused
) -> None:
    """Its key is for documents, not for logging in."""
    visitor.presents(igc.credentials("doctor").signature_certificate_der)
    refused(visitor, visitor.prove(), "code=wrong-purpose")


@pytest.mark.parametrize("peer", ["192.0.2.2", "127.0.0.1", "::1", "", None, "unix", "192.0.2.1,x"])
def test_t41_a_peer_that_is_not_the_proxy_is_refused(
    visitor: RemoteVisitor, refused, peer: str | None
) -> None:
    """Right headers from anybody else, this machine included, count for nothing."""
    started = visitor.start().location
    visitor.peer = peer
    refused(visitor, visitor.open(started), "not-the-proxy")


@pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-IP", "Forwarded"])
def test_t41_no_forwarding_header_makes_a_proxy(
    visitor: RemoteVisitor, refused, header: str
) -> None:
    """Who is at the other end is read from the connection, below ProxyFix."""
    visitor.app.wsgi_app = ProxyFix(visitor.app.wsgi_app, x_host=1)  # type: ignore[method-assign]
    started = visitor.start().location
    visitor.peer = "198.51.100.9"
    value = f"for={PROXY}" if header == "Forwarded" else PROXY
    refused(visitor, visitor.open(started, headers=[(header, value)]), "not-the-proxy")


def test_proxy_fix_hides_neither_the_proxy_nor_the_host(visitor: RemoteVisitor) -> None:
    """An application that uses it, as it should for its addresses, logs in as well."""
    visitor.app.wsgi_app = ProxyFix(visitor.app.wsgi_app)  # type: ignore[method-assign]
    started = visitor.start().location
    proved = visitor.open(started, headers=[("X-Forwarded-For", "203.0.113.5")])
    assert visitor.open(proved.location).location == "/me"


def test_t41_headers_through_the_applications_own_host_are_refused(
    visitor: RemoteVisitor, refused
) -> None:
    """There the proxy passes on what the browser wrote, and it cannot know the secret."""
    forged = [(name, value) for name, value in visitor.added.items() if "Secret" not in name]
    visitor.added = {}
    refused(visitor, visitor.open(visitor.start().location, headers=forged), "proxy-secret")


def test_t41_a_certificate_counts_on_its_own_host_only(visitor: RemoteVisitor, refused) -> None:
    """Even with the secret, another Host is another server of the proxy."""
    path = visitor.start().location.removeprefix(MTLS_ORIGIN)
    refused(visitor, visitor.open(path, headers=[*visitor.added.items()]), "not-the-mtls-host")


@pytest.mark.parametrize(
    "secret", [None, "", "S" * 32, "s" * 31, "s" * 33, f"{SECRET},{SECRET}", "é"]
)
def test_t41_the_proxy_must_know_the_secret(
    visitor: RemoteVisitor, refused, secret: str | None
) -> None:
    """Absent, wrong, cut off or there twice: refused."""
    started = visitor.start().location
    del visitor.added["X-CPS-Proxy-Secret"]
    if secret is not None:
        visitor.added["X-CPS-Proxy-Secret"] = secret
    refused(visitor, visitor.open(started), "proxy-secret")


@pytest.mark.parametrize(
    ("header", "value", "why"),
    [
        ("X-SSL-Client-Verify", "18", "proxy-did-not-verify"),
        ("X-SSL-Client-Verify", "SUCCESS", "proxy-did-not-verify"),
        ("X-SSL-Client-Verify", "0,0", "proxy-did-not-verify"),
        ("X-SSL-Client-Cert", "", "no-certificate"),
        ("X-SSL-Client-Cert", "(null)", "no-certificate"),
        ("X-SSL-Client-Cert", "a,b", "several-certificates"),
        ("X-SSL-Client-Cert", "MIIB", "certificate-not-readable"),
        ("X-SSL-Client-Cert", "MAA=", "certificate-malformed"),
    ],
)
def test_t41_a_header_that_is_not_one_verified_certificate_is_refused(
    visitor: RemoteVisitor, refused, header: str, value: str, why: str
) -> None:
    """FAILED with a certificate, SUCCESS without one, two, or none that can be read."""
    started = visitor.start().location
    visitor.added[header] = value
    refused(visitor, visitor.open(started), why)


@pytest.mark.parametrize("name", ["X-SSL-Client-Cert", "X_SSL_Client_Cert", "x-ssl-client-cert"])
def test_t41_a_second_header_beside_the_proxys_is_refused(
    visitor: RemoteVisitor, igc: FakeIgcSante, refused, name: str
) -> None:
    """A server that merges two spellings gives a list: refused, not one of the two."""
    another = igc.credentials("pharmacist").authentication_certificate_der
    forged = [(name, base64.b64encode(another).decode())]
    started = visitor.start().location
    refused(visitor, visitor.open(started, headers=forged), "several-certificates")


def test_a_code_is_good_once(visitor: RemoteVisitor, refused, caplog) -> None:
    """T01 for this way in: the second visit of the same address is refused."""
    finish = visitor.prove().location
    assert visitor.open(finish).status_code == 303
    visitor.client.delete_cookie(cookie_name(visitor.client), domain="app.example.fr")
    caplog.clear()
    refused(visitor, visitor.open(finish), "challenge-unknown")


def test_a_code_is_gone_though_the_login_failed(
    visitor: RemoteVisitor, visit: Visit, refused, caplog
) -> None:
    """T05: another browser's attempt fails, and spends the code for everybody."""
    finish = visitor.prove().location
    stranger = visit()
    stranger.open("/cps/login")
    refused(stranger, stranger.open(finish), "form-token-of-another-browser")
    caplog.clear()
    assert visitor.open(finish).status_code == 403
    assert not visitor.is_in()


def test_a_start_of_an_attacker_logs_nobody_in(
    visitor: RemoteVisitor, visit: Visit, refused
) -> None:
    """T46: a victim led to the attacker's start proves in vain; the code stays with them."""
    attacker = visit()
    attacker.added = {}
    proved = visitor.open(attacker.start().location)
    refused(visitor, visitor.open(proved.location), "no-browser-session")


@pytest.mark.parametrize(
    ("after_s", "status"), [(0, 303), (60, 303), (61, 403), (-4, 303), (-6, 403)]
)
def test_a_code_is_good_for_a_minute(
    make_app: Callable[..., Flask], igc: FakeIgcSante, clock, after_s: int, status: int
) -> None:
    """T03: 60 seconds, whatever the lifetime of forms; a clock that went back is no excuse."""
    moment = {"now": clock()}
    app = make_app("stopped", CONFIG, cards=None, clock=lambda: moment["now"])
    der = igc.credentials("doctor").authentication_certificate_der
    visitor = RemoteVisitor(app, app.test_client()).presents(der)
    finish = visitor.prove().location
    moment["now"] += timedelta(seconds=after_s)
    assert visitor.open(finish).status_code == status


def test_a_code_of_one_start_is_none_for_another(visitor: RemoteVisitor, refused) -> None:
    """The code and the start that it was made for belong together."""
    first = parse_qs(urlsplit(visitor.prove().location).query)
    second = parse_qs(urlsplit(visitor.prove().location).query)
    mixed = f"/cps/mtls/finish?started={first['started'][0]}&code={second['code'][0]}"
    refused(visitor, visitor.open(mixed), "challenge-unknown")


@pytest.mark.parametrize(
    "query", ["", "?started=", "?started=a&started=b", "?started=" + "a" * 129]
)
def test_a_visit_without_a_start_is_refused(visitor: RemoteVisitor, refused, query: str) -> None:
    """An address that did not come from the start gets no code."""
    refused(visitor, visitor.open(f"{MTLS_ORIGIN}/cps/mtls/prove{query}"), "mtls-started")


@pytest.mark.parametrize("step", ["prove", "finish"])
def test_t49_only_a_page_proves(visitor: RemoteVisitor, refused, step: str) -> None:
    """A frame or an image on another site does not use the certificate in passing."""
    where = visitor.start().location if step == "prove" else "/cps/mtls/finish?started=a&code=b"
    refused(visitor, visitor.open(where, headers=[("Sec-Fetch-Dest", "iframe")]), "not-a-document")


def test_t46_only_a_page_of_the_application_starts(visitor: RemoteVisitor, refused) -> None:
    """Another site's form is refused."""
    answer = visitor.open(
        "/cps/mtls/start", method="POST", data={}, headers=[("Origin", "https://evil.test")]
    )
    refused(visitor, answer, "detail='peer-not-allowed, reason=origin'")


def test_the_codes_never_reach_the_log(
    visitor: RemoteVisitor, caplog: pytest.LogCaptureFixture
) -> None:
    """T55: neither certificate, secret, start nor code."""
    with caplog.at_level(logging.DEBUG):
        finish = visitor.prove().location
        visitor.open(finish)
        visitor.open(finish)
    query = parse_qs(urlsplit(finish).query)
    for secret in (
        query["code"][0],
        query["started"][0],
        SECRET,
        visitor.added["X-SSL-Client-Cert"],
    ):
        assert secret not in caplog.text


def test_a_stranger_without_an_account_is_refused(
    make_app: Callable[..., Flask], igc: FakeIgcSante
) -> None:
    """Step 6: a genuine card that the application does not know."""
    app = make_app(config=CONFIG, cards=None, load_account=lambda _: None)
    der = igc.credentials("doctor").authentication_certificate_der
    assert RemoteVisitor(app, app.test_client()).presents(der).log_in().status_code == 403


def test_it_is_off_unless_a_proxy_is_named(make_app: Callable[..., Flask]) -> None:
    """Without CPS_MTLS_PROXIES no header, whatever it says, is looked at."""
    app = make_app()
    answer = app.test_client().get("/cps/mtls/prove", base_url="https://cps.example.fr")
    assert answer.status_code == 404


def test_the_login_page_may_lead_to_the_other_host(visitor: RemoteVisitor) -> None:
    """Browsers hold the redirection of a form against form-action."""
    policy = visitor.open("/cps/login").headers["Content-Security-Policy"]
    assert f"form-action 'self' {MTLS_ORIGIN};" in policy


@pytest.mark.parametrize(
    "changes",
    [
        {"CPS_MTLS_PROXIES": []},
        {"CPS_MTLS_PROXIES": "192.0.2.1"},
        {"CPS_MTLS_PROXIES": ["proxy.example.fr"]},
        {"CPS_MTLS_PROXIES": [3221225985]},
        {"CPS_MTLS_PROXIES": ["192.0.2.1/24"]},
        {"CPS_MTLS_PROXIES": ["0.0.0.0/0"]},
        {"CPS_MTLS_PROXIES": ["10.0.0.0/8"]},
        {"CPS_MTLS_PROXIES": ["::/0"]},
        {"CPS_MTLS_PROXIES": ["2001:db8::/32"]},
        {"CPS_MTLS_PRESET": None},
        {"CPS_MTLS_PRESET": "squid"},
        {"CPS_MTLS_ORIGIN": None},
        {"CPS_MTLS_ORIGIN": ORIGIN},
        {"CPS_MTLS_ORIGIN": f"{ORIGIN}:8443"},
        {"CPS_MTLS_ORIGIN": "http://127.0.0.1:5000"},
        {"CPS_MTLS_SECRET": None},
        {"CPS_MTLS_SECRET": "s" * 31},
        {"CPS_MTLS_SECRET": "s" * 32 + ";"},
    ],
)
def test_settings_that_would_open_it_by_accident_are_refused(
    make_app: Callable[..., Flask], changes: dict[str, object]
) -> None:
    """No proxy, too wide a network, no secret, no host of its own: told at the start."""
    with pytest.raises(ConfigurationError, match="CPS_MTLS"):
        make_app(config={**CONFIG, **changes}, cards=None)


@pytest.mark.parametrize(
    ("proxies", "peer", "trusted"),
    [
        (["unix"], "", True),
        (["unix"], None, False),
        (["unix"], "127.0.0.1", False),
        (["192.0.2.0/24"], "192.0.2.77", True),
        (["192.0.2.0/24"], "::ffff:192.0.2.77", True),
        (["192.0.2.0/24"], "192.0.3.1", False),
        (["2001:db8::1"], "2001:db8::1", True),
        (["2001:db8::1"], "2001:db8::2", False),
    ],
)
def test_whom_the_settings_trust(
    make_app: Callable[..., Flask], proxies: list[str], peer: str | None, trusted: bool
) -> None:
    """Addresses, networks and the Unix socket; an unknown peer is nobody."""
    app = make_app(config={**CONFIG, "CPS_MTLS_PROXIES": proxies}, cards=None)
    assert app.extensions["cps_login"].methods["mtls"].proxies.trusts(peer) is trusted


def test_t47_a_link_starts_nothing(visitor: RemoteVisitor) -> None:
    """T47: a login begins by a form of the login page only."""
    assert visitor.open("/cps/mtls/start").status_code == 405


@pytest.mark.parametrize("token", [None, "", "0" * 64])
def test_t46_a_start_without_the_token_of_the_page(
    visitor: RemoteVisitor, refused: Callable[..., None], token: str | None
) -> None:
    """Nobody begins a login in somebody else's browser, whatever the browser says of the page."""
    visitor.open("/cps/login")
    data = {"next": "/me"} | ({} if token is None else {"cps_token": token})
    answer = visitor.open("/cps/mtls/start", method="POST", data=data, headers=[("Origin", ORIGIN)])
    refused(visitor, answer, "reason=form-token")


@pytest.mark.parametrize("step", ["start", "prove", "finish"])
def test_t50_each_step_may_be_asked_so_often(
    make_app: Callable[..., Flask], igc: FakeIgcSante, step: str
) -> None:
    """A flood of one step is sent away, and the others have counts of their own."""
    app = make_app("low", {**CONFIG, "CPS_REQUESTS_PER_MINUTE": 4}, cards=None)
    der = igc.credentials("doctor").authentication_certificate_der
    visitor = RemoteVisitor(app, app.test_client()).presents(der)
    ask = {
        "start": visitor.start,
        "prove": lambda: visitor.open(f"{MTLS_ORIGIN}/cps/mtls/prove?started=x"),
        "finish": lambda: visitor.open("/cps/mtls/finish?started=x&code=y"),
    }
    statuses = [ask[step]().status_code for _ in range(6)]
    assert 429 not in statuses[:4]
    assert statuses[4:] == [429, 429]
    for other in ask.keys() - {step}:
        assert ask[other]().status_code != 429

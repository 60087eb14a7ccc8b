"""Attacks on sessions and pages, by number; T41 is in test_mtls.py and test_mtls_headers.py."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.errors import ConfigurationError
from cps_auth.flask import EndReason, session_ended
from cps_auth.pki.judge import Judge
from cps_auth.pki.revocation.crl_store import CrlStore
from hardware_mocks.igc.crls import Revocation
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.flask.conftest import cookie_name

MTLS = {
    "CPS_ORIGIN": "https://practice.test",
    "CPS_MTLS_ORIGIN": "https://cps.practice.test",
    "CPS_MTLS_PRESET": "nginx",
    "CPS_MTLS_PROXIES": ["10.0.0.0/24"],
    "CPS_MTLS_SECRET": "a-secret-that-only-the-proxy-knows",
    "CPS_REFUSALS_BEFORE_LOCKOUT": 1000,
    "CPS_REQUESTS_PER_MINUTE": 1000,
}
PROXY = "10.0.0.7"
SECRET = {"X-CPS-Proxy-Secret": MTLS["CPS_MTLS_SECRET"]}


def _pem(igc: FakeIgcSante, persona: str = "doctor") -> str:
    der = igc.credentials(persona).authentication_certificate_der
    return x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM).decode()


class MtlsVisitor:
    """A browser whose requests to one host come with a certificate."""

    def __init__(self, remote: Any, igc: FakeIgcSante) -> None:
        self.remote, self.igc = remote, igc

    def start(self) -> str:
        """Begin; return the path that the other host is asked for."""
        page = self.remote.open("GET", "/cps/login").text
        found = re.search(r'name="cps_token" value="(\w+)"', page)
        assert found is not None, page
        form = {"cps_token": found.group(1), "next": "/me"}
        begun = self.remote.open("POST", "/cps/mtls/start", data=form)
        assert begun.location.startswith("https://cps.practice.test/cps/mtls/prove?")
        return self.path(begun.location)

    def prove(self, path: str, persona: str = "doctor", **changes: Any) -> Any:
        """Go where the certificate is asked for, as the proxy passes it on."""
        headers = {
            "X-SSL-Client-Cert": quote(_pem(self.igc, persona)),
            "X-SSL-Client-Verify": "SUCCESS",
            **SECRET,
            **changes.pop("headers", {}),
        }
        peer = changes.pop("peer", PROXY)
        return self.remote.open(
            "GET", path, base_url=changes.pop("base_url", MTLS["CPS_MTLS_ORIGIN"]),
            headers=headers, environ={"REMOTE_ADDR": peer}, **changes,
        )  # fmt: skip

    @staticmethod
    def path(location: str) -> str:
        """Return path and query of a redirection."""
        parts = urlsplit(location)
        return f"{parts.path}?{parts.query}"


@pytest.fixture
def mtls(make_app, remote_visit, igc: FakeIgcSante) -> MtlsVisitor:
    """A browser with a certificate, at an application that takes them."""
    return MtlsVisitor(remote_visit(make_app("mtls", MTLS, cards=None)), igc)


@pytest.mark.parametrize(
    "config",
    [
        {"CPS_STORE": "memcached://host"},
        {"CPS_WEB_EID": "yes"},
        {"CPS_LOCKOUT": "5"},
        {"CPS_REQUESTS_PER_MINUTE": 0},
        {"CPS_TRUST": "relative/folder"},
        {"CPS_REVOCATION_GRACE": timedelta(days=32)},
        {"CPS_REVOCATION_GRACE": timedelta(seconds=-1)},
        {"CPS_OCSP": "yes"},
    ],
)
def test_an_unsafe_setting_is_refused_at_start(make_app, config: dict[str, Any]) -> None:
    """Not at the first login, when nobody looks."""
    with pytest.raises(ConfigurationError):
        make_app("unsafe", {**MTLS, **config}, cards=None)


def test_t42_session_fixation(remote) -> None:
    """T42: nothing that was planted before the login is there after it."""
    with remote.client.session_transaction(base_url="https://practice.test") as session:
        session["planted"] = "by somebody"
        session["_user_id"] = "an identifier that the attacker knows"
    page_token = remote.page_token()
    assert remote.send(remote.answer(remote.challenge(page_token)), page_token).status_code == 200
    with remote.client.session_transaction(base_url="https://practice.test") as session:
        assert "planted" not in session
        assert session["_user_id"] != "an identifier that the attacker knows"
        assert "cps_browser" not in session


def test_t43_cookie_replay_after_logout(remote) -> None:
    """T43: the cookie of an ended session opens nothing."""
    remote.log_in()
    cookie = remote.client.get_cookie(cookie_name(remote.client), domain="practice.test").value
    found = re.search(r'cps_token" value="(\w+)"', remote.open("GET", "/form").text)
    assert found is not None
    token = found.group(1)
    remote.open("POST", "/cps/logout", data={"cps_token": token})
    remote.client.set_cookie(cookie_name(remote.client), cookie, domain="practice.test")
    assert not remote.is_in()


def test_t44_revoked_during_the_session(
    make_app, remote_visit, remote_config, igc: FakeIgcSante, clock, tmp_path: Path
) -> None:
    """T44: a new list that revokes the card ends its session, and says why."""
    for name, der in igc.crls.items():
        (tmp_path / f"{name}.crl").write_bytes(der)
    judge = Judge(igc.trust_store(), CrlStore.from_folder(tmp_path))
    app = make_app("standing", remote_config, cards=None, judge=judge)
    visitor = remote_visit(app)
    visitor.log_in()
    assert visitor.is_in()
    leaf = x509.load_der_x509_certificate(igc.credentials("doctor").authentication_certificate_der)
    newer = igc.crl(number=2, revoked=[Revocation(leaf.serial_number, igc.made_at)])
    (tmp_path / "ACI-FO-PP.crl").write_bytes(newer)
    clock.ahead = timedelta(seconds=10)
    ended: list[EndReason] = []
    with session_ended.connected_to(lambda _, reason, **__: ended.append(reason), app):
        assert not visitor.is_in()
    assert ended == [EndReason.CARD_REVOKED]
    assert "opposition" in visitor.open("GET", "/cps/closed").text


def test_t44_no_list_left_during_the_session(
    make_app, remote_visit, remote_config, igc: FakeIgcSante, clock
) -> None:
    """T44: when nobody can tell any more whether the card is revoked, nobody goes on."""
    soon = clock() + timedelta(minutes=30)
    crls = [igc.crl(next_update=soon), igc.crls["ACR-FO"]]
    app = make_app(
        "stale", remote_config, cards=None, judge=Judge(igc.trust_store(), CrlStore(crls))
    )
    visitor = remote_visit(app)
    assert visitor.log_in().status_code == 200
    clock.ahead = timedelta(minutes=45)
    assert not visitor.is_in()


NEXT = ["//evil.test", "/\t/evil.test", "/\\evil.test", "javascript:alert(1)", "https://evil.test",
        "/\n/evil.test", "evil.test", "", "/%09/evil.test\x00"]  # fmt: skip


@pytest.mark.parametrize("asked", NEXT)
def test_t45_open_redirect(remote, mtls: MtlsVisitor, asked: str) -> None:
    """T45: where to go next stays on this site, by every way in."""
    page_token = remote.page_token()
    path = f"/cps/web-eid/login?next={quote(asked)}"
    answer = remote.send(remote.answer(remote.challenge(page_token)), page_token, path=path)
    assert answer.json == {"next": "/"}
    page = mtls.remote.open("GET", f"/cps/login?next={quote(asked)}").text
    assert 'name="next" value="/"' in page


@pytest.mark.parametrize(
    "headers",
    [
        {"X-CPS-Token": None},
        {"X-CPS-Token": "0" * 64},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Origin": None},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
@pytest.mark.parametrize("path", ["login", "challenge"])
def test_t46_login_csrf(remote, path: str, headers: dict[str, str | None]) -> None:
    """T46: another site's page can neither ask for a challenge nor send a token."""
    page_token = remote.page_token()
    token = remote.answer(remote.challenge(page_token))
    answer = remote.send(token, page_token, path=f"/cps/web-eid/{path}", headers=headers)
    assert (answer.status_code, answer.json) == (403, {"refused": True})
    assert not remote.is_in()


@pytest.mark.parametrize("path", ["web-eid/login", "web-eid/challenge", "web-eid/card-removed",
                                  "web-eid/heartbeat", "logout"])  # fmt: skip
def test_t47_nothing_is_done_by_get(remote, path: str) -> None:
    """T47: a link or an image ends and opens nothing."""
    remote.log_in()
    assert remote.open("GET", f"/cps/{path}").status_code == 405
    assert remote.is_in()


def test_t47_logout_of_another_site(remote) -> None:
    """T47: a form on another page does not log out."""
    remote.log_in()
    for path in ("logout", "web-eid/card-removed"):
        headers = {"Origin": "https://evil.test", "X-CPS-Token": "x"}
        remote.open("POST", f"/cps/{path}", headers=headers)
        assert remote.is_in()


def test_t48_challenges_are_for_this_origin_only(remote) -> None:
    """T48: no CORS header whatever is asked, and nothing of it in any cache."""
    headers = {"X-CPS-Token": remote.page_token()}
    answer = remote.open("POST", "/cps/web-eid/challenge", headers=headers)
    assert answer.headers["Cache-Control"] == "no-store"
    asked = {"Origin": "https://evil.test", "Access-Control-Request-Method": "POST"}
    preflight = remote.open("OPTIONS", "/cps/web-eid/challenge", headers=asked)
    for each in (answer, preflight):
        assert not [name for name, _ in each.headers if name.lower().startswith("access-control")]


@pytest.mark.parametrize("path", ["/cps/login", "/cps/closed"])
def test_t49_no_page_can_be_framed(remote, path: str) -> None:
    """T49: by header and by policy, refusals included."""
    framed = remote.open("GET", "/cps/login", headers={"Sec-Fetch-Dest": "iframe"})
    assert framed.status_code == 403
    for answer in (remote.open("GET", path), framed):
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]


def test_an_administrator_sees_and_ends_sessions(remote, remote_app) -> None:
    """`flask cps sessions` and `flask cps end`, by handle and by holder."""
    remote.log_in()
    runner = remote_app.test_cli_runner()
    listed = runner.invoke(args=["cps", "sessions"]).output
    handle = listed.split()[0]
    assert "899900000011" in listed
    assert runner.invoke(args=["cps", "end", "nobody"]).exit_code == 1
    assert remote.is_in()
    assert handle in runner.invoke(args=["cps", "end", handle]).output
    assert not remote.is_in()
    assert "administrateur" in remote.open("GET", "/cps/closed").text
    remote.log_in()
    runner.invoke(args=["cps", "end", "--holder", "899900000011"])
    assert not remote.is_in()
    assert runner.invoke(args=["cps", "sessions"]).output == ""


def test_b64_is_not_a_certificate(mtls: MtlsVisitor) -> None:
    """Well-formed base64 of nothing is refused by the judge, not by a crash."""
    value = "-----BEGIN CERTIFICATE-----\n" + b64encode(b"no").decode()
    value += "\n-----END CERTIFICATE-----\n"
    answer = mtls.prove(mtls.start(), headers={"X-SSL-Client-Cert": quote(value)})
    assert answer.status_code == 403

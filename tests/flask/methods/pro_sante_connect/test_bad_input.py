"""What a real provider would never say: each ends in its own code, one sentence, no session."""

from __future__ import annotations

import hmac
import json
import logging
import socket
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from cps_auth.errors import ConfigurationError, ProviderUnavailable
from cps_auth.login.pro_sante_connect.transport import Transport
from tests.flask.methods.pro_sante_connect.conftest import ORIGIN, PscBrowser
from tests.hostile_provider import Hostile, new_key

EXPLAINED = ("provider-level-too-low", "holder-not-allowed")
"""What the person can do something about; all the others look the same to them."""


def come_back(victim: PscBrowser, hostile: Hostile, **more: str) -> TestResponse:
    """Start a login, and come back from the provider with a code."""
    start = victim.start()
    if start.status_code != 303:
        return start
    asked = parse_qs(urlsplit(start.headers["Location"]).query)
    hostile.nonce = hostile.nonce or asked["nonce"][0]
    query = {"code": "a-code", "state": asked["state"][0], "iss": hostile.issuer, **more}
    kept = {name: value for name, value in query.items() if value}
    return victim.back(f"{ORIGIN}/cps/psc/callback?{urlencode(kept)}")


@pytest.fixture
def refused(
    victim: PscBrowser, hostile: Hostile, caplog: pytest.LogCaptureFixture
) -> Callable[..., TestResponse]:
    """Logs in and holds that it is refused, in those words of the log."""
    caplog.set_level(logging.INFO, "cps_auth.audit")

    def check(expected: str, reason: str = "", **more: str) -> TestResponse:
        answer = come_back(victim, hostile, **more)
        assert answer.status_code >= 400
        assert f"login refused code={expected} " in caplog.text
        assert reason in caplog.text
        assert not victim.visitor.is_in()
        assert "login accepted" not in caplog.text
        if answer.status_code == 403 and expected not in EXPLAINED:
            assert answer.text == victim.back(f"{ORIGIN}/cps/psc/callback").text
        return answer

    return check


def test_the_hostile_provider_can_be_good(victim: PscBrowser, hostile: Hostile) -> None:
    """Otherwise the refusals below would prove nothing."""
    assert come_back(victim, hostile).status_code == 303
    assert victim.visitor.is_in()
    (form,) = hostile.forms
    assert form["code"] == ["a-code"]
    assert len(form["code_verifier"][0]) >= 43
    assert form["redirect_uri"] == [f"{ORIGIN}/cps/psc/callback"]
    assert any(h.get("Authorization", "").startswith("Basic ") for h in hostile.headers)


CLAIMS = [
    ({"nonce": None}, "provider-token-refused", "reason=nonce"),
    ({"nonce": "another"}, "provider-token-refused", "reason=nonce"),
    ({"nonce": 7}, "provider-token-refused", "reason=nonce"),
    ({"iss": "https://psc.test/realm"}, "provider-token-refused", "reason=issuer"),
    ({"iss": None}, "provider-token-refused", "reason=issuer"),
    ({"aud": "another-client"}, "provider-token-refused", "reason=audience"),
    ({"aud": []}, "provider-token-refused", "reason=audience"),
    ({"aud": None}, "provider-token-refused", "reason=audience"),
    ({"azp": "another-client"}, "provider-token-refused", "reason=azp"),
    ({"aud": ["cps-auth-test", "another"], "azp": None}, "provider-token-refused", "reason=azp"),
    ({"exp": 1}, "provider-token-refused", "reason=expired"),
    ({"exp": None}, "provider-token-refused", "reason=exp"),
    ({"exp": 1e300}, "provider-token-refused", "reason=exp"),
    ({"exp": True}, "provider-token-refused", "reason=exp"),
    ({"iat": timedelta(hours=1)}, "provider-token-refused", "reason=from-the-future"),
    ({"nbf": timedelta(hours=1)}, "provider-token-refused", "reason=from-the-future"),
    ({"iat": timedelta(hours=-1)}, "provider-token-refused", "reason=expired"),
    ({"sub": None}, "provider-token-refused", "reason=subject"),
    ({"sub": 12}, "provider-token-refused", "reason=subject"),
    ({"acr": None}, "provider-level-too-low", "reason=acr"),
    ({"acr": "0"}, "provider-level-too-low", "reason=acr"),
    ({"acr": "eidas0"}, "provider-level-too-low", "reason=acr"),
    ({"acr": "eidas1 "}, "provider-level-too-low", "reason=acr"),
    ({"acr": ["eidas1"]}, "provider-level-too-low", "reason=acr"),
]  # fmt: skip


@pytest.mark.parametrize(("claims", "code", "reason"), CLAIMS, ids=str)
def test_a_claim_of_the_id_token(
    hostile: Hostile, refused: Any, claims: dict[str, Any], code: str, reason: str
) -> None:
    """Claim by claim, with a signature that is good."""
    now = time.time()
    hostile.claims = {
        name: int(now + value.total_seconds()) if isinstance(value, timedelta) else value
        for name, value in claims.items()
    }
    refused(code, reason)


def test_a_higher_level_is_accepted(victim: PscBrowser, hostile: Hostile) -> None:
    """ANS's sandbox has said eidas3 to who asked for eidas1."""
    hostile.claims = {"acr": "eidas3"}
    assert come_back(victim, hostile).status_code == 303


def test_an_unsigned_token(hostile: Hostile, refused: Any) -> None:
    """RFC 7515 appendix A.5: `alg` none."""

    def unsigned(claims: dict[str, Any]) -> str:
        body = json.dumps(claims).encode()
        return ".".join((_b64(b'{"alg":"none"}'), _b64(body), ""))

    hostile.token = unsigned
    refused("provider-token-refused", "reason=unsigned")


def test_a_token_signed_by_hmac_with_the_public_key(hostile: Hostile, refused: Any) -> None:
    """RFC 8725 section 2.1: the key that everybody has must not count as a secret."""
    public = hostile.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def by_hmac(claims: dict[str, Any]) -> str:
        header = {"alg": "HS256", "kid": hostile.key.kid}
        signed = ".".join(_b64(json.dumps(part).encode()) for part in (header, claims))
        return f"{signed}.{_b64(hmac.digest(public, signed.encode(), 'sha256'))}"

    hostile.token = by_hmac
    refused("provider-token-refused", "reason=algorithm")


def test_a_token_signed_by_another_key(hostile: Hostile, refused: Any, other_key: RSAKey) -> None:
    """One that claims to be the provider's."""
    hostile.token = lambda claims: hostile.sign(claims, other_key)
    refused("provider-token-refused", "reason=signature")


def test_a_token_signed_by_a_key_that_is_not_listed(hostile: Hostile, refused: Any) -> None:
    """Its `kid` is unknown even after the keys were fetched once more."""
    stranger = new_key("stranger")
    hostile.token = lambda claims: hostile.sign(claims, stranger)
    refused("provider-token-refused", "reason=key")


@pytest.mark.parametrize("key_in_header", ["jwk", "jku", "x5c"])
def test_a_token_that_brings_its_own_key(
    hostile: Hostile, refused: Any, other_key: RSAKey, key_in_header: str
) -> None:
    """Only the provider's keys count, whatever the header offers."""
    offers = {"jwk": other_key.as_dict(private=False), "jku": "https://evil.test/", "x5c": ["AA=="]}
    hostile.token = lambda claims: hostile.sign(
        claims, other_key, **{key_in_header: offers[key_in_header]}
    )
    refused("provider-token-refused", "reason=")


@pytest.mark.parametrize(
    "token", ["", "a.b", "a.b.c", "....", "é.é.é", "x" * 20_000, 7, None, [], {}]
)
def test_no_token_at_all(hostile: Hostile, refused: Any, token: Any) -> None:
    """What is none is refused before anything is done with it."""
    hostile.token = lambda _: token
    refused("provider-token-refused", "reason=")


def test_a_payload_that_is_no_object(hostile: Hostile, refused: Any) -> None:
    """Well signed, and a list."""
    hostile.token = lambda _: jws.serialize_compact(
        {"alg": "RS256", "kid": hostile.key.kid}, b"[1]", hostile.key
    )
    refused("provider-token-refused", "reason=")


USERINFO = [
    ({"sub": "f:somebody:else"}, "reason=sub"),
    ({"sub": None}, "reason=sub"),
    ({"SubjectNameID": None}, "reason=SubjectNameID"),
    ({"SubjectNameID": ""}, "reason=SubjectNameID"),
    ({"SubjectNameID": 899900000011}, "reason=SubjectNameID"),
    ({"SubjectNameID": "899900000011\n"}, "reason=SubjectNameID"),
    ({"SubjectNameID": "8999'; DROP TABLE--"}, "reason=SubjectNameID"),
    ({"SubjectNameID": "8" * 70}, "reason=SubjectNameID"),
    ({"family_name": "LAVERGNE\u202eENGREVAL"}, "reason=family_name"),
    ({"family_name": "LAVERGNE\x1b[2J"}, "reason=family_name"),
    ({"given_name": "Camille\nlogin accepted"}, "reason=given_name"),
    ({"given_name": "C" * 5000}, "reason=given_name"),
    ({"given_name": ["Camille"]}, "reason=given_name"),
    ({"SubjectRole": "10"}, "reason=SubjectRole"),
    ({"SubjectRole": ["10"] * 1000}, "reason=SubjectRole"),
    ({"SubjectRefPro": []}, "reason=SubjectRefPro"),
    ({"SubjectRefPro": {"exercices": "10"}}, "reason=exercices"),
    ({"SubjectRefPro": {"exercices": [None]}}, "reason=exercices"),
    ({"SubjectRefPro": {"exercices": [{"codeProfession": "<b>"}]}}, "reason=codeProfession"),
    ({"SubjectRefPro": {"exercices": [{"activities": [7]}]}}, "reason=activities"),
    ({"Palier_Authentification": {"a": 1}}, "reason=Palier_Authentification"),
]  # fmt: skip


@pytest.mark.parametrize(("claims", "reason"), USERINFO, ids=ascii)
def test_a_claim_of_userinfo(
    hostile: Hostile, refused: Any, claims: dict[str, Any], reason: str
) -> None:
    """Another subject, no identifier, hostile text, other shapes."""
    hostile.userinfo = claims
    refused("provider-identity-refused", reason)


def test_a_name_with_markup_is_shown_as_text(victim: PscBrowser, hostile: Hostile) -> None:
    """Printable text is a name; templates escape it."""
    hostile.userinfo = {"family_name": "<script>alert(1)</script>"}
    assert come_back(victim, hostile).status_code == 303


@pytest.mark.parametrize(
    ("body", "media_type", "code"),
    [
        (b"[" * 100_000, "application/json", "provider-unavailable"),
        (b"\xff\xfe", "application/json", "provider-unavailable"),
        (b"[]", "application/json", "provider-unavailable"),
        (b"", "application/json", "provider-unavailable"),
        (b"<html>", "text/html", "provider-identity-refused"),
        (b"not.a.token", "application/jwt", "provider-token-refused"),
        (b" " * 10_000_000, "application/json", "provider-unavailable"),
    ],
    ids=["deep", "not-text", "a-list", "empty", "html", "jwt", "10-MB"],
)
def test_a_body_of_userinfo(
    hostile: Hostile, refused: Any, body: bytes, media_type: str, code: str
) -> None:
    """10 MB, nested for ever, not JSON."""
    hostile.replies["userinfo"] = lambda: (200, media_type, body)
    refused(code)


def test_userinfo_as_a_signed_token(victim: PscBrowser, hostile: Hostile) -> None:
    """Where the client was registered so; its signature is checked."""
    good = json.loads(hostile.answer("userinfo")[2])
    signed = hostile.sign({**good, "iss": hostile.issuer}).encode()
    hostile.replies["userinfo"] = lambda: (200, "application/jwt", signed)
    assert come_back(victim, hostile).status_code == 303


DISCOVERY = [
    ({"issuer": "https://evil.test"}, "discovery-issuer"),
    ({"token_endpoint": "https://evil.test/token"}, "discovery token_endpoint"),
    ({"userinfo_endpoint": "https://evil.test/userinfo"}, "discovery userinfo_endpoint"),
    ({"jwks_uri": "https://evil.test/certs"}, "discovery jwks_uri"),
    ({"authorization_endpoint": "http://evil.test/auth"}, "discovery authorization_endpoint"),
    ({"authorization_endpoint": "javascript:alert(1)"}, "discovery authorization_endpoint"),
    ({"end_session_endpoint": "https://127.0.0.1.evil.test/"}, "discovery end_session_endpoint"),
    ({"jwks_uri": "http://127.0.0.1:1@evil.test/certs"}, "discovery jwks_uri"),
    ({"jwks_uri": None}, "discovery jwks_uri"),
    ({"token_endpoint": 7}, "discovery token_endpoint"),
]


@pytest.mark.parametrize(("document", "reason"), DISCOVERY, ids=str)
def test_discovery_that_points_elsewhere(
    hostile: Hostile, refused: Any, document: dict[str, Any], reason: str
) -> None:
    """No code, secret or person goes to another host."""
    hostile.document = document
    assert refused("provider-unavailable", reason).status_code == 503


@pytest.mark.parametrize(
    "issuer",
    [
        "http://auth.esw.esante.gouv.fr/auth/realms/esante-wallet",
        "https://auth.esw.esante.gouv.fr/auth/realms/esante-wallet/",
        "ftp://127.0.0.1/",
        "https://user@psc.test",
        "wallet",
        "https://",
    ],
)
def test_http_or_nonsense_as_the_provider_is_refused_at_start(
    make_app: Any, remote_config: dict[str, Any], issuer: str
) -> None:
    """Plain http is for a stand-in on this machine alone."""
    config = {**remote_config, "CPS_PSC": issuer, "CPS_PSC_CLIENT_ID": "a"}
    with pytest.raises(ConfigurationError, match="issuer"):
        make_app("bad", {**config, "CPS_PSC_CLIENT_SECRET": "s"}, cards=None)


@pytest.mark.parametrize("endpoint", ["wallet-openid-configuration", "certs", "token", "userinfo"])
@pytest.mark.parametrize("status", [500, 503, 302, 404])
def test_a_provider_that_fails(hostile: Hostile, refused: Any, endpoint: str, status: int) -> None:
    """503 on that button; the person is told who does not answer."""
    hostile.replies[endpoint] = lambda: (status, "application/json", b"{}")
    answer = refused("provider-unavailable")
    assert answer.status_code == 503
    assert "Pro Santé Connect" in answer.text


def test_a_provider_that_is_down_never_blocks_the_other_ways(
    hostile: Hostile, victim: PscBrowser
) -> None:
    """The card comes in, and who presses the button again waits for nothing."""
    hostile.replies["wallet-openid-configuration"] = lambda: (500, "text/plain", b"")
    assert victim.start().status_code == 503
    asked = len(hostile.asked)
    assert victim.start().status_code == 503
    assert len(hostile.asked) == asked  # it was not even asked
    assert victim.visitor.log_in("doctor").status_code == 200
    assert victim.visitor.is_in()


def test_a_provider_that_hangs(hostile: Hostile, victim: PscBrowser) -> None:
    """The deadline ends it, whatever it does."""
    released = threading.Event()

    def hang() -> tuple[int, str, bytes]:
        released.wait(60)
        return 200, "application/json", b"{}"

    hostile.replies["wallet-openid-configuration"] = hang
    begun = time.monotonic()
    try:
        assert victim.start().status_code == 503
        assert time.monotonic() - begun < 20
    finally:
        released.set()


def test_a_provider_that_drips() -> None:
    """A byte now and then keeps no worker beyond the deadline."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        gone = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection:
                try:
                    while not gone.wait(0.05):
                        connection.sendall(b"H")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            with pytest.raises(ProviderUnavailable, match="too-slow"):
                Transport(deadline_s=0.5).send("GET", f"http://127.0.0.1:{port}/")
        finally:
            gone.set()
            thread.join()


def test_keys_that_were_changed_in_the_middle(
    hostile: Hostile, victim: PscBrowser, browser_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown `kid` has them fetched once more, and the login goes on."""
    assert come_back(victim, hostile).status_code == 303
    hostile.key = new_key("two")
    hostile.nonce = ""
    monkeypatch.setattr("cps_auth.login.pro_sante_connect.refreshed.RETRY_S", 0.0)
    again = browser_of(victim.visitor.client.application)
    assert come_back(again, hostile).status_code == 303
    assert hostile.asked.count("certs") == 2


def test_a_burst_of_logins_fetches_document_and_keys_once(
    hostile: Hostile, victim: PscBrowser, browser_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 at once, from 16 threads; on a busy machine none is told that it took too long."""
    app = victim.visitor.client.application
    client = app.extensions["cps_login"].methods["pro-sante-connect"].client
    monkeypatch.setattr(client.provider.transport, "_deadline_s", 60.0)
    monkeypatch.setattr("cps_auth.flask.stores.ports.STORE_TIME_S", 60.0)

    def begin(_: int) -> int:
        return int(browser_of(app).start().status_code)

    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(begin, range(100))) == {303}
    assert hostile.asked.count("wallet-openid-configuration") == 1
    for _ in range(5):
        hostile.nonce = ""
        assert come_back(browser_of(app), hostile).status_code == 303
    assert hostile.asked.count("certs") == 1


@pytest.mark.parametrize(
    ("more", "code", "reason"),
    [
        ({"iss": ""}, "provider-token-refused", "reason=callback-issuer"),
        ({"iss": "https://evil.test"}, "provider-token-refused", "reason=callback-issuer"),
        ({"state": ""}, "challenge-unknown", "reason=no-state"),
        ({"state": "A" * 43}, "challenge-unknown", ""),
        ({"state": "\x00é"}, "challenge-unknown", ""),
        ({"code": ""}, "provider-token-refused", "reason=code"),
        ({"code": "", "error": "access_denied"}, "provider-login-declined", "access_denied"),
        ({"code": "", "error": "server_error"}, "provider-unavailable", "callback-error"),
        ({"code": "x" * 5000}, "request-malformed", "psc-code"),
    ],
    ids=str,
)
def test_what_comes_back_beside_the_code(
    refused: Any, more: dict[str, str], code: str, reason: str
) -> None:
    """RFC 9207 and RFC 6749 section 4.1.2.1."""
    refused(code, reason, **more)


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        ({"error": "invalid_grant"}, "provider-token-refused"),
        ({"error": "invalid_client"}, "provider-unavailable"),
        ({"error": 7}, "provider-unavailable"),
    ],
    ids=str,
)
def test_errors_of_the_token_endpoint(
    hostile: Hostile, refused: Any, reply: dict[str, Any], code: str
) -> None:
    """A code of somebody else, wrong credentials, nonsense."""
    hostile.replies["token"] = lambda: (400, "application/json", json.dumps(reply).encode())
    refused(code)


@pytest.mark.parametrize(
    "changes",
    [{"access_token": None}, {"access_token": "a\r\nb"}, {"token_type": "mac"}, {"token_type": 1}],
    ids=str,
)
def test_an_access_token_that_is_none(
    hostile: Hostile, refused: Any, changes: dict[str, Any]
) -> None:
    """Nothing that could split a header is sent on."""
    usual = hostile.answer

    def token() -> tuple[int, str, bytes]:
        hostile.replies.pop("token")
        _, media_type, body = usual("token")
        return 200, media_type, json.dumps({**json.loads(body), **changes}).encode()

    hostile.replies["token"] = token
    refused("provider-token-refused", "reason=")


def _b64(content: bytes) -> str:
    return urlsafe_b64encode(content).rstrip(b"=").decode()

"""How the client says who it is: by a secret, a key or a certificate; and CIBA with each."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from cps_auth.errors import ConfigurationError, ProviderUnavailable
from cps_auth.errors.provider import ProviderRefused
from cps_auth.login.pro_sante_connect.ciba import (
    await_phone_login,
    poll_phone_login,
    start_phone_login,
)
from cps_auth.login.pro_sante_connect.client import PscClient
from cps_auth.login.pro_sante_connect.credentials import Credentials
from cps_auth.login.pro_sante_connect.identity import PscIdentity
from cps_auth.login.pro_sante_connect.provider import find_provider
from cps_auth.login.pro_sante_connect.start import Start
from hardware_mocks.personas import find_persona
from hardware_mocks.pro_sante_connect.stand_in import stand_in
from tests.hostile_provider import CLIENT_ID, Hostile, hostile_provider, new_key
from tests.server_certificate import write_server_pem

DOCTOR = find_persona("doctor").ps_idnat
ORIGIN = "https://practice.test"
REDIRECT = f"{ORIGIN}/cps/psc/callback"


def now() -> datetime:
    """Return the time, aware UTC."""
    return datetime.now(UTC)


def write_key(key: RSAKey | ECKey, folder: Path) -> Path:
    """Write a private key as PEM."""
    path = folder / "client.pem"
    path.write_bytes(key.as_pem(private=True))
    return path


def approved(client: PscClient) -> PscIdentity:
    """Log the doctor in by CIBA: token endpoint and userinfo, without a browser."""
    login = start_phone_login(client, DOCTOR, at=now())
    return await_phone_login(client, login, clock=now, wait=lambda _: None)


@pytest.mark.usefixtures("psc_installed")
def test_a_secret_at_the_real_provider() -> None:
    """client_secret_basic."""
    with stand_in(ORIGIN) as provider:
        good = Credentials(provider.client_id, provider.client_secret)
        client = PscClient(find_provider(provider.issuer), good)
        assert approved(client).practitioner.ps_idnat == DOCTOR
        bad = PscClient(find_provider(provider.issuer), Credentials(provider.client_id, "wrong"))
        with pytest.raises(ProviderUnavailable, match="invalid_client"):
            start_phone_login(bad, DOCTOR, at=now())


@pytest.mark.usefixtures("psc_installed")
@pytest.mark.parametrize(
    ("make", "algorithm"),
    [
        (lambda: RSAKey.generate_key(2048, {"kid": "c"}), "RS256"),
        (lambda: ECKey.generate_key("P-256", {"kid": "c"}), "ES256"),
    ],
    ids=["rsa", "ec"],
)
def test_a_key_at_the_real_provider(
    make: Callable[[], RSAKey | ECKey], algorithm: str, tmp_path: Path
) -> None:
    """private_key_jwt: the provider verifies the assertion, and refuses another key's."""
    key = make()
    registration = {
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_signing_alg": algorithm,
        "jwks": {"keys": [key.as_dict(private=False)]},
    }
    with stand_in(ORIGIN, client=registration) as provider:
        address = find_provider(provider.issuer)
        good = Credentials(provider.client_id, key=write_key(key, tmp_path))
        assert approved(PscClient(address, good)).practitioner.ps_idnat == DOCTOR
        bad = Credentials(provider.client_id, key=write_key(new_key(), tmp_path))
        with pytest.raises(ProviderUnavailable, match="invalid_client"):
            start_phone_login(PscClient(address, bad), DOCTOR, at=now())


def test_a_certificate(tmp_path: Path) -> None:
    """tls_client_auth: `client_id` in the form and no secret, discovery's aliases, TLS verified."""
    certificate = key = tmp_path / "both.pem"
    write_server_pem(certificate, addresses=["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(certificate)
    context.verify_mode = ssl.CERT_REQUIRED
    with hostile_provider(new_key(), context) as hostile:
        base = f"{hostile.issuer}/protocol/openid-connect"
        hostile.document = {"mtls_endpoint_aliases": {"token_endpoint": f"{base}/mtls/token"}}
        credentials = Credentials(CLIENT_ID, key=key, certificate=certificate)
        address = find_provider(hostile.issuer)
        client = PscClient(address, credentials, authorities=certificate)
        assert finish(client, hostile).practitioner.ps_idnat == DOCTOR
        assert hostile.forms[-1]["client_id"] == [CLIENT_ID]
        assert "client_secret" not in hostile.forms[-1]
        assert not any("Basic" in headers.get("Authorization", "") for headers in hostile.headers)
        with pytest.raises(ProviderUnavailable):  # the system does not know this authority
            finish(PscClient(address, credentials), hostile)


def finish(client: PscClient, hostile: Hostile) -> PscIdentity:
    """Come back with a code."""
    start = Start.make()
    hostile.nonce = start.nonce
    return client.finish("a-code", start, redirect_uri=REDIRECT, at=now())


def test_what_an_assertion_says(tmp_path: Path) -> None:
    """RFC 7523: who, for whom, once, and for a minute."""
    key = new_key("client")
    with hostile_provider(new_key()) as hostile:
        credentials = Credentials(CLIENT_ID, key=write_key(key, tmp_path))
        finish(PscClient(find_provider(hostile.issuer), credentials), hostile)
        (form,) = hostile.forms
    claims = jwt.decode(form["client_assertion"][0], key, algorithms=["RS256"]).claims
    assert claims["iss"] == claims["sub"] == CLIENT_ID
    assert claims["aud"].endswith("/token")
    assert len(claims["jti"]) > 20
    assert claims["exp"] - claims["iat"] <= 60


def test_a_key_file_that_is_none(tmp_path: Path) -> None:
    """It is told by name, at start."""
    path = tmp_path / "client.pem"
    path.write_text("no key")
    with pytest.raises(ConfigurationError, match=r"client\.pem"):
        PscClient(find_provider("sandbox"), Credentials("a", key=path))


def test_secrets_are_in_no_representation() -> None:
    """What is logged by mistake tells nothing."""
    start = Start.make()
    shown = repr((Credentials("a", "a secret of tests"), start))
    for secret in ("a secret of tests", start.nonce, start.code_verifier):
        assert secret not in shown


@pytest.mark.usefixtures("psc_installed")
@pytest.mark.parametrize(
    ("phone", "code"), [("deny", "access_denied"), ("silent", "expired_token")]
)
def test_a_phone_that_does_not_approve(phone: str, code: str) -> None:
    """Refused there, or nobody answers in time: nobody is logged in."""
    with stand_in(ORIGIN, phone=phone) as provider:
        credentials = Credentials(provider.client_id, provider.client_secret)
        client = PscClient(find_provider(provider.issuer), credentials)
        login = start_phone_login(client, DOCTOR, at=now())
        assert len(login.digits) == 2
        assert login.request_id not in repr(login)
        if phone == "silent":
            assert poll_phone_login(client, login, at=now()) is None
        with pytest.raises(ProviderRefused, match=code):
            poll_phone_login(client, login, at=login.expires_at if phone == "silent" else now())


@pytest.mark.usefixtures("psc_installed")
def test_a_phone_of_nobody() -> None:
    """The provider knows no such person."""
    with stand_in(ORIGIN) as provider:
        credentials = Credentials(provider.client_id, provider.client_secret)
        client = PscClient(find_provider(provider.issuer), credentials)
        with pytest.raises(ProviderRefused, match="unknown_user_id"):
            start_phone_login(client, "899999999999", at=now())


def test_who_approved_is_who_was_asked() -> None:
    """A provider that answers with somebody else is refused."""
    with hostile_provider(new_key()) as hostile:
        hostile.document = {"backchannel_authentication_endpoint": f"{hostile.issuer}/ciba"}
        hostile.replies["ciba"] = lambda: (200, "application/json", b'{"auth_req_id": "x"}')
        address = find_provider(hostile.issuer)
        client = PscClient(address, Credentials(CLIENT_ID, "a secret of tests"))
        login = start_phone_login(client, "899900000029", at=now())
        with pytest.raises(ProviderRefused, match="SubjectNameID"):
            poll_phone_login(client, login, at=now())


def test_a_provider_without_ciba() -> None:
    """It is said, and nothing is sent."""
    with hostile_provider(new_key()) as hostile:
        client = PscClient(find_provider(hostile.issuer), Credentials(CLIENT_ID, "a secret"))
        with pytest.raises(ProviderUnavailable, match="no-ciba"):
            start_phone_login(client, DOCTOR, at=now())
        assert hostile.forms == []

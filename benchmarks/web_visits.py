"""A browser that logs in from elsewhere, as data: what is sent is the same whatever carries it."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from http.cookies import SimpleCookie

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from flask import Flask

from hardware_mocks.igc.fake_igc import FakeIgcSante

ORIGIN = "https://practice.test"
HEADERS = {"Origin": ORIGIN, "Content-Type": "application/json", "Accept": "text/html"}

Send = Callable[[str, str, Mapping[str, str], bytes], tuple[int, str]]
"""Method, path, headers and body; returns status and text."""


def answer_of_card(igc: FakeIgcSante, nonce: str) -> tuple[bytes, bytes, bytes]:
    """Return a token's text, what it signs, and the signature."""
    card = igc.credentials("doctor")
    message = b"".join(hashlib.sha256(text.encode()).digest() for text in (ORIGIN, nonce))
    value = card.authentication_key.sign(message, padding.PKCS1v15(), hashes.SHA256())
    fields = {
        "unverifiedCertificate": b64encode(card.authentication_certificate_der).decode(),
        "algorithm": "RS256",
        "signature": b64encode(value).decode(),
        "format": "web-eid:1.0",
        "appVersion": "https://cps-auth.test/1.0",
    }
    return json.dumps(fields).encode(), message, value


def prepare(igc: FakeIgcSante, send: Send) -> Callable[[], None]:
    """Open the page, ask for a challenge and sign it; return what hands the token over.

    Raises:
        RuntimeError: something was refused; also later, by what is returned.
    """
    page = _sent(send("GET", "/cps/login", HEADERS, b""))
    found = re.search(r'data-token="(\w+)"', page)
    if found is None:
        raise RuntimeError("no token on the page")
    headers = {**HEADERS, "X-CPS-Token": found.group(1)}
    nonce = json.loads(_sent(send("POST", "/cps/web-eid/challenge", headers, b"")))["nonce"]
    body = answer_of_card(igc, nonce)[0]
    return lambda: _forget(_sent(send("POST", "/cps/web-eid/login", headers, body)))


def log_in(igc: FakeIgcSante, send: Send) -> None:
    """Do all of it."""
    prepare(igc, send)()


def through_test_client(app: Flask) -> Send:
    """Return a new browser at an application of this process."""
    client = app.test_client()

    def send(method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        answer = client.open(path, method=method, base_url=ORIGIN, headers=headers, data=body)
        return answer.status_code, answer.text

    return send


def through_http(port: int) -> Send:
    """Return a new browser at a server on loopback, a connection for each request."""
    cookies: dict[str, str] = {}

    def send(method: str, path: str, headers: Mapping[str, str], body: bytes) -> tuple[int, str]:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        kept = "; ".join(f"{name}={value}" for name, value in cookies.items())
        connection.request(method, path, body, {**headers, "Cookie": kept})
        answer = connection.getresponse()
        for header in answer.headers.get_all("Set-Cookie", []):
            cookies.update({name: morsel.value for name, morsel in SimpleCookie(header).items()})
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    return send


def _sent(answer: tuple[int, str]) -> str:
    status, text = answer
    if status != 200:
        raise RuntimeError(f"{status}: {text}")
    return text


def _forget(_text: str) -> None:
    """A login's answer only says where to go."""

"""A provider that lies, stalls and breaks, for the faults that a real one cannot produce."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import RSAKey

from hardware_mocks.personas import find_persona
from hardware_mocks.pro_sante_connect.claims import claims_of, subject_of

REALM = "/auth/realms/esante-wallet"
CLIENT_ID = "cps-auth-test"
DOCTOR = find_persona("doctor")

Reply = tuple[int, str, bytes]
"""Status, media type, body."""


def new_key(kid: str = "one") -> RSAKey:
    """Return a signing key."""
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS256"})


@dataclass
class Hostile:
    """What the provider says; a test changes what it wants wrong.

    Attributes:
        nonce: of the login under way, which a test takes from the authorization address.
        claims: replace those of a good id_token; None removes one.
        token: makes the id_token of claims; None: signed well.
        replies: by the last part of the path, in place of the usual reply.
        asked: paths in the order in which they were asked for.
        forms: what the token endpoint was sent.
    """

    key: RSAKey
    issuer: str = ""
    nonce: str = ""
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    document: dict[str, Any] = field(default_factory=dict)
    token: Callable[[dict[str, Any]], str] | None = None
    replies: dict[str, Callable[[], Reply]] = field(default_factory=dict)
    keys: list[RSAKey] | None = None
    asked: list[str] = field(default_factory=list)
    forms: list[dict[str, list[str]]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    def sign(self, claims: dict[str, Any], key: RSAKey | None = None, **header: Any) -> str:
        """Return a token by RS256."""
        signer = key or self.key
        return jwt.encode({"alg": "RS256", "kid": signer.kid, **header}, claims, signer)

    def good_claims(self) -> dict[str, Any]:
        """Return what a good id_token says, but for the test's changes."""
        now = int(datetime.now(UTC).timestamp())
        claims = {
            "iss": self.issuer,
            "sub": subject_of(DOCTOR),
            "aud": CLIENT_ID,
            "azp": CLIENT_ID,
            "exp": now + 120,
            "iat": now,
            "auth_time": now,
            "nonce": self.nonce,
            "acr": "eidas1",
            "sid": "one-session",
            **self.claims,
        }
        return {name: value for name, value in claims.items() if value is not None}

    def answer(self, path: str) -> Reply:
        """Return what is at a path."""
        last = path.rsplit("/", 1)[-1]
        if last in self.replies:
            return self.replies[last]()
        content: dict[str, Any]
        if last == "wallet-openid-configuration":
            content = self._document()
        elif last == "certs":
            keys = [self.key] if self.keys is None else self.keys
            content = {"keys": [key.as_dict(private=False) for key in keys]}
        elif last == "token":
            make = self.token or self.sign
            content = {
                "access_token": "a-token",
                "token_type": "Bearer",
                "expires_in": 120,
                "id_token": make(self.good_claims()),
            }
        elif last == "userinfo":
            info = {"sub": subject_of(DOCTOR), **claims_of(DOCTOR), **self.userinfo}
            content = {name: value for name, value in info.items() if value is not None}
        else:
            return 404, "text/plain", b""
        return 200, "application/json", json.dumps(content).encode()

    def _document(self) -> dict[str, Any]:
        base = f"{self.issuer}/protocol/openid-connect"
        document = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{base}/auth",
            "token_endpoint": f"{base}/token",
            "userinfo_endpoint": f"{base}/userinfo",
            "jwks_uri": f"{base}/certs",
            "end_session_endpoint": f"{base}/logout",
            "authorization_response_iss_parameter_supported": True,
            **self.document,
        }
        return {name: value for name, value in document.items() if value is not None}


@contextmanager
def hostile_provider(key: RSAKey, tls: ssl.SSLContext | None = None) -> Iterator[Hostile]:
    """Serve one on a loopback port of its own."""
    hostile = Hostile(key)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._reply()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            hostile.forms.append(parse_qs(body.decode()))
            self._reply()

        def _reply(self) -> None:
            hostile.asked.append(self.path.rsplit("/", 1)[-1])
            hostile.headers.append(dict(self.headers))
            status, media_type, body = hostile.answer(self.path)
            try:
                self.send_response(status)
                self.send_header("Content-Type", media_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except OSError:  # it hung up, as it may
                return

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name)
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    hostile.issuer = (
        f"{'http' if tls is None else 'https'}://127.0.0.1:{server.server_address[1]}{REALM}"
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hostile
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

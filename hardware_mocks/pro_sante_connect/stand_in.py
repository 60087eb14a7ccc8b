"""Runs the stand-in Pro Santé Connect for one client, on a loopback port of its own."""

from __future__ import annotations

import json
import secrets
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import Empty, Queue

from hardware_mocks.pro_sante_connect.claims import people
from hardware_mocks.pro_sante_connect.installed import StandInUnavailable, install

READY_S = 60.0
"""Node starts within a second; a machine under load may take its time."""

CALLBACK, LOGOUT, BACKCHANNEL = "/psc/callback", "/", "/psc/backchannel-logout"
"""Addresses of an application, below its CPS_URL_PREFIX but for the second."""


@dataclass(frozen=True)
class StandIn:
    """A running stand-in, and what an application needs to be its client."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)

    def settings(self) -> dict[str, object]:
        """Return the `CPS_PSC…` settings of an application."""
        return {
            "CPS_PSC": self.issuer,
            "CPS_PSC_CLIENT_ID": self.client_id,
            "CPS_PSC_CLIENT_SECRET": self.client_secret,
        }


@contextmanager
def stand_in(
    *origins: str,
    prefix: str = "/cps",
    acr: str = "eidas1",
    phone: str = "approve",
    port: int = 0,
    client: Mapping[str, object] | None = None,
    jwks: Mapping[str, object] | None = None,
) -> Iterator[StandIn]:
    """Run a stand-in as long as the context lasts.

    Args:
        origins: of the applications, one at least, such as http://127.0.0.1:5000.
        prefix: their CPS_URL_PREFIX.
        acr: what it says of every login.
        phone: what a phone does with a CIBA login: approve, deny or silent.
        port: 0 for any.
        client: more of the client's registration.
        jwks: its signing keys, with private parts; None: its own for development.

    Raises:
        StandInUnavailable: it is not installed, or did not start.
    """
    client_id, secret = "cps-auth-stand-in", secrets.token_urlsafe(32)
    registration: dict[str, object] = {
        "client_id": client_id,
        "client_secret": secret,
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code", "urn:openid:params:grant-type:ciba"],
        "redirect_uris": [f"{origin}{prefix}{CALLBACK}" for origin in origins],
        "post_logout_redirect_uris": [f"{origin}{LOGOUT}" for origin in origins],
        "backchannel_logout_session_required": True,
        "backchannel_token_delivery_mode": "poll",
        **_backchannel(origins, prefix),
        **(client or {}),
    }
    wanted: dict[str, object] = {
        "port": port,
        "clients": [registration],
        "people": people(),
        "acr": acr,
        "phone": phone,
        "cookieKeys": [secrets.token_urlsafe(32)],
        "jwks": jwks,
    }
    if jwks is None:
        del wanted["jwks"]
    process = subprocess.Popen(
        ["node", "--no-deprecation", "provider.mjs"],  # noqa: S607 (as the PATH has it)
        cwd=install(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield StandIn(_start(process, wanted), client_id, secret)
    finally:
        process.kill()
        process.communicate()


def _backchannel(origins: Sequence[str], prefix: str) -> dict[str, object]:
    """Return one address: a client has one, so the first application's."""
    if not origins:
        return {}
    return {"backchannel_logout_uri": f"{origins[0]}{prefix}{BACKCHANNEL}"}


def _start(process: subprocess.Popen[str], wanted: Mapping[str, object]) -> str:
    """Configure it and return its issuer."""
    if process.stdin is None or process.stdout is None:
        raise StandInUnavailable("no pipe")
    lines: Queue[str] = Queue()
    output = process.stdout
    threading.Thread(target=lambda: lines.put(output.readline()), daemon=True).start()
    try:
        process.stdin.write(json.dumps(wanted) + "\n")
        process.stdin.flush()
        return str(json.loads(lines.get(timeout=READY_S))["issuer"])
    except (Empty, OSError, ValueError):
        process.kill()
        raise StandInUnavailable(process.communicate()[1][-800:] or "no answer") from None

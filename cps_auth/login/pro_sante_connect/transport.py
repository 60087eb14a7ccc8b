"""Requests to the provider: TLS, no redirect, one deadline for the exchange, a bounded size."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import msgspec

from cps_auth.errors import ConfigurationError, ProviderUnavailable
from cps_auth.pki.upkeep.fetch import READ_BYTES, FetchFailed, shut_after

DEADLINE_S = 5.0
CONNECT_S = 3.0
MAX_BYTES = 256 * 1024

_HEADERS = {
    "User-Agent": "cps-auth",
    "Connection": "close",
    "Accept": "application/json, application/jwt",
    "Accept-Encoding": "identity",
}
_HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of the provider; nothing of it is verified."""

    status: int
    media_type: str
    unverified_body: bytes

    def json(self) -> dict[str, object]:
        """Return the body as a JSON object.

        Raises:
            ProviderUnavailable: it is not one.
        """
        try:
            value = msgspec.json.decode(self.unverified_body)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            raise ProviderUnavailable("not-json") from None
        if not isinstance(value, dict):
            raise ProviderUnavailable("not-json")
        return value


class Transport:
    """Sends requests, one connection each. Safe to share between threads."""

    def __init__(
        self,
        *,
        authorities: Path | None = None,
        certificate: Path | None = None,
        key: Path | None = None,
        proxy: str | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Load what TLS needs.

        Args:
            authorities: PEM file of who may vouch for the provider's servers; None: the system's.
            certificate, key: PEM files of this client, for `tls_client_auth`.
            proxy: host:port of the way out, None for a direct one.
            deadline_s: of each request.

        Raises:
            ConfigurationError: a file cannot be used.
        """
        try:
            self._tls = ssl.create_default_context(cafile=authorities)
            if certificate is not None:
                self._tls.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigurationError(f"Pro Santé Connect, files for TLS: {error}") from None
        self._proxy = urlsplit(f"//{proxy}") if proxy else None
        self._deadline_s = deadline_s

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """Send a request and return its answer, whatever its status; redirects are not followed.

        Raises:
            ProviderUnavailable: no answer in time, one that is too long, or no connection.
        """
        parts = urlsplit(url)
        if not is_allowed_url(url):
            raise ProviderUnavailable("address")
        connection = self._connection(parts)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.connect()
            with shut_after(connection.sock, self._deadline_s):
                connection.request(method, path, body, {**_HEADERS, **(headers or {})})
                with closing(connection.getresponse()) as response:
                    return _read(response)
        except TimeoutError:
            raise ProviderUnavailable("too-slow") from None
        except FetchFailed as error:
            raise ProviderUnavailable(error.why) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ProviderUnavailable(f"unreachable {type(error).__name__}") from None
        finally:
            connection.close()

    def _connection(self, parts: SplitResult) -> http.client.HTTPConnection:
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=CONNECT_S)
        via = self._proxy or parts
        connection = http.client.HTTPSConnection(
            via.hostname or "", via.port or _HTTPS_PORT, timeout=CONNECT_S, context=self._tls
        )
        if self._proxy is not None:
            connection.set_tunnel(host, port or _HTTPS_PORT)
        return connection


def is_allowed_url(url: str) -> bool:
    """Return whether an address is https, or http on this very machine, and nothing is odd."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return False
    if not url.isascii() or not url.isprintable() or " " in url or not host:
        return False
    if "@" in parts.netloc or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _read(response: http.client.HTTPResponse) -> Answer:
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise FetchFailed("encoded")
    content = bytearray()
    while piece := response.read1(READ_BYTES):
        content += piece
        if len(content) > MAX_BYTES:
            raise FetchFailed("too-long")
    return Answer(response.status, response.headers.get_content_type(), bytes(content))

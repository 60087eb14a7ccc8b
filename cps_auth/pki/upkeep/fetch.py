"""Fetches authorities and CRLs, and asks responders: the only module that opens a connection.

Over http, as the addresses in the certificates are (what comes is signed or pinned), or https; by
the proxy that http_proxy, https_proxy and no_proxy name. A redirect is followed to the same host,
or from http to https of it. No LDAP, nothing is unpacked, size and time are bounded whatever the
other side does. The hosts are those of the trust store.
"""

from __future__ import annotations

import http.client
import math
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cps_auth.cache import BoundedCache
from cps_auth.pki.certificate.parse import read_fields
from cps_auth.pki.chain.pins import PRODUCTION_AUTHORITY_URLS
from cps_auth.pki.chain.trust_store import TrustStore, is_web_address
from cps_auth.pki.revocation.crl import CRL_MAX_BYTES
from cps_auth.pki.revocation.ocsp import RESPONSE_MAX_BYTES, Answer, make_question

READ_BYTES = 64 * 1024
REDIRECTS_MAX = 3
_HEADERS = {"User-Agent": "cps-auth", "Connection": "close", "Accept-Encoding": "identity"}


class FetchFailed(Exception):
    """Nothing that could be used came; `why` is a stable code."""

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(f"{why} {detail}".strip())
        self.why = why


@dataclass(frozen=True)
class Limits:
    """The limits of a transfer, in time and size."""

    max_bytes: int = CRL_MAX_BYTES
    deadline_s: float = 120.0  # of the whole exchange, name resolution apart
    idle_s: float = 15.0  # between two pieces


LIST_LIMITS = Limits()
AUTHORITY_LIMITS = Limits(max_bytes=1024 * 1024, deadline_s=30.0)
ANSWER_LIMITS = Limits(max_bytes=RESPONSE_MAX_BYTES, deadline_s=5.0, idle_s=5.0)
ASK_AGAIN_AFTER_S = 15.0
_REMEMBERED = 256


def list_urls(trust: TrustStore) -> tuple[str, ...]:
    """Return the addresses of CRLs that a trust store names, without repetition.

    Those of its settings as they are; of those in each of its certificates the ones that can be
    asked, or all where none can.
    """
    authorities = (*trust.anchors, *trust.intermediates)
    named = [url for authority in authorities for url in _urls_in(authority)]
    return tuple(dict.fromkeys((*trust.crl_urls, *named)))


def fetch_list(url: str, trust: TrustStore, limits: Limits = LIST_LIMITS) -> bytes:
    """Return what is at an address of a trust store. Nothing about it is verified yet.

    Args:
        url: one of `list_urls`.
        trust: says which hosts may be asked.
        limits: size and time.

    Raises:
        FetchFailed
    """
    return _exchange(url, None, _hosts(list_urls(trust)), limits)


def fetch_authority(url: str) -> bytes:
    """Return what is at an address of `PRODUCTION_AUTHORITY_URLS`; it is to be held to the pins.

    Raises:
        FetchFailed
    """
    return _exchange(url, None, _hosts(PRODUCTION_AUTHORITY_URLS), AUTHORITY_LIMITS)


def _hosts(urls: Iterable[str]) -> set[str]:
    return {urlsplit(url).netloc for url in urls if is_web_address(url)}


class OnlineOcsp:
    """Asks the responders of a trust store; see `cps_auth.pki.revocation.ocsp.OcspSource`."""

    def __init__(
        self,
        trust: TrustStore,
        limits: Limits = ANSWER_LIMITS,
        ask_again_after_s: float = ASK_AGAIN_AFTER_S,
    ) -> None:
        urls = tuple(url for url in trust.ocsp_urls if is_web_address(url))
        hosts = _hosts(urls)
        self._responders = [_Responder(url, hosts, limits, ask_again_after_s) for url in urls]

    def answers(self, child: x509.Certificate, issuer: x509.Certificate) -> Iterable[Answer]:
        """Yield what each responder answers; the next is asked only when that was no evidence."""
        for responder in self._responders:
            answer = responder.answer(child, issuer)
            if answer is not None:
                yield answer


class _Responder:
    """One address. Open sessions are judged again and again, so for a moment an answer is given
    again (it is judged each time), and after a silence it is not asked."""

    def __init__(self, url: str, hosts: set[str], limits: Limits, ask_again_after_s: float) -> None:
        self._url, self._hosts, self._limits = url, hosts, limits
        self._ask_again_after_s = ask_again_after_s
        self._given = BoundedCache[bytes, tuple[float, Answer]](_REMEMBERED)
        self._silent_until_s = -math.inf

    def answer(self, child: x509.Certificate, issuer: x509.Certificate) -> Answer | None:
        """Return its answer about a certificate, None when it gave none."""
        about = child.fingerprint(hashes.SHA256()) + issuer.fingerprint(hashes.SHA256())
        asked_s = time.monotonic()
        known = self._given.get(about)
        if known is not None and asked_s - known[0] < self._ask_again_after_s:
            return known[1]
        if asked_s < self._silent_until_s:
            return None
        question = make_question(child, issuer)
        try:
            unverified = _exchange(self._url, question.der, self._hosts, self._limits)
        except FetchFailed:
            self._silent_until_s = time.monotonic() + self._ask_again_after_s
            return None
        answer = Answer(unverified, question.nonce)
        self._given.put(about, (asked_s, answer))
        return answer


def _urls_in(authority: x509.Certificate) -> list[str]:
    points = read_fields(authority).extensions.known.get(x509.CRLDistributionPoints)
    names = [name for point in points or () for name in point.full_name or ()]
    urls = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    return list(filter(is_web_address, urls)) or urls


def _exchange(url: str, body: bytes | None, hosts: set[str], limits: Limits) -> bytes:
    if not is_web_address(url):
        raise FetchFailed("address-unsupported")
    if urlsplit(url).netloc not in hosts:
        raise FetchFailed("address-not-allowed")
    headers = _HEADERS | ({} if body is None else {"Content-Type": "application/ocsp-request"})
    request = urllib.request.Request(url, body, headers)  # noqa: S310, http and https only
    sockets: list[socket.socket] = []
    try:
        with (
            shut_after(sockets, limits.deadline_s),
            closing(_opener(sockets).open(request, timeout=limits.idle_s)) as response,
        ):
            return _read(response, limits.max_bytes)
    except HTTPError as error:
        error.close()
        raise FetchFailed("status", str(error.code)) from None
    except TimeoutError:
        raise FetchFailed("too-slow") from None
    except URLError as error:
        slow = isinstance(error.reason, TimeoutError)
        raise FetchFailed("too-slow" if slow else "unreachable", str(error.reason)) from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchFailed("unreachable", type(error).__name__) from None


def _opener(sockets: list[socket.socket]) -> urllib.request.OpenerDirector:
    """Return what opens http and https and nothing else, each socket told to `sockets`."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.UnknownHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Redirects(),
        _Connections(sockets),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the same host, or from http to https of it; never a question."""

    max_redirections = REDIRECTS_MAX

    def redirect_request(
        self, req: urllib.request.Request, *more: Any
    ) -> urllib.request.Request | None:
        """Return the next request, None for a redirect that is not followed."""
        newurl = more[-1]
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        allowed = (here.scheme, here.netloc), ("https", here.hostname)
        if req.data is not None or not is_web_address(newurl) or there[:2] not in allowed:
            return None
        return super().redirect_request(req, *more)


class _Connections(urllib.request.AbstractHTTPHandler):
    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def __init__(self, sockets: list[socket.socket]) -> None:
        super().__init__()
        self._sockets = sockets

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_told(http.client.HTTPConnection, self._sockets), req)

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_told(http.client.HTTPSConnection, self._sockets), req)


def _told(kind: Callable[..., Any], sockets: list[socket.socket]) -> Any:
    """Return what makes connections whose sockets a deadline can shut."""

    def make(*args: Any, **more: Any) -> Any:
        connection = kind(*args, **more)
        connect = connection.connect

        def connect_and_tell() -> None:
            connect()
            sockets.append(connection.sock)

        connection.connect = connect_and_tell
        return connection

    return make


@contextmanager
def shut_after(connected: socket.socket | list[socket.socket], seconds: float) -> Iterator[None]:
    """Shut one connection, or all that are told meanwhile, when time is up: bytes may drip in."""
    passed = threading.Event()
    sockets = connected if isinstance(connected, list) else [connected]

    def shut() -> None:
        passed.set()
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, shut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, http.client.HTTPException, FetchFailed):
        if passed.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()
    if passed.is_set():
        raise TimeoutError


def _read(response: http.client.HTTPResponse, max_bytes: int) -> bytes:
    if response.status != http.client.OK:
        raise FetchFailed("status", str(response.status))
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise FetchFailed("encoded")  # a small answer that unpacks to a huge one
    length = response.length
    if length is not None and length > max_bytes:
        raise FetchFailed("too-long")
    content = bytearray()
    while piece := response.read1(READ_BYTES):
        content += piece
        if len(content) > max_bytes:
            raise FetchFailed("too-long")
    if length is not None and len(content) != length:
        raise FetchFailed("truncated")
    return bytes(content)

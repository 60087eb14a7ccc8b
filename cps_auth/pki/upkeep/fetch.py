"""Fetches lists and asks responders over http: the only module that opens a connection.

http only, as the addresses in the certificates are (what comes is signed): no TLS, no LDAP, no
proxy. Redirects are not followed and nothing is unpacked, because http.client does neither.
The hosts are those of the trust store; size and time are bounded, whatever the other side does.
"""

from __future__ import annotations

import http.client
import math
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cps_auth.pki.certificate.parse import read_fields
from cps_auth.pki.chain.trust_store import TrustStore
from cps_auth.pki.revocation.crl import CRL_MAX_BYTES
from cps_auth.pki.revocation.ocsp import RESPONSE_MAX_BYTES, Answer, make_question

READ_BYTES = 64 * 1024
_HEADERS = {"User-Agent": "cps-auth", "Connection": "close", "Accept-Encoding": "identity"}


class FetchFailed(Exception):
    """Nothing that could be used came; `why` is a stable code."""

    def __init__(self, why: str, detail: str = "") -> None:
        super().__init__(f"{why} {detail}".strip())
        self.why = why


@dataclass(frozen=True)
class Limits:
    """How much of the other side is put up with."""

    max_bytes: int = CRL_MAX_BYTES
    deadline_s: float = 120.0  # of the whole exchange, name resolution apart
    idle_s: float = 15.0  # between two pieces


LIST_LIMITS = Limits()
ANSWER_LIMITS = Limits(max_bytes=RESPONSE_MAX_BYTES, deadline_s=5.0, idle_s=5.0)
ASK_AGAIN_AFTER_S = 15.0
_REMEMBERED = 256


def list_urls(trust: TrustStore) -> tuple[str, ...]:
    """Return the http addresses of lists that a trust store names, without repetition."""
    authorities = (*trust.anchors, *trust.intermediates)
    named = [url for authority in authorities for url in _urls_in(authority)]
    return tuple(dict.fromkeys(url for url in (*trust.crl_urls, *named) if is_http(url)))


def fetch_list(url: str, trust: TrustStore, limits: Limits = LIST_LIMITS) -> bytes:
    """Return what is at an address of a trust store. Nothing about it is verified yet.

    Args:
        url: one of `list_urls`.
        trust: says which hosts may be asked.
        limits: size and time.

    Raises:
        FetchFailed
    """
    hosts = {urlsplit(known).netloc for known in list_urls(trust)}
    return _exchange("GET", url, None, hosts, limits)


class OnlineOcsp:
    """Asks the responders of a trust store; see `cps_auth.pki.revocation.ocsp.OcspSource`."""

    def __init__(
        self,
        trust: TrustStore,
        limits: Limits = ANSWER_LIMITS,
        ask_again_after_s: float = ASK_AGAIN_AFTER_S,
    ) -> None:
        urls = tuple(url for url in trust.ocsp_urls if is_http(url))
        hosts = {urlsplit(url).netloc for url in urls}
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
        self._mutex = threading.Lock()
        self._given: OrderedDict[bytes, tuple[float, Answer]] = OrderedDict()
        self._silent_until_s = -math.inf

    def answer(self, child: x509.Certificate, issuer: x509.Certificate) -> Answer | None:
        """Return its answer about a certificate, None when it gave none."""
        about = child.fingerprint(hashes.SHA256()) + issuer.fingerprint(hashes.SHA256())
        asked_s = time.monotonic()
        with self._mutex:
            given_s, known = self._given.get(about, (-math.inf, None))
            if known is not None and asked_s - given_s < self._ask_again_after_s:
                return known
            if asked_s < self._silent_until_s:
                return None
        question = make_question(child, issuer)
        try:
            unverified = _exchange("POST", self._url, question.der, self._hosts, self._limits)
        except FetchFailed:
            self._silent_until_s = time.monotonic() + self._ask_again_after_s
            return None
        answer = Answer(unverified, question.nonce)
        with self._mutex:
            self._given[about] = asked_s, answer
            if len(self._given) > _REMEMBERED:
                self._given.popitem(last=False)
        return answer


def is_http(url: str) -> bool:
    """Return whether this is an http address with a host and nothing odd about it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018, raises when it is no number
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return plain and parts.scheme == "http" and bool(parts.hostname) and "@" not in parts.netloc


def _urls_in(authority: x509.Certificate) -> Iterator[str]:
    for point in read_fields(authority).extensions.known.get(x509.CRLDistributionPoints) or ():
        for name in point.full_name or ():
            if isinstance(name, x509.UniformResourceIdentifier):
                yield name.value


def _exchange(method: str, url: str, body: bytes | None, hosts: set[str], limits: Limits) -> bytes:
    parts = urlsplit(url)
    if not is_http(url) or parts.netloc not in hosts:
        raise FetchFailed("address-not-allowed")
    connection = http.client.HTTPConnection(
        parts.hostname or "", parts.port or 80, timeout=limits.idle_s
    )
    headers = dict(_HEADERS)
    if body is not None:
        headers["Content-Type"] = "application/ocsp-request"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.connect()
        with shut_after(connection.sock, limits.deadline_s):
            connection.request(method, path, body, headers)
            with closing(connection.getresponse()) as response:
                return _read(response, limits.max_bytes)
    except TimeoutError:
        raise FetchFailed("too-slow") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise FetchFailed("unreachable", type(error).__name__) from None
    finally:
        connection.close()


@contextmanager
def shut_after(connected: socket.socket, seconds: float) -> Iterator[None]:
    """Shut the connection when time is up, however slowly bytes drip in."""
    passed = threading.Event()

    def shut() -> None:
        passed.set()
        connected.shutdown(socket.SHUT_RDWR)

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
        raise FetchFailed("status", str(response.status))  # a redirect is one of these
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

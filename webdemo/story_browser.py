"""A browser of a few lines: real HTTP, cookies, forms; no scripts, no pictures."""

from __future__ import annotations

import urllib.request
from dataclasses import dataclass
from html.parser import HTMLParser
from http.client import HTTPResponse
from http.cookiejar import CookieJar
from urllib.parse import urlencode, urljoin

TIMEOUT_S = 20.0
_REDIRECTS = (301, 302, 303, 307, 308)
_ALWAYS = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html,*/*", "Accept-Language": "fr"}


@dataclass(frozen=True, slots=True)
class Page:
    """A page that came back, redirects followed."""

    url: str
    status: int
    text: str
    fields: dict[str, str]  # hidden fields of its forms


class StoryBrowser:
    """Visits one origin, as a browser would: with its cookies, Origin and Fetch Metadata."""

    def __init__(self, origin: str) -> None:
        self._origin = origin
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),  # the loopback is never behind a proxy
            urllib.request.HTTPCookieProcessor(self.cookies),
            _ErrorsArePages(),
        )

    def get(self, path: str) -> Page:
        """Open a page."""
        return self._send(path, None, {"Sec-Fetch-Dest": "document", "Sec-Fetch-Mode": "navigate"})

    def fetch(self, path: str) -> Page:
        """Ask in the background, as a script of the page does."""
        return self._send(path, None, {"Sec-Fetch-Dest": "empty"})

    def post(self, path: str, fields: dict[str, str]) -> Page:
        """Send a form."""
        headers = {"Origin": self._origin, "Sec-Fetch-Dest": "document"}
        return self._send(path, urlencode(fields).encode(), headers)

    def _send(self, path: str, body: bytes | None, headers: dict[str, str]) -> Page:
        url = urljoin(self._origin, path)
        request = urllib.request.Request(url, body, {**_ALWAYS, **headers})  # noqa: S310 (loopback)
        with self._opener.open(request, timeout=TIMEOUT_S) as answer:
            text = answer.read().decode()
            return Page(answer.url, answer.status, text, _hidden_fields(text))


class _ErrorsArePages(urllib.request.HTTPErrorProcessor):
    """Redirects are followed; every other answer is a page, whatever its status."""

    def http_response(
        self, request: urllib.request.Request, response: HTTPResponse
    ) -> HTTPResponse:
        if response.status not in _REDIRECTS:
            return response
        answer: HTTPResponse = super().http_response(request, response)
        return answer


class _HiddenFields(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if tag == "input" and attributes.get("type") == "hidden":
            self.found[attributes.get("name") or ""] = attributes.get("value") or ""


def _hidden_fields(text: str) -> dict[str, str]:
    parser = _HiddenFields()
    parser.feed(text)
    return parser.found

"""Browsers that log in at a stand-in Pro Santé Connect, or at a hostile one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.cookiejar import CookieJar
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit
from urllib.request import HTTPCookieProcessor, HTTPRedirectHandler, Request, build_opener

import pytest
from flask import Flask
from joserfc.jwk import RSAKey
from werkzeug.test import TestResponse

from hardware_mocks.personas import find_persona
from hardware_mocks.pro_sante_connect.claims import subject_of
from hardware_mocks.pro_sante_connect.stand_in import StandIn, stand_in
from tests.hostile_provider import CLIENT_ID, Hostile, hostile_provider, new_key

ORIGIN = "https://practice.test"
LOCAL = "http://127.0.0.1:5000"
"""Where the practice's own PC has the application; nothing listens there."""
_REDIRECTS_MAX = 10


class _StayHere(HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


@dataclass
class PscBrowser:
    """A browser: at the application through `visitor`, at the provider with cookies of its own."""

    visitor: Any
    jar: CookieJar = field(default_factory=CookieJar)

    def start(self, next_page: str = "/me", page: str = "", **form: str) -> TestResponse:
        """Press the button of the login page."""
        page = self.visitor.open("GET", page or "/cps/login?remote=1").text
        token = re.search(r'psc/start".*?name="cps_token" value="([0-9a-f]+)"', page, re.DOTALL)
        assert token is not None, page
        data = {"cps_token": token.group(1), "next": next_page, **form}
        answer: TestResponse = self.visitor.open("POST", "/cps/psc/start", data=data)
        return answer

    def authorization(self, **form: str) -> dict[str, str]:
        """Press the button and return the parameters that the provider is sent."""
        location = self.start(**form).headers["Location"]
        return {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}

    def at_provider(self, url: str, persona: str | None = "doctor", means: str = "CARD") -> str:
        """Go to the provider, choose a person (None: give up), and return the way back."""
        for _ in range(_REDIRECTS_MAX):
            if url.startswith((ORIGIN, LOCAL)):
                return url
            status, location = self._ask(url)
            if status == 200:
                form = (
                    {"person": subject_of(find_persona(persona)), "means": means} if persona else {}
                )
                status, location = self._ask(url, form or {"cancel": "1"})
            assert status in (302, 303), (status, url)
            url = urljoin(url, location)
        raise AssertionError(url)

    def back(self, url: str) -> TestResponse:
        """Come back to the application, as a browser does from another site."""
        parts = urlsplit(url)
        headers = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "document"}
        answer: TestResponse = self.visitor.open(
            "GET", f"{parts.path}?{parts.query}", headers=headers
        )
        return answer

    def log_in(self, persona: str = "doctor", **more: str) -> TestResponse:
        """Do all of it."""
        start = self.start()
        assert start.status_code == 303, start.text
        return self.back(self.at_provider(start.headers["Location"], persona, **more))

    def _ask(self, url: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """Return status and Location."""
        body = None if form is None else urlencode(form).encode()
        opener = build_opener(HTTPCookieProcessor(self.jar), _StayHere)
        try:
            answer = opener.open(Request(url, body), timeout=30)  # noqa: S310
        except HTTPError as error:
            answer = error
        with answer:
            answer.read()
            return answer.status, answer.headers.get("Location", "")


@pytest.fixture(scope="session")
def psc(psc_installed: None) -> Iterator[StandIn]:  # noqa: ARG001, it skips
    """The real OpenID provider, for applications at ORIGIN or LOCAL."""
    with stand_in(ORIGIN, LOCAL) as running:
        yield running


@pytest.fixture
def psc_config(psc: StandIn, remote_config: dict[str, Any]) -> dict[str, Any]:
    """Settings of an application that takes Pro Santé Connect and cards from elsewhere."""
    return {**remote_config, **psc.settings()}


@pytest.fixture
def psc_app(make_app: Any, psc_config: dict[str, Any]) -> Flask:
    """Such an application."""
    app: Flask = make_app("psc", psc_config, cards=None)
    return app


BrowserOf = Callable[[Flask], PscBrowser]


@pytest.fixture
def browser_of(remote_visit: Any) -> BrowserOf:
    """Gives a new browser."""
    return lambda app: PscBrowser(remote_visit(app))


@pytest.fixture
def browser(psc_app: Flask, browser_of: BrowserOf) -> PscBrowser:
    """A browser without a session."""
    return browser_of(psc_app)


@pytest.fixture(scope="session")
def provider_key() -> RSAKey:
    """The hostile provider's key."""
    return new_key()


@pytest.fixture(scope="session")
def other_key() -> RSAKey:
    """Another key that says it is the same."""
    return new_key()


@pytest.fixture
def hostile(provider_key: RSAKey) -> Iterator[Hostile]:
    """A provider that does what a test says."""
    with hostile_provider(provider_key) as running:
        yield running


@pytest.fixture
def victim(
    make_app: Any, hostile: Hostile, remote_config: dict[str, Any], browser_of: BrowserOf
) -> PscBrowser:
    """A browser at an application that trusts the hostile provider."""
    config = {
        **remote_config,
        "CPS_PSC": hostile.issuer,
        "CPS_PSC_CLIENT_ID": CLIENT_ID,
        "CPS_PSC_CLIENT_SECRET": "a secret of tests",
    }
    return browser_of(make_app("victim", config, cards=None))

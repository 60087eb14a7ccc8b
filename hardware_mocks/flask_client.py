"""A browser that fills in the login form of `cps_auth.flask` as a practitioner would."""

from __future__ import annotations

from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from cps_auth.flask import CpsLogin
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.personas import PIN
from hardware_mocks.readers.cps_reader import CpsReader

_EXTENSION = "cps_login"  # key in app.extensions
_BROWSER = {"Sec-Fetch-Site": "same-origin", "Accept": "text/html"}


class NoLoginForm(AssertionError):
    """The login page asks for no PIN; the message is what it says instead."""


class CpsClient:
    """One browser on the machine that has the reader."""

    def __init__(self, app: Flask, reader: CpsReader) -> None:
        """Open a browser at an application; it has no session yet.

        Raises:
            LookupError: the application has no CpsLogin.
        """
        if _EXTENSION not in app.extensions:
            raise LookupError(f"{app.name} has no CpsLogin")
        self._app = app
        self._reader = reader
        self.client: FlaskClient = app.test_client()

    @property
    def origin(self) -> str:
        """Return what its address bar shows."""
        origin: str = self._app.config["CPS_ORIGIN"]
        return origin

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> TestResponse:
        """Open a page."""
        return self._open("GET", path, headers)

    def post(
        self, path: str, data: Mapping[str, str], headers: Mapping[str, str] | None = None
    ) -> TestResponse:
        """Send a form from a page of this origin."""
        return self._open("POST", path, {"Origin": self.origin, **(headers or {})}, data=data)

    def log_in(
        self,
        card: VirtualCard | str | None = "doctor",
        pin: str = PIN.decode(),
        *,
        kind: str = "cps3",
        next_page: str | None = None,
        last_attempt: bool = False,
    ) -> TestResponse:
        """Insert a card, open the login page, type the PIN, and follow where it leads.

        Args:
            card: a card, a persona's name for a new one, or None for what is in the reader.
            pin: what is typed.
            kind: of a new card.
            next_page: a path of the application; None for CPS_AFTER_LOGIN.
            last_attempt: whether "I am sure of my code" is ticked.

        Returns:
            The page at the end: `next_page`, or the login page that says what is wrong.

        Raises:
            NoLoginForm: the page asked for no PIN.
        """
        if card is not None:
            self._reader.insert(card, kind)
        after = self._app.config["CPS_AFTER_LOGIN"] if next_page is None else next_page
        page = self.get(f"{self._prefix}/login?again=1&next={after}")
        form = _LoginForm(page.text)
        if form.action is None:
            raise NoLoginForm(form.words)
        fields = {**form.hidden, "pin": pin}
        if last_attempt:
            fields["last_attempt"] = "yes"
        answer = self.post(form.action, fields)
        return self.get(answer.location) if answer.location else answer

    @property
    def _prefix(self) -> str:
        prefix: str = self._app.config["CPS_URL_PREFIX"]
        return prefix

    def _open(
        self, method: str, path: str, headers: Mapping[str, str] | None, **more: Any
    ) -> TestResponse:
        return self.client.open(
            path.removeprefix(self.origin),
            method=method,
            base_url=self.origin,
            headers={**_BROWSER, **(headers or {})},
            environ_overrides={"REMOTE_ADDR": "127.0.0.1"},
            **more,
        )


class _LoginForm(HTMLParser):
    """The form of a page that has a PIN field: where it goes and what it carries."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action: str | None = None
        self.hidden: dict[str, str] = {}
        self.words = ""
        self._open: tuple[str, dict[str, str]] | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = attributes.get("action", ""), {}
        elif tag == "input" and self._open is not None:
            if attributes.get("type") == "hidden":
                self._open[1][attributes["name"]] = attributes.get("value", "")
            elif attributes.get("name") == "pin":
                self.action, self.hidden = self._open

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    def handle_data(self, data: str) -> None:
        self.words = f"{self.words} {data.strip()}".strip()


def stop_watching(app: Flask) -> None:
    """Stop the thread with which an application watches the reader, if it has one."""
    if _EXTENSION in app.extensions:
        CpsLogin().stop(app)

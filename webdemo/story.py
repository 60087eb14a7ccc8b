"""Plays the whole story over real HTTP, without a browser or a terminal, and checks each step.

Nothing is taken on trust: attempts are read on the virtual card itself, the session is tried
with the cookie that had it, the lock is the product's own table.
"""

from __future__ import annotations

import json
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask

from cps_auth.pki.judge import Judge
from cps_auth.session_lock import LockAction, LockPhase
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PIN
from webdemo.application import create_app, stop_app
from webdemo.desk import VirtualDesk
from webdemo.serve import bind_loopback, origin_of, serving
from webdemo.story_browser import Page, StoryBrowser

NOTICED_WITHIN_S = 2.0
RIGHT, WRONG = PIN.decode(), "0000"


class StepFailed(Exception):
    """A step of the story did not hold; the text says what was seen instead."""


def play(igc: FakeIgcSante, judge: Judge, tell: Callable[[str], None] = print) -> bool:
    """Play every step; stop at the first that does not hold.

    Args:
        igc: the fake IGC-Santé of the personas' cards.
        judge: trusts it.
        tell: prints one line.

    Returns:
        True only if every step held, the clean stop included.
    """
    desk = VirtualDesk(igc)
    try:
        with _served(desk, judge) as (origin, app):
            _tell_steps(_Story(desk, StoryBrowser(origin), app), tell)
        _check(not _answers(origin), "the port still answers after the stop")
        _check(app.extensions["webdemo"][1].phase is LockPhase.LOCKED, "the lock is still open")
        tell("  ✓ clean stop: server and watchers ended, the computer stays locked")
    except StepFailed as failed:
        tell(f"  ✗ {failed}")
        return False
    tell("Every step held.")
    return True


@contextmanager
def _served(desk: VirtualDesk, judge: Judge) -> Iterator[tuple[str, Flask]]:
    with tempfile.TemporaryDirectory(prefix="webdemo-") as folder, bind_loopback(0) as listener:
        origin = origin_of(listener)
        config = {"CPS_ORIGIN": origin, "CPS_DATABASE": Path(folder) / "sessions.sqlite3"}
        app = create_app(config, cards=desk.cards, judge=judge, mock_panel=desk)
        with serving(listener, app, stop_app):
            yield origin, app


def _tell_steps(story: _Story, tell: Callable[[str], None]) -> None:
    for step in (
        story.no_card,
        story.card_in,
        story.wrong_pin,
        story.right_pin,
        story.page_served,
        story.card_pulled,
        story.lock_called,
        story.revoked,
        story.pharmacist,
    ):
        try:
            said = step()
        except StepFailed as failed:
            raise StepFailed(f"{step.__name__}: {failed}") from None
        tell(f"  ✓ {said}")


class _Story:
    """The steps, in their order; each returns what it saw."""

    def __init__(self, desk: VirtualDesk, browser: StoryBrowser, app: Flask) -> None:
        self._desk = desk
        self._browser = browser
        self._lock = app.extensions["webdemo"][1]

    def no_card(self) -> str:
        page = self._browser.get("/")
        _check("/cps/login" in page.url and "token" not in page.fields, "a login without a card")
        return "no card: the page asks for one, and for no PIN"

    def card_in(self) -> str:
        self._desk.insert("doctor")
        page = self._login_page()
        _check("Camille LAVERGNE" in page.text, "the holder is not shown")
        _check(self._attempts("doctor") == 3, "an attempt was spent on showing the holder")
        return "card in: Camille LAVERGNE, médecin, shown without a PIN"

    def wrong_pin(self) -> str:
        page = self._log_in(WRONG)
        _check(page.status == 401, f"status {page.status}")
        _check("2 essais restants" in page.text, "the attempts left are not told")
        _check(self._attempts("doctor") == 2, f"{self._attempts('doctor')} attempts on the card")
        return "wrong PIN: refused, 2 attempts left"

    def right_pin(self) -> str:
        page = self._log_in(RIGHT)
        _check(page.status == 200 and page.url.endswith("/"), f"{page.status} {page.url}")
        _check(self._attempts("doctor") == 3, "the card's counter was not restored")
        return "right PIN: accepted"

    def page_served(self) -> str:
        page = self._browser.get("/patients/2041/consultations")
        _check(page.status == 200 and "Odette Marivaux" in page.text, f"status {page.status}")
        _check(self._session() == "open", "the session is not open")
        _check(self._lock.phase is LockPhase.OPEN, "the computer is not unlocked")
        return "page served: the record of a patient; the computer's session is open"

    def card_pulled(self) -> str:
        pulled_at = time.monotonic()
        self._desk.pull()
        _until(lambda: self._session() == "closed", "the session is still open")
        took_ms = 1000 * (time.monotonic() - pulled_at)
        page = self._browser.get("/patients/2041/consultations")
        _check("/cps/closed" in page.url and "Odette" not in page.text, f"still at {page.url}")
        self._desk.insert("doctor")
        page = self._browser.get("/patients/2041/consultations")
        _check("Odette" not in page.text, "the card's return alone brought the session back")
        return f"card pulled: web session dead after {took_ms:.0f} ms, and its cookie with it"

    def lock_called(self) -> str:
        _until(lambda: self._lock.phase is LockPhase.LOCKED, f"the lock is {self._lock.phase}")
        _check(self._lock.actions == [LockAction.ASK_FIRST_LOCKER], str(self._lock.actions))
        return "session-lock hook called: locker asked once, computer locked"

    def revoked(self) -> str:
        self._desk.insert("revoked")
        before = self._attempts("revoked")
        page = self._browser.get("/cps/login")
        _check("token" not in page.fields, "a PIN was asked for")
        _check("perdue, volée ou retirée" in page.text or "opposition" in page.text, "no reason")
        page = self._browser.post("/cps/login", {"token": "made-up", "pin": RIGHT})
        _check(page.status == 403, f"status {page.status}")
        _check(self._attempts("revoked") == before, "an attempt was spent")
        _check(self._session() == "closed", "a revoked card opened a session")
        return f"revoked card: refused, its {before} attempts untouched"

    def pharmacist(self) -> str:
        self._desk.insert("pharmacist")
        page = self._log_in(RIGHT)
        _check(page.status == 200 and "Éloïse AUBRAC" in page.text, f"status {page.status}")
        refused = self._browser.get("/patients/2041/consultations")
        _check(refused.status == 403, "a pharmacist reads the doctor's notes")
        self._desk.pull()
        _until(lambda: self._session() == "closed", "the session is still open")
        return "pharmacist's card in its place: Éloïse AUBRAC logged in, as herself"

    def _login_page(self) -> Page:
        page = self._browser.get("/cps/login")
        _check("token" in page.fields, "the page asks for no PIN")
        return page

    def _log_in(self, pin: str) -> Page:
        fields = self._login_page().fields
        return self._browser.post("/cps/login", {**fields, "pin": pin})

    def _session(self) -> str:
        return str(json.loads(self._browser.fetch("/cps/status").text)["session"])

    def _attempts(self, persona: str) -> int | None:
        return self._desk.card(persona).pin_attempts_left


def _answers(origin: str) -> bool:
    address = urlsplit(origin)
    try:
        with socket.create_connection((address.hostname, address.port), timeout=1):
            return True
    except OSError:
        return False


def _check(holds: bool, seen: str) -> None:
    if not holds:
        raise StepFailed(seen)


def _until(condition: Callable[[], bool], seen: str) -> None:
    """Wait for what another thread does, with a deadline."""
    deadline = time.monotonic() + NOTICED_WITHIN_S
    while not condition():
        _check(time.monotonic() < deadline, seen)
        time.sleep(0.01)

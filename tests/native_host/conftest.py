"""A host that runs in this process on a virtual card, and a window whose person is a script."""

from __future__ import annotations

import json
import os
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cps_auth.card.native.source import NativeCards
from cps_auth.errors import CpsAuthError
from cps_auth.native_host.conversation import Host
from cps_auth.native_host.pin_window import PinWindow
from cps_auth.pki.judge import Judge, folder_judge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

READER = "Reader"

_PERSON = """
import json, os, pathlib, sys
folder = pathlib.Path(__file__).parent
answers = json.loads((folder / "answers").read_text())
with (folder / "seen").open("a") as seen:
    for line in sys.stdin:
        seen.write(line)
        seen.flush()
        wanted, record = answers[0] if answers else (None, "")
        if json.loads(line)["kind"] == wanted:
            answers.pop(0)
            os.write(1, record.encode())
        if answers and answers[0][0] == "die":
            sys.exit()
"""
"""The other end of the window's pipes: answers views of a kind with records, in order, or dies."""


class Browser:
    """The browser's end of one connection to a host that runs in a thread."""

    def __init__(self, make_host: Callable[[int, int], Host]) -> None:
        self._host_in, self._write = os.pipe()
        self._read, self._host_out = os.pipe()
        self._host = make_host(self._host_in, self._host_out)
        self._is_closed = False
        self.error: CpsAuthError | None = None
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        try:
            self._host.serve()
        except CpsAuthError as error:
            self.error = error
        finally:
            os.close(self._host_out)

    def send(self, message: dict[str, Any]) -> None:
        """Send one message."""
        text = json.dumps(message).encode()
        self.send_raw(struct.pack("=I", len(text)) + text)

    def send_raw(self, content: bytes) -> None:
        """Send bytes, whatever they are."""
        os.write(self._write, content)

    def receive(self) -> Any:
        """Return the next message; None at the end of the connection."""
        prefix = self._exactly(4)
        return json.loads(self._exactly(struct.unpack("=I", prefix)[0])) if prefix else None

    def _exactly(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            more = os.read(self._read, count - len(content))
            if not more:
                return b""
            content += more
        return content

    def hang_up(self) -> None:
        """Close what the browser writes to."""
        if self._write >= 0:
            os.close(self._write)
            self._write = -1

    def close(self) -> None:
        """End the connection and wait for the host. May be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        self.hang_up()
        self._thread.join(20)
        assert not self._thread.is_alive()
        os.close(self._read)
        os.close(self._host_in)


class Bench:
    """A reader, a card, a person, and browsers that ask."""

    def __init__(self, igc: FakeIgcSante, judge: Judge, folder: Path) -> None:
        self.readers = VirtualReaders(READER)
        self.judge: Judge | None = judge
        self.igc = igc
        self._seen = folder / "seen"
        self._seen.touch()
        self._program = folder / "person.py"
        self._program.write_text(_PERSON)
        self._answers = folder / "answers"
        self.person_will()
        self._browsers: list[Browser] = []

    def insert(self, persona: str = "doctor") -> VirtualCard:
        """Put a new card into the reader."""
        card = self.make_card(persona)
        self.readers.insert(READER, card)
        return card

    def make_card(self, persona: str) -> VirtualCard:
        """Personalise a card without inserting it."""
        return VirtualCard(PERSONAS[persona], self.igc.credentials(persona))

    def person_will(self, *answers: tuple[str, str]) -> None:
        """Say what the person answers: pairs of a kind of view, and a record."""
        self._answers.write_text(json.dumps(answers))

    @property
    def seen(self) -> list[dict[str, str]]:
        """Every view that was shown."""
        return [json.loads(line) for line in self._seen.read_text().splitlines()]

    def connect(self, **changes: Any) -> Browser:
        """Start a host, and return the browser that talks to it."""

        def make(browser_in: int, browser_out: int) -> Host:
            parts: dict[str, Any] = {
                "browser_in": browser_in,
                "browser_out": browser_out,
                "cards": lambda: NativeCards(self.readers.service),
                "reader": None,
                "judge": lambda: self.judge,
                "window": self._window,
                "clock": lambda: datetime.now(UTC),
                "language": "en",
            }
            return Host(**(parts | changes))

        browser = Browser(make)
        self._browsers.append(browser)
        return browser

    def _window(self) -> PinWindow:
        return PinWindow(Path(sys.executable), self._program)

    def close(self) -> None:
        """End every connection."""
        for browser in self._browsers:
            browser.close()


@pytest.fixture
def bench(igc: FakeIgcSante, igc_dir: Path, tmp_path: Path) -> Iterator[Bench]:
    """An empty reader; this computer trusts the fake IGC-Santé."""
    made = Bench(igc, folder_judge(igc_dir), tmp_path)
    try:
        yield made
    finally:
        made.close()

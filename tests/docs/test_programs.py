"""The whole programs of the integrator's guide run, with a virtual reader for a real one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from hardware_mocks.flask_client import CpsClient, stop_watching
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.readers.cps_reader import CpsReader
from tests.cli.conftest import VIRTUAL
from tests.docs.markdown import ROOT, fenced_blocks


@pytest.fixture
def reader(igc: FakeIgcSante) -> CpsReader:
    """A virtual reader, empty."""
    return CpsReader(igc)


@pytest.fixture
def practice(
    reader: CpsReader, igc_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Flask]:
    """The application beside a password login, to the letter."""
    (program,) = (
        block for block in fenced_blocks("docs/integrator.md", "python") if "sign_in" in block
    )
    monkeypatch.setattr("cps_auth.card.open.open_cards", lambda: reader.cards)
    for key, value in {
        "SECRET_KEY": "a secret of nobody",
        "CPS_ORIGIN": "http://127.0.0.1",
        "CPS_TRUST": str(igc_dir),
        "CPS_DATABASE": str(tmp_path / "sessions"),
    }.items():
        monkeypatch.setenv(f"FLASK_{key}", value)
    names: dict[str, object] = {"__name__": "practice"}
    exec(compile(program, "docs/integrator.md", "exec"), names)  # noqa: S102  # our own document
    app = names["app"]
    assert isinstance(app, Flask)
    yield app
    stop_watching(app)


def test_the_card_and_the_password_log_their_people_in(practice: Flask, reader: CpsReader) -> None:
    """The doctor comes by card, the secretary by password, and each is the application's user."""
    assert CpsClient(practice, reader).log_in("doctor").text.startswith("Hello doctor")
    browser = practice.test_client()
    assert browser.get("/").location.startswith("/sign-in")
    browser.post("/sign-in", data={"password": "only an example"})
    assert browser.get("/").text.startswith("Hello secretary")


def test_the_card_of_nobody_is_refused_and_the_sign_in_page_shows_the_way(
    practice: Flask, reader: CpsReader
) -> None:
    """An unknown practitioner gets no account; the page links to the card's login."""
    assert "Hello" not in CpsClient(practice, reader).log_in("nurse", next_page="/sign-in").text
    assert "/cps/login" in practice.test_client().get("/sign-in").text


def test_the_new_lines_are_few() -> None:
    """What the card adds to an application with passwords fits into fifteen lines."""
    (program,) = (
        block for block in fenced_blocks("docs/integrator.md", "python") if "sign_in" in block
    )
    ours = [line for line in program.splitlines() if "cps" in line.lower() or "# new" in line]
    assert len(ours) <= 15


SHOWN = re.findall(
    r"^\$ cps-auth (.*?)(?: +# (\d+): exit code (\d+))?\n((?:(?!\$ ).*\n)*)",
    fenced_blocks("README.md", "console")[0],
    re.MULTILINE,
)
"""Of the README: arguments, what is typed, exit code, and what is printed."""


@pytest.mark.parametrize(("words", "pin", "code", "printed"), SHOWN)
def test_the_readme_shows_what_is_printed(
    words: str, pin: str, code: str, printed: str, igc_dir: Path, tmp_path: Path
) -> None:
    """Success and failure, to the letter; an ellipsis stands for what changes each day."""
    done = subprocess.run(
        [sys.executable, "-c", VIRTUAL, igc_dir, *words.split(), "--trust", igc_dir],
        input=pin + "\n",
        env={**os.environ, "LC_ALL": "C.UTF-8", "ATTEMPTS_LEFT": str(tmp_path / "attempts")},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == int(code or 0)
    expected = re.escape(printed).replace("…\\\n", "(?s:.*)")
    assert re.fullmatch(expected, done.stdout + done.stderr)


def test_the_readme_shows_a_yes_and_a_no() -> None:
    """Of each at least one."""
    assert {code for _, _, code, _ in SHOWN} >= {"0", "30"}

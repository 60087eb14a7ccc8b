"""`cps-auth readers|show|login|pin|watch` on virtual readers: JSON, exit codes, both languages."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from cps_auth import errors
from cps_auth.card.native.source import NativeCards
from cps_auth.card.port import CardListener
from cps_auth.card.watch import CardWatcher
from cps_auth.cli import options as command
from cps_auth.cli.main import COMMANDS as COMMAND_TABLE
from cps_auth.cli.main import cli
from cps_auth.cli.report import event_line
from cps_auth.exit_codes import EXIT_CODES, UNFORESEEN, USAGE
from cps_auth.model import CardEvent, CardEventKind
from cps_auth.wording import LANGUAGES
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders
from tests.vocabulary.test_outcomes import sample

COMMANDS = (
    ("readers",),
    ("show",),
    ("login", "--pin-stdin"),
    ("pin", "status"),
    ("pin", "change", "--pin-stdin"),
    ("pin", "unblock", "--pin-stdin"),
    ("watch",),
)
each_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> VirtualReaders:
    """Two empty readers, which are all that the command sees."""
    virtual = VirtualReaders("a", "b")
    monkeypatch.setattr(command, "open_cards", lambda _: NativeCards(virtual.service))
    return virtual


@pytest.fixture
def run(igc_dir: Path) -> Callable[..., Result]:
    """Return a function that runs one command with the fake IGC-Santé as its trust."""

    def run_command(*words: str, language: str = "C") -> Result:
        runner = CliRunner(env={"LC_ALL": language})
        return runner.invoke(cli, [*words, "--trust", str(igc_dir)])

    return run_command


def _refused(done: Result, code: str) -> None:
    answer = json.loads(done.stdout)
    assert (answer["ok"], answer["error"]) == (False, code)
    assert answer["message"]
    assert done.exit_code == next(n for leaf, n in EXIT_CODES.items() if leaf.code == code)


@each_command
@pytest.mark.parametrize("leaf", errors.leaves(), ids=lambda leaf: leaf.code)
def test_every_error_of_every_command(run, monkeypatch, words, leaf) -> None:
    """With --json: one line of valid JSON, and the exit code of the table."""

    def fail(_: object) -> None:
        raise sample(leaf)

    monkeypatch.setattr(command, "open_cards", fail)
    _refused(run(*words, "--json"), leaf.code)


@each_command
@pytest.mark.parametrize("language", ["C", "fr_FR.UTF-8"])
def test_what_nobody_foresaw(run, monkeypatch, words, language) -> None:
    """It has its own exit code, JSON and words, and nothing of a traceback."""

    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(command, "open_cards", fail)
    done = run(*words, "--json", language=language)
    assert done.exit_code == UNFORESEEN
    assert json.loads(done.stdout)["error"] == "unforeseen"
    said = run(*words, language=language).stderr
    assert ("imprévue" in said) is (language != "C")
    assert "Traceback" not in said


@pytest.mark.parametrize("words", COMMANDS[:-1], ids=" ".join)
def test_a_card_without_contact(run, readers, igc: FakeIgcSante, words) -> None:
    """It is listed as what it is, and is enough for nothing else: no PIN is asked for."""
    card = VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"), "cps3-contactless")
    readers.insert("a", card)
    done = run(*words, "--json")
    if words == ("readers",):
        assert json.loads(done.stdout)["readers"][0]["card"] == "cps3-contactless"
        assert "sans contact" in run(*words, language="fr_FR.UTF-8").stdout
    else:
        _refused(done, "contactless-not-enough")


def test_free_objects_are_shown_when_asked_for(run, readers, igc: FakeIgcSante) -> None:
    """In JSON as they are, to a person by name and size."""
    readers.insert("a", VirtualCard(PERSONAS["doctor"], igc.credentials("doctor")))
    assert "objects" not in json.loads(run("show", "--json").stdout)
    shown = json.loads(run("show", "--json", "--objects").stdout)["objects"]
    assert {"label": "CPS_DATA", "unverified_hex": "00" * 128} in shown
    words = run("show", "--objects", language="fr_FR.UTF-8").stdout
    assert "Objet de données : CPS_DATA, 128 octets" in words


def test_a_watcher_that_ended_is_no_success(run, readers: VirtualReaders, monkeypatch) -> None:
    """When nobody watches any more, the last line says so and the exit code is not yes."""

    class Ending(NativeCards):
        def watch(self, listener: CardListener) -> CardWatcher:
            watcher = super().watch(listener)
            watcher.stop()
            return watcher

    monkeypatch.setattr(command, "open_cards", lambda _: Ending(readers.service))
    done = run("watch", "--json")
    *events, last = map(json.loads, done.stdout.splitlines())
    assert events[-1]["event"] == "watcher-stopped"
    assert last["error"] == "unforeseen"
    assert done.exit_code == UNFORESEEN


@pytest.mark.parametrize("kind", CardEventKind)
def test_every_event_has_words(kind: CardEventKind) -> None:
    """In both languages, with the reader where there is one."""
    french, english = (event_line(CardEvent(kind, "R 00 00"), one) for one in LANGUAGES)
    assert french != english
    assert french.startswith("R 00 00: ")
    assert event_line(CardEvent(kind), "en") == english.removeprefix("R 00 00: ")


@pytest.mark.parametrize(
    "words",
    [
        ("show", "--json", "--bogus"),
        ("login", "--json", "--reader"),
        ("pin", "--json"),
        ("nonsense", "--json"),
    ],
    ids=" ".join,
)
def test_a_misused_command(words) -> None:
    """What is wrong is said to a person on standard error and to a program in JSON."""
    done = subprocess.run(
        [sys.executable, "-m", "cps_auth", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == USAGE
    assert json.loads(done.stdout)["error"] == "usage"
    assert "Error" in done.stderr


@pytest.mark.usefixtures("readers")
def test_a_trust_folder_that_is_a_file(tmp_path: Path) -> None:
    """It is no trust store, which is an error of ours and not of the command line."""
    (tmp_path / "file").touch()
    done = CliRunner().invoke(cli, ["show", "--json", "--trust", str(tmp_path / "file")])
    _refused(done, "trust-store-unusable")


def test_the_help_of_every_command() -> None:
    """The table that `--help` shows has the commands' own first lines."""
    for name, (_, line) in COMMAND_TABLE.items():
        command_of_name = cli.get_command(click.Context(cli), name)
        assert command_of_name is not None
        assert (command_of_name.help or "").partition("\n")[0].startswith(line)

"""A command whose descriptors, arguments, encoding or environment are not what one is used to.

Each ends with its own words and exit code, without a traceback, and with no PIN attempt spent.
"""

from __future__ import annotations

import json
import os
import select
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cps_auth.cli.main import cli
from cps_auth.cli.streams import PatientOutput
from cps_auth.errors import (
    ConfigurationError,
    ModuleUnusable,
    NoReader,
    PinEntryCancelled,
    TrustStoreUnusable,
)
from cps_auth.exit_codes import EXIT_CODES, RESULT_LOST, USAGE

Command = Callable[..., Any]  # the fixture of conftest.py, which is no module to import
RIGHT_PIN = b"1234\n"
COMMANDS = (
    ("readers",),
    ("show", "--json"),
    ("doctor",),
    ("pin", "status"),
    ("trust", "list", "--json"),
    ("login", "--pin-stdin", "--json"),
    ("--help",),
)
each_command = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


@pytest.fixture
def run(command: Command, igc_dir: Path) -> Command:
    """Run a command that trusts the fake IGC-Santé."""

    def run_trusting(*words: str | bytes, **how: Any) -> Any:
        takes_trust = words[0] not in ("--help", "--version", "browser")
        done = command(*words, *(("--trust", str(igc_dir)) if takes_trust else ()), **how)
        assert b"Traceback" not in done.stderr
        assert b"Exception ignored" not in done.stderr
        return done

    return run_trusting


def _answer(done: Any) -> Any:
    """Return what `--json` printed: one document, in UTF-8."""
    (line,) = done.stdout.decode("utf-8", "strict").splitlines()
    return json.loads(line)


# --- Descriptors ---------------------------------------------------------------------


def test_closed_standard_input(run: Command, attempts_left: Path) -> None:
    """No PIN came: what gets the number 0 next is not read in its place."""
    done = run("login", "--pin-stdin", "--json", redirect="<&-")
    assert done.returncode == EXIT_CODES[PinEntryCancelled]
    assert _answer(done)["error"] == "pin-entry-cancelled"
    assert attempts_left.read_text() == "3"


@each_command
@pytest.mark.parametrize("redirect", [">&- 2>&-", "2>/dev/full"])
def test_output_that_goes_nowhere(run: Command, words: tuple[str, ...], redirect: str) -> None:
    """The exit code is the same as with somebody who reads; so is the login."""
    assert run(*words, redirect=redirect, stdin=RIGHT_PIN).returncode == 0


@each_command
def test_full_standard_output(run: Command, words: tuple[str, ...]) -> None:
    """A result that was not written is no success, and says so in one line."""
    done = run(*words, redirect=">/dev/full", stdin=RIGHT_PIN)
    assert done.returncode == RESULT_LOST
    assert len(done.stderr.splitlines()) == 1
    assert b"No space left on device" in done.stderr


@pytest.mark.parametrize("redirect", [">/dev/null <&-", "1</dev/null", "1</dev/null <&- 2>&-"])
def test_standard_output_that_takes_nothing(run: Command, redirect: str) -> None:
    """A descriptor that is open for reading only takes no result either."""
    lost = "1<" in redirect
    assert run("readers", redirect=redirect).returncode == (RESULT_LOST if lost else 0)


def test_standard_output_that_does_not_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that another program made non-blocking, and that is full, is waited for."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    filled = os.write(writing, bytes(1 << 24))
    waited: list[bytes] = []
    monkeypatch.setattr(select, "select", lambda *_: waited.append(os.read(reading, filled)))
    with PatientOutput(writing, "w") as output:
        assert output.write(b"result") == 6
    assert len(waited) == 1
    assert os.read(reading, 100) == b"result"
    os.close(reading)


def test_everything_is_full(run: Command) -> None:
    """Then the exit code has to do."""
    assert run("show", redirect=">/dev/full 2>/dev/full").returncode == RESULT_LOST


@each_command
def test_nobody_reads_on(run: Command, words: tuple[str, ...]) -> None:
    """A closed pipe ends the command quietly, and not with a yes."""
    reading, writing = os.pipe()
    os.close(reading)
    done = run(*words, stdin=RIGHT_PIN, stdout=writing)
    os.close(writing)
    assert (done.returncode, done.stderr) == (RESULT_LOST, b"")


@pytest.mark.parametrize("redirect", ["<&-", "2>&-", "<&- 2>&-"])
def test_a_refusal_with_closed_descriptors(run: Command, redirect: str) -> None:
    """The program that asked is told all the same."""
    done = run("show", "--json", "--reader", "none of this name", redirect=redirect)
    assert done.returncode == EXIT_CODES[NoReader]
    assert _answer(done)["error"] == "no-reader"


# --- Bytes that are no text, encodings, languages ------------------------------------


@pytest.mark.parametrize("words", ["readers", "show"])
def test_a_reader_name_that_is_no_text(run: Command, words: str) -> None:
    """It is told escaped in JSON, and no reader has it."""
    done = run(words, "--json", "--reader", b"\xff\xe9")
    assert done.returncode == EXIT_CODES[NoReader]
    assert _answer(done)["reader"] == r"\xff\xe9"
    assert run(words, "--reader", b"\xff\xe9").returncode == EXIT_CODES[NoReader]


@pytest.mark.parametrize(
    ("option", "code"),
    [
        ("--module", ModuleUnusable.code),
        ("--trust", TrustStoreUnusable.code),
        ("--\udcff", "usage"),
    ],
)
def test_an_option_that_is_no_text(command: Command, igc_dir: Path, option: str, code: str) -> None:
    """Each is refused in its own way, in text that every program can read."""
    words = ("show", "--json", "--trust", str(igc_dir), os.fsencode(option), b"/\xff\xe9")
    done = command(*words)
    answer = _answer(done)
    assert answer["error"] == code
    assert answer["message"]
    assert b"Traceback" not in done.stderr


def test_a_command_that_is_no_text(command: Command) -> None:
    """It is a misuse like another."""
    done = command(b"\xff", "--json")
    assert done.returncode == USAGE
    assert _answer(done)["error"] == "usage"
    assert b"Traceback" not in done.stderr


def test_a_file_name_that_is_no_text(command: Command, igc_dir: Path, tmp_path: Path) -> None:
    """A list with a Latin-1 name is taken like another, and its name told escaped."""
    trust = shutil.copytree(igc_dir, tmp_path / "trust")
    source = os.fsencode(tmp_path) + b"/liste-r\xe9voqu\xe9s.crl"
    Path(os.fsdecode(source)).write_bytes((igc_dir / "crl" / "ACI-FO-PP.crl").read_bytes())
    done = command("trust", "import", source, "--json", "--trust", str(trust))
    assert (done.returncode, done.stderr) == (0, b"")
    assert r"liste-r\xe9voqu\xe9s.crl" in _answer(done)["outcomes"][0]["source"]


@pytest.mark.parametrize("encoding", ["iso-8859-15", "iso-8859-1"])
def test_a_terminal_that_is_not_utf8(run: Command, encoding: str) -> None:
    """What it has no letter for is a question mark; JSON loses nothing."""
    environment = {"PYTHONIOENCODING": encoding, "LC_ALL": "fr_FR.UTF-8"}
    shown = run("show", environment=environment)
    assert shown.returncode == 0
    assert "LAVERGNE" in shown.stdout.decode(encoding)
    assert run("doctor", environment=environment).returncode == 0
    holder = _answer(run("show", "--json", environment=environment))["holder"]
    assert holder == _answer(run("show", "--json"))["holder"]
    assert holder["profession"] == "Médecin"


# --- The environment -----------------------------------------------------------------


@each_command
def test_an_empty_environment(run: Command, words: tuple[str, ...]) -> None:
    """Neither HOME nor PATH nor TERM nor a language is needed."""
    bare = dict.fromkeys(("HOME", "PATH", "TERM", "LANG", "XDG_CACHE_HOME", "TMPDIR"), "")
    assert run(*words, environment=bare | {"LC_ALL": ""}, stdin=RIGHT_PIN).returncode == 0


@pytest.mark.parametrize("words", [("browser", "status"), ("browser", "uninstall")], ids=" ".join)
def test_a_home_that_is_no_folder(run: Command, words: tuple[str, ...]) -> None:
    """Nothing is written to wherever one happens to be."""
    done = run(*words, "--json", environment={"HOME": "elsewhere"})
    assert done.returncode == EXIT_CODES[ConfigurationError]
    assert _answer(done)["error"] == ConfigurationError.code


def test_an_account_without_a_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither HOME nor the passwd file knows one."""

    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr("pwd.getpwuid", nobody)
    done = CliRunner(env={"HOME": None}).invoke(cli, ["browser", "status", "--json"])
    assert json.loads(done.stdout)["error"] == ConfigurationError.code

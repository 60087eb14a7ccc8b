"""Every command of the documents is one that exists, with arguments that it takes.

Nothing is run: what needs root or hardware is parsed like everything else. Whole programs are run
elsewhere: `tests/test_docs.py`, `tests/flask/servers`, `tests/system/browser`.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib

import click
import pytest

from cps_auth.cli.main import cli
from cps_auth.flask.commands import session_commands
from hardware_mocks.__main__ import _parser as mocks_parser
from pam_helper.__main__ import _parser as pam_parser
from tests.docs.markdown import DOCUMENTS, ROOT, Command, commands_of, fenced_blocks
from webdemo.__main__ import _parser as demo_parser

COMMANDS = [command for document in DOCUMENTS for command in commands_of(document)]
PARSERS = {
    "hardware_mocks": mocks_parser,
    "pam_helper": pam_parser,
    "webdemo": demo_parser,
}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def _named(*names: str) -> list[Command]:
    return [command for command in COMMANDS if command.words[0] in names]


def _check_click(command: click.Command, words: list[str], *, is_whole: bool) -> None:
    """Follow the words through the groups, then hand the rest to the last one's parser."""
    context = click.Context(command, info_name=command.name, resilient_parsing=True)
    if isinstance(command, click.Group) and words and not words[0].startswith("-"):
        child = command.get_command(context, words[0].split("|")[0])
        assert child is not None, f"no command {words[0]}"
        _check_click(child, words[1:], is_whole=is_whole)
        return
    if isinstance(command, click.Group) and words[:1] == ["--debug"]:
        _check_click(command, words[1:], is_whole=is_whole)
        return
    if isinstance(command, click.Group) or "--help" in words:
        return
    options, left, _order = command.make_parser(context).parse_args(list(words))
    assert not left, f"too many arguments: {left}"
    if is_whole:
        missing = [
            one.name
            for one in command.params
            if one.required and options.get(one.name or "") in (None, ())
        ]
        assert not missing, f"missing: {missing}"


@pytest.mark.parametrize("command", _named("cps-auth"), ids=str)
def test_cps_auth_takes_the_arguments(command: Command) -> None:
    """Names of commands, options and the number of arguments."""
    words = [word for word in command.words[1:] if word != "…"]
    _check_click(cli, words, is_whole=command.is_whole)


@pytest.mark.parametrize("command", _named("flask"), ids=str)
def test_flask_takes_the_arguments(command: Command) -> None:
    """`flask cps …` is ours, `run` is Flask's."""
    words = list(command.words[1:])
    if words[:1] == ["--app"]:
        words = words[2:]
    if not words:
        assert not command.is_whole  # the program's name in a sentence
    elif words[:1] == ["cps"]:
        _check_click(session_commands(), words[1:], is_whole=command.is_whole)
    else:
        assert words[0] == "run"


@pytest.mark.parametrize("command", _named("./dev"), ids=str)
def test_dev_has_the_command(command: Command) -> None:
    """The words after `./dev`, and the options of the demo and the release."""
    script = (ROOT / "dev").read_text()
    known = set(re.findall(r"^  ([a-z]+)\)", script, re.MULTILINE))
    if len(command.words) > 1:
        assert set(command.words[1].split("|")) <= known
    if command.words[1:2] == ("demo",):
        demo_parser().parse_args(command.words[2:])


@pytest.mark.parametrize("command", _named("python", ".venv/bin/python"), ids=str)
def test_python_runs_a_module_of_ours_with_its_arguments(command: Command) -> None:
    """`python -m …`: the module exists; its own parser takes what follows."""
    if len(command.words) < 3 or command.words[1] != "-m":
        assert not command.is_whole or command.words[1] == "-c"
        return
    module = command.words[2]
    parser = PARSERS.get(module)
    if parser is None:
        tree = ROOT.joinpath(*module.split("."))
        assert (
            module in ("build", "venv", "pip") or tree.exists() or tree.with_suffix(".py").exists()
        )
        return
    words = [word for word in command.words[3:] if word != "…"]
    if command.is_whole or len(words) > 1:
        parser().parse_args(words)


@pytest.mark.parametrize("command", _named("pip", ".venv/bin/pip"), ids=str)
def test_pip_installs_extras_that_exist(command: Command) -> None:
    """The names between brackets are those of pyproject.toml."""
    for extras in re.findall(r"\[([\w,]+)\]", " ".join(command.words)):
        assert set(extras.split(",")) <= set(EXTRAS)


def test_no_command_of_ours_is_misspelt() -> None:
    """What looks like ours is one of those that are checked above; the rest is the system's."""
    checked = ("cps-auth", "./dev", "cps-auth-native-host")
    ours = [
        str(command)
        for command in COMMANDS
        if command.is_whole and command.words[0].startswith(("cps", "./"))
        if command.words[0] not in checked
    ]
    assert not ours


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_python_json_and_toml_block_is_read(document: str) -> None:
    """Syntax of every block; imports from our packages exist."""
    for block in fenced_blocks(document, "json"):
        json.loads(block)
    for block in fenced_blocks(document, "toml"):
        tomllib.loads(block)
    for block in fenced_blocks(document, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in (
                "cps_auth",
                "pam_helper",
                "hardware_mocks",
            ):
                module = __import__(node.module or "", fromlist=["*"])
                assert all(hasattr(module, name.name) for name in node.names), node.module


def test_there_are_commands() -> None:
    """The reading of the documents has not gone blind."""
    assert len([command for command in COMMANDS if command.is_whole]) > 50
    assert len(_named("cps-auth")) > 50

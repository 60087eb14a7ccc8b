"""Strict TOML of the files that people edit: a refusal names the file, the line and the cure."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TypeVar

import msgspec

from cps_auth.errors import ConfigurationError

_Shape = TypeVar("_Shape")

_AT_LINE = re.compile(r"\(at line (\d+),")
_AT_SETTING = re.compile(r" - at `\$\.?([^`]*)`$")
_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
_HEADER = re.compile(r"\s*\[{1,2}\s*([^\[\]]+?)\s*\]")
_ASSIGNMENT = re.compile(r"\s*([\w.\"'-]+)\s*=")


def decode_toml(path: Path, content: bytes, shape: type[_Shape]) -> _Shape:
    """Decode a TOML file into its type.

    Args:
        path: for the words of the refusal.
        content: of the file.
        shape: a struct that forbids unknown fields.

    Returns:
        The value.

    Raises:
        ConfigurationError: not text ("not-text"), not TOML ("not-toml"), a setting that this
            version does not know ("unknown-setting"), or a value of the wrong type
            ("wrong-setting"). It names the line.
    """
    try:
        return msgspec.toml.decode(content, type=shape)
    except msgspec.ValidationError as error:
        unknown = _UNKNOWN.search(str(error))
        line = _line_of(content.decode(), _setting(str(error), unknown))
        cause = "unknown-setting" if unknown else "wrong-setting"
        raise ConfigurationError(f"{path}:{line}: {error}", cause) from None
    except (msgspec.DecodeError, RecursionError) as error:
        at = _AT_LINE.search(str(error))
        line = int(at[1]) if at else content.count(b"\n") + 1
        raise ConfigurationError(f"{path}:{line}: {error}", "not-toml") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}:{line}: {error}", "not-text") from None


def _setting(said: str, unknown: re.Match[str] | None) -> tuple[str, ...]:
    """Return the names from the top of the file to the setting that is meant."""
    at = _AT_SETTING.search(said)
    names = re.sub(r"\[[^\]]*\]", "", at[1] if at else "").split(".")
    return tuple(name for name in (*names, unknown[1] if unknown else "") if name)


def _line_of(text: str, setting: tuple[str, ...]) -> int:
    """Return the line of a setting, or of the table that it is in; 1 for the file itself."""
    table: tuple[str, ...] = ()
    depth, line = 0, 1
    for number, words in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(words):
            table = _names(header[1])
            found = table
        elif assignment := _ASSIGNMENT.match(words):
            found = (*table, *_names(assignment[1]))
        else:
            continue
        if len(found) > depth and found == setting[: len(found)]:
            depth, line = len(found), number
    return line


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip().strip("\"'") for name in dotted.split("."))

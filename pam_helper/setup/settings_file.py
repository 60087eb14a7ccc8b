"""Changes settings in /etc/cps-auth/config.toml, keeping everything else as it was written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cps_auth.config import MAX_CONFIG_BYTES, Settings
from cps_auth.errors import ConfigurationError
from cps_auth.files import (
    as_configuration_error,
    locked_for_update,
    read_protected,
    replace_file,
)
from cps_auth.toml_file import decode_toml

Setting = tuple[str, str]
"""Table ("" for the top) and name, such as ("trust", "grace_hours")."""

_NEW_FILE = """# Settings of cps-auth, all of them optional. The others, and what they mean:
# /usr/share/doc/cps-auth/examples/config.toml
"""
_TABLE = re.compile(r"\s*\[")


def change_settings(path: Path, changes: Mapping[Setting, object]) -> None:
    """Write settings, each on the line where it stands, or on a new one in its table.

    Args:
        path: the TOML file; one that is absent is made.
        changes: what to write; None takes a setting out, so that its default holds.

    Raises:
        ConfigurationError: the file or the result is unusable; nothing was changed.
    """
    with locked_for_update(path):
        try:
            before = read_protected(path, MAX_CONFIG_BYTES).decode()
        except FileNotFoundError:
            before = _NEW_FILE
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path}: {error}") from None
        lines = before.splitlines()
        for (table, name), value in changes.items():
            _change(lines, table, name, value)
        after = "\n".join([*lines, ""])
        if _decode(path, after) != _expected(_decode(path, before), changes):
            raise ConfigurationError(f"{path}: too unusual to be changed here, change it by hand")
        decode_toml(path, after.encode(), Settings)
        with as_configuration_error(path):
            replace_file(path, after.encode())


def _change(lines: list[str], table: str, name: str, value: object) -> None:
    start, end = _range_of(lines, table)
    assignment = re.compile(rf"\s*{re.escape(name)}\s*=")
    places = [i for i in range(start, end) if assignment.match(lines[i])]
    new = [] if value is None else [f"{name} = {json.dumps(value, ensure_ascii=False)}"]
    if places:
        lines[places[0] : places[0] + 1] = new
    elif new and start > len(lines):
        lines += ["", f"[{table}]", *new]
    else:
        at = start if table else end  # below the comment that begins the file
        lines[at:at] = new


def _range_of(lines: list[str], table: str) -> tuple[int, int]:
    """Return the lines of a table without its header; behind the end where there is none."""
    headers = [i for i, line in enumerate(lines) if _TABLE.match(line)]
    if not table:
        return 0, headers[0] if headers else len(lines)
    header = re.compile(rf"\s*\[\s*{re.escape(table)}\s*\]\s*(#.*)?\Z")
    for i in headers:
        if header.match(lines[i]):
            return i + 1, next((other for other in headers if other > i), len(lines))
    return len(lines) + 1, len(lines) + 1


def _expected(before: dict[str, Any], changes: Mapping[Setting, object]) -> dict[str, Any]:
    tables: dict[str, Any] = {k: dict(v) if isinstance(v, dict) else v for k, v in before.items()}
    for (table, name), value in changes.items():
        place = tables.setdefault(table, {}) if table else tables
        place.pop(name, None)
        if value is not None:
            place[name] = list(value) if isinstance(value, tuple) else value
    return dict(_without_empty(tables))


def _without_empty(tables: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((name, value) for name, value in tables.items() if value != {})


def _decode(path: Path, text: str) -> dict[str, Any]:
    return dict(_without_empty(decode_toml(path, text.encode(), dict[str, Any])))

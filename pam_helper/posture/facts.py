"""What the system's own files and tools say; nothing is judged here."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

Run = Callable[..., str | None]
"""Runs a program of the system; returns what it printed, None where it could not or failed."""

_WITHIN_S = 20.0
_MOST_BYTES = 1024 * 1024


def run_tool(*command: str) -> str | None:
    """Run a program of the system in plain English.

    Args:
        command: its name and arguments; no shell.

    Returns:
        What it printed; None when it is absent, failed, or took too long.
    """
    path = "/usr/sbin:/usr/bin:/sbin:/bin"
    try:
        done = subprocess.run(  # noqa: S603 - fixed words, no shell
            command,
            env={"PATH": path, "LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_WITHIN_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None


@dataclass(frozen=True, slots=True)
class Facts:
    """Where facts come from: files under a folder, / for this PC, and its tools.

    Attributes:
        root: the folder that stands for /.
        run: its tools.
        is_root: whether what only root may read can be read.
    """

    root: Path
    run: Run
    is_root: bool

    def text(self, path: str) -> str | None:
        """Return a file's text; empty where it is absent, None where it may not be read."""
        try:
            with (self.root / path).open("rb") as file:
                return file.read(_MOST_BYTES).decode(errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return ""
        except OSError:
            return None

    def lines(self, path: str) -> list[str] | None:
        """Return a file's lines without comments and spaces around; None where unreadable."""
        text = self.text(path)
        if text is None:
            return None
        stripped = (line.strip() for line in text.splitlines())
        return [line for line in stripped if line and not line.startswith(("#", ";"))]

    def files(self, pattern: str) -> list[str]:
        """Return the files that match a pattern, relative to the root, in their order."""
        return sorted(str(path.relative_to(self.root)) for path in self._found(pattern))

    def changed_at(self, path: str) -> datetime | None:
        """Return when a file was changed last, aware UTC; None where that can't be told."""
        try:
            return datetime.fromtimestamp((self.root / path).stat().st_mtime, UTC)
        except OSError:
            return None

    def _found(self, pattern: str) -> Iterator[Path]:
        try:
            yield from self.root.glob(pattern)
        except OSError:
            return


def settings_in(lines: list[str], table: str) -> dict[str, str]:
    """Return `name=value` lines of one table of an INI file.

    Args:
        lines: without comments.
        table: its header, without brackets.
    """
    found: dict[str, str] = {}
    current = ""
    for line in lines:
        if line.startswith("["):
            current = line.strip("[]")
        elif current == table and "=" in line:
            name, _, value = line.partition("=")
            found[name.strip()] = value.strip()
    return found

"""The `cps-auth` command as a process of its own, on virtual readers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

VIRTUAL = """
import os, sys
from pathlib import Path
from cps_auth.cli import main, options
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.readers.cps_reader import CpsReader
reader = CpsReader(FakeIgcSante.load(Path(sys.argv.pop(1))))
card = reader.insert("doctor")
unchanged = options.open_cards
options.open_cards = lambda module: reader.cards if module is None else unchanged(module)
try:
    main.main()
finally:
    Path(os.environ["ATTEMPTS_LEFT"]).write_text(str(card.pin_attempts_left))
"""
"""The whole command with the doctor's card in its one reader; it writes down afterwards how many
PIN attempts the card has left."""

Command = Callable[..., "subprocess.CompletedProcess[bytes]"]


@pytest.fixture
def attempts_left(tmp_path: Path) -> Path:
    """The file that says how many PIN attempts the card has left after a command."""
    return tmp_path / "attempts-left"


@pytest.fixture
def command(igc_dir: Path, attempts_left: Path) -> Command:
    """Return a function that runs the command; descriptors and environment as they are given."""

    def run(
        *words: str | bytes,
        redirect: str = "",
        stdin: bytes = b"",
        environment: Mapping[str, str] | None = None,
        stdout: int = subprocess.PIPE,
    ) -> subprocess.CompletedProcess[bytes]:
        program: Sequence[str | bytes] = [sys.executable, "-c", VIRTUAL, str(igc_dir), *words]
        return subprocess.run(
            ["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", *program],
            env={
                **os.environ,
                "LC_ALL": "C.UTF-8",
                "ATTEMPTS_LEFT": str(attempts_left),
                **(environment or {}),
            },
            input=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )

    return run

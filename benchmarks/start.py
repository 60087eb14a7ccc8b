"""The start of `cps-auth`, beside that of a bare interpreter that imports click."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.timing import Figure, compare
from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.system.conftest import PrivatePcscd

ROUNDS = 40


def start_help(_igc: FakeIgcSante, _folder: Path) -> Figure:
    """`cps-auth --help`; its bound is 2.5."""
    return _start(["--help"], os.environ)


def start_readers(igc: FakeIgcSante, _folder: Path) -> Figure:
    """`cps-auth readers` on a private pcscd with two empty readers; its bound is 2.5."""
    with tempfile.TemporaryDirectory(prefix="pcscd-") as folder:
        os.environ["PCSCLITE_CSOCK_NAME"] = f"{folder}/pcscd.comm"  # asked here whether it serves
        pcscd = PrivatePcscd(Path(folder), igc)
        pcscd.start()
        try:
            return _start(["readers"], pcscd.env)
        finally:
            pcscd.stop()


def _start(words: list[str], environment: Mapping[str, str]) -> Figure:
    def run(*arguments: str) -> None:
        subprocess.run(
            [sys.executable, *arguments], check=True, env=dict(environment), capture_output=True
        )

    return compare(
        f"starting the command: {' '.join(words)} (bound 2.5)",
        (f"cps-auth {' '.join(words)}", lambda: run("-m", "cps_auth", *words)),
        ('python -c "import click"', lambda: run("-c", "import click")),
        rounds=ROUNDS,
    )


FIGURES = (start_help, start_readers)

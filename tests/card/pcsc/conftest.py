"""A PC/SC library of one's own (odd_pcsc.c), for programs started with `OddPcsc.env`."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("odd_pcsc.c")


@dataclass
class OddPcsc:
    """What PC/SC says to the programs that are started with `env`."""

    folder: Path
    library: Path

    @property
    def env(self) -> dict[str, str]:
        """The environment in which this is PC/SC."""
        odd = {"LD_LIBRARY_PATH": str(self.library.parent), "ODD_PCSC": str(self.folder)}
        return {**os.environ, **odd, "LC_ALL": "C.UTF-8"}

    def attach(self, *names: bytes, states: str = "") -> None:
        """Let these readers be there, each with the state of its letter, empty without one."""
        self._write("states", states.ljust(len(names), "e").encode())
        self._write("names", b"".join(name + b"\0" for name in names))

    def refuse(self, **codes: int) -> None:
        """Let calls fail."""
        self._write("codes", "".join(f"{call} {code:x}\n" for call, code in codes.items()).encode())

    @property
    def calls(self) -> int:
        """How many questions about readers were asked so far."""
        path = self.folder / "calls"
        return path.stat().st_size if path.exists() else 0

    def _write(self, name: str, content: bytes) -> None:
        new = self.folder / f"{name}.new"
        new.write_bytes(content)
        new.replace(self.folder / name)


@pytest.fixture(scope="session")
def odd_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, compiled once."""
    library = tmp_path_factory.mktemp("odd-pcsc") / "libpcsclite.so.1"
    subprocess.run(
        ["gcc", "-O1", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(library), str(SOURCE)],
        check=True,
        timeout=60,
    )
    return library


@pytest.fixture
def odd_pcsc(odd_library: Path, tmp_path: Path) -> OddPcsc:
    """PC/SC with one empty reader, until a test says otherwise."""
    odd = OddPcsc(tmp_path, odd_library)
    odd.attach(b"Reader 00 00")
    return odd

"""The real pcscd with readers of any name, as many as it takes: each is as good as another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.vpcd.slot import VpcdSlot
from tests.free_ports import free_row_of_ports
from tests.pcscd_command import pcscd_command

pytestmark = pytest.mark.system

DEADLINE_S = 60.0
SIXTEEN = [b"Reader %d" % number for number in range(8)]  # two slots each
ODD = [b"Lecteur n\xb0 1", "Lecteur n° 2".encode(), b"x" * 121, b"Reader"]
"""Latin-1, UTF-8, the longest that pcscd takes, and a plain one."""

Run = Callable[..., Any]


@contextmanager
def _pcscd(names: Sequence[bytes]) -> Iterator[tuple[dict[str, str], int]]:
    """Run one; yield the environment that reaches it, and the port of its first slot."""
    with tempfile.TemporaryDirectory(prefix="pcscd-") as folder:
        port = free_row_of_ports(2 * len(names))
        with (
            Path(folder, "log").open("wb") as log,
            subprocess.Popen(
                pcscd_command(Path(folder), port, names),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            ) as process,
        ):
            try:
                yield {**os.environ, "PCSCLITE_CSOCK_NAME": f"{folder}/pcscd.comm"}, port
            finally:
                process.terminate()


class Desk:
    """Several readers behind a pcscd of their own."""

    def __init__(self, env: dict[str, str], port: int, igc: FakeIgcSante, igc_dir: Path) -> None:
        self._env, self._port, self._igc, self._trust = env, port, igc, str(igc_dir)

    def insert(self, slot: int) -> VpcdSlot:
        """Put the doctor's card into a slot."""
        hands = VpcdSlot(("127.0.0.1", self._port + slot))
        hands.insert(VirtualCard(PERSONAS["doctor"], self._igc.credentials("doctor")))
        return hands

    def run(self, *words: str | bytes) -> Any:
        """Run a command; return its exit code and what it says."""
        trust = () if words[0] == "readers" else ("--trust", self._trust)
        done = subprocess.run(
            [sys.executable, "-m", "cps_auth", *words, "--json", *trust],
            input=b"1234\n",
            capture_output=True,
            env=self._env,
            timeout=DEADLINE_S,
            check=False,
        )
        assert b"Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)

    def await_readers(self, count: int, cards: int) -> list[dict[str, str]]:
        """Return the readers once there are so many, and so many cards in them."""
        until_s, said = time.monotonic() + DEADLINE_S, None
        while time.monotonic() < until_s:
            _, said = self.run("readers")
            rows = said.get("readers", [])
            if len(rows) == count and sum(row["card"] is not None for row in rows) == cards:
                return list(rows)
        pytest.fail(f"not {count} readers and {cards} cards: {said}")


@contextmanager
def _desk(names: Sequence[bytes], igc: FakeIgcSante, igc_dir: Path) -> Iterator[Desk]:
    with _pcscd(names) as (env, port):
        desk = Desk(env, port, igc, igc_dir)
        desk.await_readers(2 * len(names), 0)
        yield desk


@pytest.mark.parametrize("name", ODD, ids=["latin-1", "utf-8", "longest", "plain"])
def test_a_card_in_a_reader_of_any_name(igc: FakeIgcSante, igc_dir: Path, name: bytes) -> None:
    """It logs in there, the reader named by its own bytes, or by what is shown of them."""
    with _desk([name], igc, igc_dir) as desk, ExitStack() as ending:
        ending.callback(desk.insert(0).pull)
        rows = desk.await_readers(2, 1)
        shown = (name + b" 00 00").decode(errors="backslashreplace")
        assert [row["reader"] for row in rows if row["card"] == "cps3"] == [shown]
        for named in ((), ("--reader", name + b" 00 00"), ("--reader", shown)):
            code, said = desk.run("login", "--pin-stdin", *named)
            assert (code, said.get("ok")) == (0, True), said


def test_a_name_that_opensc_cuts(igc: FakeIgcSante, igc_dir: Path) -> None:
    """OpenSC's module shortens it its own way; its slot is that reader all the same."""
    name = b"SCM Microsystems Inc. SCR 3310 [CCID Interface] (53311850713070)"
    with _desk([name], igc, igc_dir) as desk, ExitStack() as ending:
        ending.callback(desk.insert(0).pull)
        desk.await_readers(2, 1)
        for named in ((), ("--reader", name + b" 00 00")):
            code, said = desk.run("show", "--module", "opensc", *named)
            assert code == 0, said
            assert said["card"]["reader"] == name.decode() + " 00 00"


def test_sixteen_readers(igc: FakeIgcSante, igc_dir: Path) -> None:
    """As many as pcscd takes are one more than one question does, with the one for new ones.

    No cards: vpcd serves two slots a process. A card among many: `tests/card/pcsc`.
    """
    with _desk(SIXTEEN, igc, igc_dir) as desk:
        assert desk.run("show")[1]["error"] == "no-card"

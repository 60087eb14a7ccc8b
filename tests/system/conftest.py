"""A pcscd of one's own, with two vpcd slots, for the tests of this folder."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from smartcard import scard

from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS, Persona
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.vpcd.slot import VpcdSlot
from tests.free_ports import free_pair_of_ports
from tests.pcscd_command import pcscd_command

_DEADLINE_S = 20.0
_POLL_S = 0.02
_LOOKS_EVERY_S = 1.0  # pcscd looks at a reader every 0.4 s
_SLOTS = 2  # of vpcd, one port each
_SUCCESS = 0  # SCARD_S_SUCCESS


class InsertedCard:
    """A virtual card in one slot of a private pcscd, served by a thread."""

    def __init__(self, card: VirtualCard, slot: int, reader: str, plan: FaultPlan | None) -> None:
        self.card = card
        self.reader = reader
        self.in_reader = True
        self._slot = slot
        self._plan = plan
        self._hands: VpcdSlot | None = None

    def plug(self, host: str, port: int) -> None:
        """Connect; again after pcscd was restarted, since the card never left the reader."""
        if self._hands is not None:
            self._hands.pull()
        self._hands = VpcdSlot((host, port + self._slot))
        self._hands.insert(self.card, self._plan)

    def arm(self, plan: FaultPlan | None) -> None:
        """Let the faults of a plan happen around the commands that follow."""
        assert self._hands is not None
        self._plan = self._hands.plan = plan

    def remove(self) -> None:
        """Pull the card and return at once; pcscd sees it within about half a second."""
        self.in_reader = False
        if self._hands is not None:
            self._hands.pull()


class PrivatePcscd:
    """One pcscd that nobody else on this machine sees."""

    def __init__(self, folder: Path, igc: FakeIgcSante) -> None:
        self._folder = folder
        self._igc = igc
        self._process: subprocess.Popen[bytes] | None = None
        self._cards: list[InsertedCard] = []
        self._port = 0
        self.env = {**os.environ, "PCSCLITE_CSOCK_NAME": str(folder / "pcscd.comm")}
        self.readers: tuple[str, ...] = ()

    @property
    def pid(self) -> int:
        """Process id of pcscd."""
        assert self._process is not None
        return self._process.pid

    @property
    def vpcd_address(self) -> tuple[str, int]:
        """Host and port of the first slot; the second one is at the next port."""
        return "127.0.0.1", self._port

    def start(self) -> None:
        """Start pcscd, wait until it serves two readers; cards that were in stay in."""
        for _ in range(5):  # somebody may take the port between the look and the use
            self._port = self._port or free_pair_of_ports()
            self._spawn()
            if self._served():
                break
            self.stop()
            self._port = 0
        else:
            pytest.fail("pcscd serves no reader:\n" + (self._folder / "log").read_text())
        for inserted in self._cards:
            if inserted.in_reader:
                inserted.plug(*self.vpcd_address)
                self._await_card(inserted.reader, present=True)

    def _spawn(self) -> None:
        with (self._folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                pcscd_command(self._folder, self._port),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _served(self) -> bool:
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline and self._is_running():
            states = _states()
            if states is not None:  # it answers only once it has tried all its readers
                self.readers = tuple(states)
                return len(states) == _SLOTS
            time.sleep(_POLL_S)
        return False

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop pcscd; cards stay in their readers, without power."""
        if self._process is not None:
            process, self._process = self._process, None
            process.terminate()
            process.wait(_DEADLINE_S)

    def kill(self) -> None:
        """End pcscd without a chance to tidy up."""
        assert self._process is not None
        # A card's thread may do this; whoever sees it starts the next one at once
        process, self._process = self._process, None
        process.kill()
        process.wait(_DEADLINE_S)

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def insert(
        self,
        card_kind: str = "cps3",
        persona: str | Persona | VirtualCard = "doctor",
        slot: int = 0,
        plan: FaultPlan | None = None,
    ) -> InsertedCard:
        """Put a new card (or the given one) in a slot and wait until pcscd knows its ATR."""
        card = persona if isinstance(persona, VirtualCard) else self.make_card(card_kind, persona)
        inserted = InsertedCard(card, slot, self.readers[slot], plan)
        inserted.plug(*self.vpcd_address)
        self._cards.append(inserted)
        self._await_card(inserted.reader, present=True)
        return inserted

    def make_card(self, card_kind: str, persona: str | Persona) -> VirtualCard:
        """Personalise a card without inserting it."""
        chosen = PERSONAS[persona] if isinstance(persona, str) else persona
        return VirtualCard(chosen, self._igc.credentials(chosen.name), card_kind)

    def await_card(self, reader: str) -> None:
        """Wait until pcscd has powered the card in this reader."""
        self._await_card(reader, present=True)

    def await_empty(self, reader: str) -> None:
        """Wait until pcscd has seen, and counted, that the card of this reader left.

        An exchange that broke off empties the reader at once; pcscd counts the removal when it
        looks at the reader next, and would never see a card inserted before that.
        """
        self._await_card(reader, present=False)
        until = time.monotonic() + _LOOKS_EVERY_S
        while _counts().get(reader, 0) % 2 and time.monotonic() < until:
            time.sleep(_POLL_S)

    def _await_card(self, reader: str, *, present: bool) -> None:
        deadline = time.monotonic() + _DEADLINE_S
        while time.monotonic() < deadline:
            if (_states() or {}).get(reader) is present:
                return
            time.sleep(_POLL_S)
        pytest.fail(f"pcscd never saw present={present} in {reader}")

    def close(self) -> None:
        """Pull every card, then stop."""
        for inserted in self._cards:
            inserted.remove()
        self.stop()


def _counts() -> dict[str, int]:
    """Return how many insertions and removals each reader had: odd while a card is in."""
    return {name: state >> 16 for name, state, _ in _asked() or []}


def _states() -> dict[str, bool] | None:
    """Return whether each reader holds a powered card; None when pcscd does not answer."""
    states = _asked()
    if states is None:
        return None
    present = scard.SCARD_STATE_PRESENT
    return {name: bool(state & present) and bool(atr) for name, state, atr in states}


def _asked() -> list[tuple[str, int, list[int]]] | None:
    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    if result != _SUCCESS:
        return None
    try:
        _, readers = scard.SCardListReaders(context, [])
        asked = [(reader, scard.SCARD_STATE_UNAWARE) for reader in readers]
        result, states = scard.SCardGetStatusChange(context, 0, asked) if asked else (_SUCCESS, [])
        if result != _SUCCESS:
            return None
        return list(states)
    finally:
        scard.SCardReleaseContext(context)


@pytest.fixture(scope="session")
def _pcscd_folder() -> Iterator[Path]:
    """One folder per test process: libpcsclite looks up the socket's name once and keeps it."""
    with tempfile.TemporaryDirectory(prefix="pcscd-") as name:  # short: it holds a Unix socket
        yield Path(name)


@pytest.fixture
def private_pcscd(
    _pcscd_folder: Path, igc: FakeIgcSante, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PrivatePcscd]:
    """A running pcscd with two empty virtual readers; this process and `env` both reach it."""
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", str(_pcscd_folder / "pcscd.comm"))
    pcscd = PrivatePcscd(_pcscd_folder, igc)
    try:
        pcscd.start()
        yield pcscd
    finally:
        pcscd.close()

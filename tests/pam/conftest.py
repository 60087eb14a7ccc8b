"""A cabinet PC in this process: virtual reader, fake IGC-Santé, a desktop that obeys."""

from __future__ import annotations

import json
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cps_auth.card.native.source import NativeCards
from cps_auth.pki.judge import Judge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders
from pam_helper.accounts.one_time_codes import OneTimeCodes
from pam_helper.daemon.answering import answer
from pam_helper.daemon.authority import Authority
from pam_helper.daemon.server import Server, listen
from pam_helper.daemon.watcher_restart import RestartingWatcher
from pam_helper.locking.lockers import Locking
from pam_helper.locking.session_owners import SessionOwners
from pam_helper.locking.sessions import BoundSessions
from tests.pam.locking.obedient_desktop import ObedientDesktop

READER = "Reader 0"
DEADLINE_S = 10.0


@dataclass
class CabinetPc:
    """The daemon's parts, put together as the daemon does, on virtual hardware."""

    readers: VirtualReaders
    desktop: ObedientDesktop
    folder: Path
    igc: FakeIgcSante
    authority: Authority
    sessions: BoundSessions
    owners: SessionOwners
    codes: OneTimeCodes
    socket_path: Path

    def insert(self, persona: str) -> VirtualCard:
        """Put a persona's new card in the reader."""
        card = VirtualCard(PERSONAS[persona], self.igc.credentials(persona))
        self.readers.insert(READER, card)
        return card

    def allow(self, persona: str, *accounts: str) -> None:
        """Map a persona to accounts, beside those that are mapped."""
        entry = (
            f'[[holder]]\nps_idnat = "{PERSONAS[persona].ps_idnat}"\n'
            f"accounts = {json.dumps(accounts)}\n"
        )
        with (self.folder / "accounts.toml").open("a") as file:
            file.write(entry)

    def send(self, content: bytes) -> dict[str, object]:
        """Send bytes to the daemon and return its reply; empty if it said nothing."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(DEADLINE_S)
            connection.connect(str(self.socket_path))
            connection.sendall(content)
            raw = connection.makefile("rb").read()
        if not raw:
            return {}
        said = raw.removeprefix(b"PAM_AUTHINFO_UNAVAIL alive - -\n") or raw
        first, *lines = said.decode().removesuffix("\n").split("\n")
        result, code, attempts, following = first.split(" ")
        return {
            "raw": raw,
            "result": result,
            "code": code,
            "attempts_left": None if attempts == "-" else int(attempts),
            "next": following,
            "lines": lines,
        }

    def ask(
        self, verb: str, account: str = "root", pin: bytes = b"", service: str = "xsecurelock"
    ) -> dict[str, object]:
        """Ask the daemon as a PAM client does."""
        line = f"cps1 {verb} {account} {service}\n".encode()
        has_secret = verb in ("verify", "last", "code")
        return self.send(line + (bytes([len(pin)]) + pin if has_secret else b""))


@pytest.fixture
def pc_folder() -> Iterator[Path]:
    """A folder whose path is short enough for a Unix socket."""
    with tempfile.TemporaryDirectory(prefix="pc-") as name:
        yield Path(name)


@contextmanager
def running_pc(pc_folder: Path, igc: FakeIgcSante, judge: Judge) -> Iterator[CabinetPc]:
    """A running cabinet PC: the doctor may open root, and has no session yet."""
    readers, desktop = VirtualReaders(READER), ObedientDesktop()
    cards = NativeCards(readers.service)
    owners, codes = (
        SessionOwners(pc_folder / "sessions.json"),
        OneTimeCodes(pc_folder / "codes.json"),
    )
    sessions = BoundSessions(Locking(desktop, (desktop,)), owners)
    authority = Authority(
        cards,
        None,
        lambda: judge,
        pc_folder / "accounts.toml",
        sessions,
        codes,
        lambda: datetime.now(UTC),
    )
    socket_path = pc_folder / "auth.sock"
    watching = RestartingWatcher(cards, sessions.feed_card_event)
    watching.wait_until_heard(DEADLINE_S)
    server = Server(listen(socket_path), lambda conn, peer: answer(conn, peer, authority, "en"))
    pc = CabinetPc(
        readers, desktop, pc_folder, igc, authority, sessions, owners, codes, socket_path
    )
    pc.allow("doctor", "root")
    try:
        yield pc
    finally:
        server.stop()
        watching.stop()
        sessions.close(DEADLINE_S)


@pytest.fixture
def pc(pc_folder: Path, igc: FakeIgcSante, judge: Judge) -> Iterator[CabinetPc]:
    """See `running_pc`."""
    with running_pc(pc_folder, igc, judge) as pc:
        yield pc

"""`serve` by hand: the terminal view, its keys, and the signals that do the same."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hardware_mocks.__main__ import main
from hardware_mocks.card.virtual_card import CARD_KINDS, VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.igc.issuing import issue_card
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.cps_reader import CpsReader
from hardware_mocks.transcripts.transcript import Transcript
from hardware_mocks.vpcd.memory import KeptCard
from hardware_mocks.vpcd.terminal_view import TerminalView

DEADLINE_S = 20.0
VERIFY = bytes.fromhex("002000010431323334")


class Driver:
    """The driver's side of one vpcd slot."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(DEADLINE_S)
        self.where = "{}:{}".format(*self._listener.getsockname())

    def accept(self) -> None:
        """Take a card and power it."""
        self.take()
        self.power()

    def take(self) -> None:
        """Take a card: from now on others may see it."""
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(DEADLINE_S)

    def power(self) -> None:
        """Power the card."""
        self._connection.sendall(b"\x00\x01\x01")

    def ask(self, command: bytes) -> bytes:
        """Send a command and return the answer."""
        self._connection.sendall(len(command).to_bytes(2) + command)
        with self._connection.makefile("rb") as answer:
            return answer.read(int.from_bytes(answer.read(2)))

    def is_hung_up(self) -> bool:
        """Wait until the card has left."""
        is_gone = self._connection.recv(1) == b""
        self._connection.close()
        return is_gone

    def close(self) -> None:
        """Hang up."""
        self._connection.close()
        self._listener.close()


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A listening driver."""
    driver = Driver()
    yield driver
    driver.close()


class Screen:
    """The far end of a terminal."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self.seen = ""

    def await_text(self, pattern: str) -> None:
        """Read until it was shown."""
        deadline = time.monotonic() + DEADLINE_S
        while not re.search(pattern, self.seen, re.DOTALL):
            assert time.monotonic() < deadline, self.seen
            if select.select([self._terminal], [], [], 0.1)[0]:
                self.seen += os.read(self._terminal, 65536).decode()

    def press(self, key: str) -> None:
        """Type one key, and forget what was shown before."""
        self.seen = ""
        os.write(self._terminal, key.encode())


def start(
    igc_dir: Path, driver: Driver, *options: str, **streams: object
) -> subprocess.Popen[bytes]:
    """Start `serve` with the doctor's CPS3."""
    command = [sys.executable, "-m", "hardware_mocks", "serve", "--pki", str(igc_dir), *options]
    return subprocess.Popen([*command, "--vpcd", driver.where], **streams)  # type: ignore[call-overload]


def test_the_terminal_shows_the_card(igc_dir: Path, driver: Driver) -> None:
    """State and traffic without the PIN; p pulls, i inserts the same card, q quits."""
    near, far = pty.openpty()
    process = start(igc_dir, driver, stdin=far, stdout=far, stderr=far)
    try:
        screen = Screen(near)
        driver.accept()
        screen.await_text("Camille LAVERGNE.*in the reader.*3 attempts left.*not verified")
        assert driver.ask(VERIFY) == b"\x90\x00"
        screen.await_text(r"PIN  3 attempts left +\S*verified.*VERIFY +00 20 00 01 04 \*\* \*\*")
        assert "31 32 33 34" not in screen.seen
        assert driver.ask(VERIFY[:-1] + b"0") == b"\x63\xc2"
        screen.press("p")
        assert driver.is_hung_up()
        screen.await_text("pulled")
        screen.press("i")
        driver.accept()
        screen.await_text("in the reader.*2 attempts left")
        screen.press("q")
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.wait()
        os.close(near)
        os.close(far)


def test_signals_pull_and_insert(igc_dir: Path, driver: Driver) -> None:
    """Without a terminal SIGUSR1 pulls, SIGUSR2 inserts; the counters outlive it."""
    process = start(igc_dir, driver, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        driver.accept()
        assert process.stdout is not None
        assert b"inserted" in process.stdout.readline()
        assert driver.ask(VERIFY[:-1] + b"0") == b"\x63\xc2"
        process.send_signal(signal.SIGUSR1)
        assert driver.is_hung_up()
        process.send_signal(signal.SIGUSR2)
        driver.accept()
        assert driver.ask(bytes.fromhex("0020000100")) == b"\x63\xc2"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
        assert process.stdout.read() == b""
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def test_a_signal_may_come_as_soon_as_the_card_is_seen(igc_dir: Path, driver: Driver) -> None:
    """SIGUSR1 pulls even before `serve` has said that the card is in."""
    process = start(igc_dir, driver, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    try:
        driver.take()
        process.send_signal(signal.SIGUSR1)
        driver.power()
        assert driver.is_hung_up()
        assert process.stdout is not None
        assert b"inserted" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    finally:
        process.kill()
        process.communicate()


def test_a_memory_outlives_the_process(igc_dir: Path, driver: Driver, tmp_path: Path) -> None:
    """PIN, counters and CPS_DATA are those of the last answer, even after SIGKILL."""
    memory = tmp_path / "card"

    def served(*commands_hex: str) -> list[str]:
        process = start(igc_dir, driver, "--memory", str(memory), stdout=subprocess.DEVNULL)
        try:
            driver.accept()
            return [driver.ask(bytes.fromhex(command)).hex() for command in commands_hex]
        finally:
            process.kill()
            process.wait()
            assert driver.is_hung_up()

    change, new = "00240001083132333434333231", "002000010434333231"
    select, write, read = "00A4090C063F000001D107", "00D6000002CAFE", "00B0000002"
    assert served(change, select, write) == ["9000"] * 3
    assert served(VERIFY.hex(), "00200002083030303030303030") == ["63c2", "63c2"]
    assert served("0020000100", "0020000200", new, "0020000100") == ["63c2", "63c2", "9000", "9000"]
    assert served("0020000100", select, read) == ["63c3", "9000", "cafe9000"]
    assert memory.stat().st_mode & 0o077 == 0


def test_a_memory_that_cannot_be_written(igc: FakeIgcSante, tmp_path: Path) -> None:
    """6581, as of a worn-out chip, for what would change it; the rest is answered."""
    (tmp_path / "gone").mkdir()
    card = KeptCard(issue_card(igc), tmp_path / "gone" / "card")
    shutil.rmtree(tmp_path / "gone")
    assert card.transmit(bytes.fromhex("0020000100")) == b"\x63\xc3"
    assert card.transmit(VERIFY[:-1] + b"0") == b"\x65\x81"


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "is not the memory of this card"),
        ("[]", "is not the memory of this card"),
        ('{"chip": "1"}', "the memory of another card"),
        ('{"chip": "CHIP"}', "not the memory of a card"),
        ('{"chip": "CHIP", "pins": {"1": {"value": "31", "attempts_left": 3}}}', "not a PIN"),
        ('{"chip": "CHIP", "pins": {"1": {"value": "31323334", "attempts_left": 4}}}', "not a PIN"),
    ],
)
def test_a_memory_of_something_else(
    igc_dir: Path,
    igc: FakeIgcSante,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str,
    complaint: str,
) -> None:
    """One line, before anything is inserted; a folder that isn't there too."""
    memory = tmp_path / "card"
    memory.write_text(content.replace("CHIP", issue_card(igc).serial))
    assert main(["serve", "--pki", str(igc_dir), "--memory", str(memory)]) == 2
    complaints = capsys.readouterr().err
    assert complaint in complaints
    assert complaints.count("\n") == 1
    assert main(["serve", "--pki", str(igc_dir), "--memory", str(memory / "below")]) == 2
    assert "cannot keep a memory" in capsys.readouterr().err


def test_nobody_of_that_name(igc: FakeIgcSante) -> None:
    """From Python too, what does not exist is one line that says what does."""
    reader = CpsReader(igc)
    with pytest.raises(KeyError, match="no persona 'dentist'; there are doctor, pharmacist, nurse"):
        reader.insert("dentist")
    with pytest.raises(KeyError, match="no kind of card 'cps9'; there are cps3, cps3-contactless"):
        reader.insert("doctor", "cps9")


def test_a_served_chip_is_one_of_its_own(igc: FakeIgcSante) -> None:
    """Another serial per persona, kind and hierarchy: middleware's cache on disk goes by it."""
    chips = {*((name, "cps3") for name in PERSONAS), *(("doctor", kind) for kind in CARD_KINDS)}
    assert len({issue_card(igc, *chip).serial for chip in chips}) == len(chips)
    assert issue_card(igc).serial == issue_card(igc).serial
    other = replace(igc, authorities={"fort": igc.authorities["standard"]})
    assert issue_card(other).serial != issue_card(igc).serial


def test_vpcd_hangs_up(igc_dir: Path, driver: Driver) -> None:
    """When pcscd goes, serve says so and ends with 1."""
    process = start(igc_dir, driver, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    driver.accept()
    driver.close()
    _, complaint = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, complaint) == (1, b"hardware_mocks: vpcd closed the connection\n")


@pytest.mark.parametrize("kind", ["cps3-contactless", "cps4"])
def test_the_view_of_any_card(igc: FakeIgcSante, kind: str) -> None:
    """No line is wider than the terminal, nor are there more than it has."""
    card = VirtualCard(PERSONAS["cpe-nameless"], igc.credentials("cpe-nameless"), kind)
    view = TerminalView(card, "127.0.0.1:1")
    for command in (
        b"",
        b"\x00",
        VERIFY,
        bytes.fromhex("00A4040000"),
        b"\x00\x88\x00\x00" + bytes(99),
    ):
        view.note(command, card.transmit(command))
    lines = view.text(is_inserted=True, columns=60, lines=16)
    plain = [re.sub(r"\x1b\[[0-9]*m", "", line) for line in lines]
    assert len(lines) <= 16
    assert max(map(len, plain[6:])) <= 60
    assert "CENTRE DE SANTE DES TILLEULS" in plain[0]
    assert ("none on this interface" in plain[3]) is (kind == "cps3-contactless")


def test_faults_and_transcript(igc_dir: Path, driver: Driver, tmp_path: Path) -> None:
    """--fault happens at the wire, --transcript keeps what the card was asked, without the PIN."""
    said = tmp_path / "said.apdu"
    options = ["--fault", "answer=6F00@..84", "--fault", "pull@#3", "--transcript", str(said)]
    command = [sys.executable, "-m", "hardware_mocks", "serve", "--pki", str(igc_dir), *options]
    process = subprocess.Popen([*command, "--vpcd", driver.where], stdout=subprocess.PIPE)
    try:
        driver.accept()
        assert driver.ask(bytes.fromhex("0084000008")) == b"\x6f\x00"
        assert driver.ask(VERIFY) == b"\x90\x00"
        assert driver.ask(VERIFY) == b""
        process.send_signal(signal.SIGTERM)
        printed, _ = process.communicate(timeout=DEADLINE_S)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
    assert printed.decode().splitlines()[1:] == [
        "fault answer=6F00@..84 happened at 00840000 (#1)",
        "fault pull@#3 happened at 00200001 (#3)",
    ]
    assert Transcript.parse(said.read_text()).steps[0].command[5:] == ("**",) * 4
    assert len(Transcript.parse(said.read_text()).steps) == 1


@pytest.mark.parametrize("kind", sorted(CARD_KINDS))
def test_the_files_of_a_card(
    igc: FakeIgcSante, igc_dir: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """`files` lists every file with its access, every PIN and key, and no secret."""
    assert main(["files", "--card", kind, "--pki", str(igc_dir)]) == 0
    lines = capsys.readouterr().out.splitlines()
    number = next(line for line in lines if line.startswith("3F00/D003"))
    assert "12 bytes" in number
    assert "read always, update never" in number
    digits = issue_card(igc, kind=kind).serial[1:]  # a PIN may stand in them by chance
    without_digits = [line.replace(digits.encode().hex(), "") for line in lines]
    assert not [line for line in without_digits if b"1234".hex() in line]
    has_pin = any("D120" in line and "read PIN" in line for line in lines)
    assert has_pin is (kind != "cps3-contactless")

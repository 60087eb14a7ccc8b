"""The vpcd link against a socket that speaks the driver's side, and the command line around it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from hardware_mocks.__main__ import main
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.faults import Fault, Truncate, at
from hardware_mocks.transcripts.cards import ReplayedCard, TranscriptBroken
from hardware_mocks.transcripts.transcript import Transcript
from hardware_mocks.vpcd.reader import VpcdLink, VpcdUnreachable
from hardware_mocks.vpcd.slot import VpcdSlot

DEADLINE_S = 20.0
ON, OFF, RESET, ATR = b"\x01", b"\x00", b"\x02", b"\x04"
VERIFY = bytes.fromhex("002000010431323334")
PIN_STATE = bytes.fromhex("0020000100")


class Driver:
    """The driver's side of the protocol."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(DEADLINE_S)
        self.address: tuple[str, int] = self._listener.getsockname()

    def accept(self) -> None:
        """Take a card and power it."""
        self._connection, _ = self._listener.accept()
        self._connection.settimeout(DEADLINE_S)
        self.send(ON)

    def send(self, message: bytes) -> None:
        """Send length and body apart, as vpcd does."""
        self._connection.sendall(len(message).to_bytes(2))
        self._connection.sendall(message)

    def ask(self, message: bytes) -> bytes:
        """Send and return what comes back."""
        self.send(message)
        with self._connection.makefile("rb") as answer:
            return answer.read(int.from_bytes(answer.read(2)))

    def is_hung_up(self) -> bool:
        """Whether the card has left."""
        return self._connection.recv(1) == b""

    def close(self) -> None:
        """Hang up."""
        if hasattr(self, "_connection"):
            self._connection.close()
        self._listener.close()


@pytest.fixture
def driver() -> Iterator[Driver]:
    """A listening driver."""
    driver = Driver()
    yield driver
    driver.close()


@pytest.fixture
def card(igc: FakeIgcSante) -> VirtualCard:
    """A CPS3 of the doctor."""
    return VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"))


def test_the_link_answers_controls_and_commands(driver: Driver, card: VirtualCard) -> None:
    """Only the ATR is answered among the controls; reset and power-off end a verification."""
    with ThreadPoolExecutor(2) as pool:
        accepted = pool.submit(driver.accept)
        link = VpcdLink(card, driver.address)
        accepted.result(DEADLINE_S)
        serving = pool.submit(link.serve)
        assert driver.ask(ATR) == card.atr
        for interruption in (RESET, OFF):
            assert driver.ask(VERIFY) == b"\x90\x00"
            driver.send(interruption)
            assert driver.ask(PIN_STATE) == b"\x63\xc3"
        link.close()
        assert driver.is_hung_up()
        assert serving.result(DEADLINE_S) is True


def test_the_link_ends_when_the_driver_does(driver: Driver, card: VirtualCard) -> None:
    """serve returns False: nobody here pulled the card."""
    with ThreadPoolExecutor(2) as pool:
        accepted = pool.submit(driver.accept)
        link = VpcdLink(card, driver.address)
        accepted.result(DEADLINE_S)
        serving = pool.submit(link.serve)
        driver.close()
        assert serving.result(DEADLINE_S) is False


def test_a_replay_that_differs_leaves(driver: Driver, card: VirtualCard) -> None:
    """Nobody waits for an answer that never comes; the difference is told when it finishes."""
    transcript = Transcript.parse("card: cps3\n> 0084000002\n< AABB9000\n")
    replayed = ReplayedCard(transcript, atr=card.atr, protocol=0)
    slot = VpcdSlot(driver.address)
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(driver.accept)
        slot.insert(replayed)
        accepted.result(DEADLINE_S)
        assert driver.ask(bytes.fromhex("0084000008")) == b""
    slot.pull()
    with pytest.raises(TranscriptBroken, match="said 00 84 00 00 08"):
        replayed.finish()


def test_an_empty_answer_is_a_card_that_left(driver: Driver, card: VirtualCard) -> None:
    """vpcd would wait for the bytes of an answer that has none."""
    slot = VpcdSlot(driver.address)
    with ThreadPoolExecutor(1) as pool:
        accepted = pool.submit(driver.accept)
        slot.insert(card, FaultPlan(Fault(Truncate(0), at(1))))
        accepted.result(DEADLINE_S)
        assert driver.ask(VERIFY) == b""
    assert slot.card is None


def test_no_vpcd_is_said_so(card: VirtualCard) -> None:
    """A port where nobody listens, or where somebody hangs up, is VpcdUnreachable."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = listener.getsockname()
        with ThreadPoolExecutor(1) as pool:
            hung_up = pool.submit(lambda: listener.accept()[0].close())
            with pytest.raises(VpcdUnreachable, match="does not take the card"):
                VpcdLink(card, address)
            hung_up.result(DEADLINE_S)
    with pytest.raises(VpcdUnreachable, match="no vpcd at"):
        VpcdLink(card, address)


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_serve_says_one_line_and_stops_on_a_signal(
    driver: Driver, igc_dir: Path, stop_signal: signal.Signals
) -> None:
    """`serve` prints that the card is in, answers, and exits 0 when interrupted."""
    host, port = driver.address
    command = [sys.executable, "-m", "hardware_mocks", "serve"]
    process = subprocess.Popen(
        [*command, "--persona", "nurse", "--pki", str(igc_dir), "--vpcd", f"{host}:{port}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    try:
        driver.accept()
        assert process.stdout is not None
        assert process.stdout.readline() == f"cps3 of nurse inserted at {host}:{port}\n"
        assert driver.ask(PIN_STATE) == b"\x63\xc3"
        process.send_signal(stop_signal)
        out, err = process.communicate(timeout=DEADLINE_S)
    finally:
        process.kill()
        process.wait(DEADLINE_S)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--persona", "dentist"], "no persona 'dentist'"),
        (["--card", "cps9"], "no kind of card 'cps9'"),
        (["--vpcd", "somewhere"], "not HOST:PORT: 'somewhere'"),
        (["--vpcd", "127.0.0.1:99999"], "not HOST:PORT"),
        (["--vpcd", "127.0.0.1:1"], "no vpcd at 127.0.0.1:1"),
    ],
)
def test_serve_refuses_in_one_line(
    igc_dir: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], complaint: str
) -> None:
    """What can't be served is one clear line on stderr, and exit code 2."""
    assert main(["serve", "--pki", str(igc_dir), *arguments]) == 2
    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_serve_needs_a_fake_igc_sante(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder without one, or with rubbish in it, is one line and exit code 2."""
    assert main(["serve", "--pki", str(tmp_path / "nothing")]) == 2
    assert "no fake IGC-Santé" in capsys.readouterr().err
    (tmp_path / "trust.toml").write_text("rubbish")
    assert main(["serve", "--pki", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("personas/doctor/authentication.key", b"rubbish"),
        ("personas/doctor/authentication.key", "elliptic"),
        ("personas/doctor/authentication.key", "password"),
        ("personas/doctor/signature.key", "other"),
        ("personas/doctor/signature.cer", b""),
        ("personas/nurse/signature.cer", b"0"),
        ("authorities/made.toml", b"at = 5"),
    ],
)
def test_a_damaged_fake_igc_sante(
    igc_dir: Path,
    igc: FakeIgcSante,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    file: str,
    content: bytes | str,
) -> None:
    """Whatever is wrong with a key, a certificate or the date: one line."""
    folder = tmp_path / "pki"
    shutil.copytree(igc_dir, folder)
    key = igc.credentials("nurse").signature_key
    secret: KeySerializationEncryption = NoEncryption()
    if content == "password":
        key, secret = igc.credentials("doctor").authentication_key, BestAvailableEncryption(b"x")
    made = generate_private_key(SECP256R1()) if content == "elliptic" else key
    der = made.private_bytes(Encoding.DER, PrivateFormat.PKCS8, secret)
    (folder / file).write_bytes(content if isinstance(content, bytes) else der)
    assert main(["serve", "--card", "cps4", "--pki", str(folder)]) == 2
    complaint = capsys.readouterr().err
    assert complaint.startswith("hardware_mocks: no fake IGC-Santé in")
    assert complaint.count("\n") == 1


def test_personas_lists_everybody(capsys: pytest.CaptureFixture[str]) -> None:
    """One line each, with what is wrong with them."""
    assert main(["personas"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(PERSONAS)
    assert "certificate: revoked" in next(line for line in lines if line.startswith("revoked"))
    assert "attempts left: 1" in next(line for line in lines if line.startswith("last-attempt"))


@pytest.mark.parametrize(
    ("place", "code", "complaint"),
    [
        ("pipe", 141, ""),
        ("full", 2, "hardware_mocks: cannot write: No space left on device\n"),
    ],
)
def test_nobody_takes_its_output(place: str, code: int, complaint: str) -> None:
    """A pipe whose reader has left is no traceback; a full disk is one line."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as pipe, Path("/dev/full").open("wb") as full:
        out = pipe if place == "pipe" else full
        command = [sys.executable, "-m", "hardware_mocks", "personas"]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (code, complaint)


def test_pki_says_where_it_cannot_write(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    igc: FakeIgcSante,
) -> None:
    """`pki DIR` writes what `serve` reads, and says in one line when it can't."""
    monkeypatch.setattr(FakeIgcSante, "create", lambda: igc)
    assert main(["pki", str(tmp_path / "made")]) == 0
    made = FakeIgcSante.load(tmp_path / "made").credentials("doctor")
    assert made.signature_certificate_der == igc.credentials("doctor").signature_certificate_der
    (tmp_path / "file").touch()
    assert main(["pki", str(tmp_path / "file" / "below")]) == 2
    assert "cannot write" in capsys.readouterr().err

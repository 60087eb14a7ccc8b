"""OpenSC and pcscd, which nobody here wrote, believe the virtual CPS3."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from smartcard import scard

from hardware_mocks.igc.fake_igc import FakeIgcSante
from tests.opensc import needs_login

pytestmark = pytest.mark.system

AUTHENTICATION_ID = "e828bd080f8025000001ff001002"
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
MESSAGE = b"who goes there?"
_SUCCESS = 0  # SCARD_S_SUCCESS


class Inserted(Protocol):
    """What `private_pcscd.insert` returns."""

    reader: str

    def remove(self) -> None:
        """Pull the card."""


class Pcscd(Protocol):
    """What these tests use of `private_pcscd`."""

    env: dict[str, str]
    vpcd_address: tuple[str, int]

    def insert(self, card_kind: str = ..., persona: str = ..., slot: int = ...) -> Inserted:
        """Put a card in."""

    def await_empty(self, reader: str) -> None:
        """Wait until pcscd knows."""

    def kill(self) -> None:
        """End pcscd at once."""

    def start(self) -> None:
        """Start pcscd again."""

    def restart(self) -> None:
        """Stop and start pcscd."""


def run(pcscd: Pcscd, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of OpenSC against the private pcscd."""
    return subprocess.run(command, env=pcscd.env, capture_output=True, text=True, timeout=60)


def sign(pcscd: Pcscd, folder: Path, pin: str) -> subprocess.CompletedProcess[str]:
    """Sign MESSAGE with the authentication key, through OpenSC's module, into a file."""
    (folder / "digest-info").write_bytes(SHA256_INFO + hashlib.sha256(MESSAGE).digest())
    chosen = ["--login", "--pin", pin, "--sign", "--id", AUTHENTICATION_ID, "-m", "RSA-PKCS"]
    files = ["-i", str(folder / "digest-info"), "-o", str(folder / "signature")]
    return run(pcscd, "pkcs11-tool", *chosen, *files)


def test_the_card_is_recognised(private_pcscd: Pcscd) -> None:
    """opensc-tool finds its driver by the ATR that pcscd read."""
    private_pcscd.insert("cps3", "doctor")
    done = run(private_pcscd, "opensc-tool", "--name", "--atr")
    assert "IAS-ECC" in done.stdout, done
    assert "3b:ac:00:40:2a:00:12:25:00:64:80:00:03:10:00:90:00" in done.stdout


def test_pkcs15_is_read_without_a_pin(private_pcscd: Pcscd) -> None:
    """pkcs15-tool -D lists label, PINs, keys, certificates, data objects; no complaint."""
    private_pcscd.insert("cps3", "pharmacist")
    done = run(private_pcscd, "pkcs15-tool", "-D")
    assert done.returncode == 0, done
    for expected in (
        "PKCS#15 Card [CPS3v3-2900090002]",
        "Manufacturer ID: ASIP SANTE",
        "Last update    : 20100316110000Z",
        "Flags          : Read-only, Login required",
        "PIN [Code porteur de la carte CPS]",
        "Private RSA Key [CPS_PRIV_SIG]",
        "Private RSA Key [CPS_PRIV_AUT]",
        "X.509 Certificate [Certificat d'Authentification CPS]",
        "Path           : e828bd080f8025000001ff0010::b002",
        "Data object 'CPS_INFO_PS'",
        "Data object 'CPS_ACTIVITY_01_PS'",
    ):
        assert expected in done.stdout
    assert "rror" not in done.stdout + done.stderr


def test_pkcs11_lists_certificates(private_pcscd: Pcscd, igc: FakeIgcSante) -> None:
    """Both certificates before login, and no private key."""
    private_pcscd.insert("cps3", "doctor")
    before = run(private_pcscd, "pkcs11-tool", "-O")
    assert len(re.findall("Certificate Object", before.stdout)) == 2, before
    assert "Private Key Object" not in before.stdout
    certificate = x509.load_der_x509_certificate(
        igc.credentials("doctor").authentication_certificate_der
    )
    assert f"{certificate.serial_number:X}" in before.stdout


@needs_login
def test_pkcs11_lists_keys(private_pcscd: Pcscd) -> None:
    """Both private keys after login."""
    private_pcscd.insert("cps3", "doctor")
    after = run(private_pcscd, "pkcs11-tool", "--login", "--pin", "1234", "-O")
    assert len(re.findall("Private Key Object", after.stdout)) == 2, after


@needs_login
def test_the_authentication_key_signs(
    private_pcscd: Pcscd, igc: FakeIgcSante, tmp_path: Path
) -> None:
    """A signature made through OpenSC verifies with the card's certificate."""
    private_pcscd.insert("cps3", "doctor")
    done = sign(private_pcscd, tmp_path, "1234")
    assert done.returncode == 0, done
    der = igc.credentials("doctor").authentication_certificate_der
    key = x509.load_der_x509_certificate(der).public_key()
    assert isinstance(key, RSAPublicKey)
    signature = (tmp_path / "signature").read_bytes()
    key.verify(signature, MESSAGE, padding.PKCS1v15(), hashes.SHA256())


@needs_login
def test_three_wrong_pins_then_the_puk(private_pcscd: Pcscd, tmp_path: Path) -> None:
    """Incorrect, incorrect, locked; the right PIN is locked too; the PUK sets a new one."""
    private_pcscd.insert("cps3", "doctor")
    answers = [sign(private_pcscd, tmp_path, pin).stderr for pin in ("0000",) * 3 + ("1234",)]
    assert ["CKR_PIN_LOCKED" in answer for answer in answers] == [False, False, True, True]
    assert all("CKR_PIN_INCORRECT" in answer for answer in answers[:2]), answers
    unblock = ["--unblock-pin", "--puk", "12345678", "--new-pin", "4321"]
    assert run(private_pcscd, "pkcs15-tool", *unblock).returncode == 0
    assert sign(private_pcscd, tmp_path, "4321").returncode == 0
    assert "CKR_PIN_INCORRECT" in sign(private_pcscd, tmp_path, "1234").stderr


@needs_login
def test_the_pin_is_changed(private_pcscd: Pcscd, tmp_path: Path) -> None:
    """The new PIN outlives a restart of pcscd, which takes the card's power."""
    private_pcscd.insert("cps3", "doctor")
    change = ["--change-pin", "--pin", "1234", "--new-pin", "4321"]
    done = run(private_pcscd, "pkcs15-tool", *change)
    assert done.returncode == 0, done
    private_pcscd.restart()
    assert sign(private_pcscd, tmp_path, "4321").returncode == 0


def test_two_cards_in_two_readers(private_pcscd: Pcscd) -> None:
    """Each reader shows its own card; a pulled one is gone and the other stays."""
    doctor = private_pcscd.insert("cps3", "doctor", slot=0)
    private_pcscd.insert("cps3", "nurse", slot=1)
    both = run(private_pcscd, "pkcs11-tool", "-L").stdout
    assert "00000199000001" in both
    assert "00000199000003" in both
    doctor.remove()
    private_pcscd.await_empty(doctor.reader)
    assert "00000199000001" not in run(private_pcscd, "pkcs11-tool", "-L").stdout


def test_serve_finds_an_occupied_slot(private_pcscd: Pcscd, igc_dir: Path) -> None:
    """A second card in a slot is refused in one line; the first one stays readable."""
    private_pcscd.insert("cps3", "doctor")
    host, port = private_pcscd.vpcd_address
    serve = [sys.executable, "-m", "hardware_mocks", "serve", "--vpcd", f"{host}:{port}"]
    done = run(private_pcscd, *serve, "--pki", str(igc_dir))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch("hardware_mocks: .* does not take the card.*\n", done.stderr), done
    assert "IAS-ECC" in run(private_pcscd, "opensc-tool", "--name").stdout


def test_pcscd_is_killed_and_comes_back(private_pcscd: Pcscd) -> None:
    """A card that stayed in its reader is there again."""
    private_pcscd.insert("cps3", "doctor")
    private_pcscd.kill()
    assert "IAS-ECC" not in run(private_pcscd, "opensc-tool", "--name").stdout
    private_pcscd.start()
    assert "IAS-ECC" in run(private_pcscd, "opensc-tool", "--name").stdout


def test_a_command_takes_less_than_a_millisecond(private_pcscd: Pcscd) -> None:
    """Through pcscd and vpcd, while nothing else wants the processor: the best tenth of 200."""
    reader = private_pcscd.insert("cps3", "doctor").reader
    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    assert result == _SUCCESS
    try:
        result, card, _ = scard.SCardConnect(
            context, reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T0
        )
        assert result == _SUCCESS
        times_s = []
        for _ in range(200):
            started = time.perf_counter()
            result, answer = scard.SCardTransmit(
                card, scard.SCARD_PCI_T0, [0x00, 0xB0, 0x9C, 0x00, 0x0C]
            )
            times_s.append(time.perf_counter() - started)
            assert answer[-2:] == [0x90, 0x00]
        scard.SCardDisconnect(card, scard.SCARD_RESET_CARD)
    finally:
        scard.SCardReleaseContext(context)
    assert sorted(times_s)[20] < 0.001

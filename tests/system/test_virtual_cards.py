"""Software that nobody here wrote believes the virtual cards: openssl, GnuTLS, NSS, pcscd."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from smartcard import scard

from hardware_mocks.card.virtual_card import CARD_KINDS, VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PIN, PUK
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.faults import (
    Answer,
    Delay,
    Fault,
    Garbage,
    Hang,
    Moment,
    Pull,
    RestartService,
    Swap,
    Truncate,
    at,
    on,
)
from hardware_mocks.transcripts.cards import check_card
from hardware_mocks.transcripts.transcript import Transcript
from hardware_mocks.vpcd.slot import VpcdSlot
from tests.opensc import needs_login

pytestmark = pytest.mark.system

MODULE = "/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so"
AUTHENTICATION_ID = "e828bd080f8025000001ff001002"
SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")
VECTORS = sorted((Path(__file__).parents[1] / "vectors" / "apdu").glob("*.apdu"))
SECRETS = {"pin": PIN, "puk": PUK, "new": b"4321", "wrong": b"0000"}
DEADLINE_S = 20.0
CHALLENGE = "0084000008"
_SUCCESS = 0  # SCARD_S_SUCCESS
_PROTOCOLS = (scard.SCARD_PROTOCOL_T0, scard.SCARD_PROTOCOL_T1)


class Inserted(Protocol):
    """What `private_pcscd.insert` returns."""

    reader: str

    def remove(self) -> None:
        """Pull the card."""


class Pcscd(Protocol):
    """What these tests use of `private_pcscd`."""

    env: dict[str, str]
    vpcd_address: tuple[str, int]
    readers: tuple[str, ...]

    def insert(self, card_kind: str = ..., persona: object = ..., slot: int = ...) -> Inserted:
        """Put a card in."""

    def make_card(self, card_kind: str, persona: str) -> VirtualCard:
        """Make a card."""

    def kill(self) -> None:
        """End pcscd at once."""

    def start(self) -> None:
        """Start pcscd again."""


def run(
    pcscd: Pcscd, *command: str | Path, pin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a tool against the private pcscd."""
    environment = pcscd.env if pin is None else {**pcscd.env, "GNUTLS_PIN": pin}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)


# --- OpenSC, openssl ---------------------------------------------------------------


def sign_with_opensc(pcscd: Pcscd, folder: Path, message: bytes, slot_label: str) -> Path:
    """Sign with the authentication key of one token, and return the signature's file."""
    digest_info, signature = folder / "digest-info", folder / "signature"
    digest_info.write_bytes(SHA256_INFO + hashlib.sha256(message).digest())
    token = ["--token-label", slot_label, "--login", "--pin", "1234"]
    key = ["--sign", "--id", AUTHENTICATION_ID, "-m", "RSA-PKCS"]
    done = run(pcscd, "pkcs11-tool", *token, *key, "-i", digest_info, "-o", signature)
    assert done.returncode == 0, done
    return signature


def openssl_verifies(folder: Path, der: bytes, message: bytes, signature: Path) -> bool:
    """Whether openssl, given the certificate, accepts the signature."""
    key, text = folder / "key.pem", folder / "message"
    public = x509.load_der_x509_certificate(der).public_key()
    key.write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    text.write_bytes(message)
    command = ["openssl", "dgst", "-sha256", "-verify", key, "-signature", signature, text]
    return subprocess.run(command, capture_output=True, timeout=60).stdout == b"Verified OK\n"


TOKEN = "Code porteur de la carte CPS"


@needs_login
def test_openssl_verifies_what_opensc_signed(
    private_pcscd: Pcscd, igc: FakeIgcSante, tmp_path: Path
) -> None:
    """Login, signature with the authentication key, `openssl dgst -verify`; a forgery is not."""
    private_pcscd.insert("cps3", "doctor")
    message = os.urandom(100)
    signature = sign_with_opensc(private_pcscd, tmp_path, message, token_label(private_pcscd))
    der = igc.credentials("doctor").authentication_certificate_der
    assert openssl_verifies(tmp_path, der, message, signature)
    assert not openssl_verifies(tmp_path, der, message + b"!", signature)


def token_label(pcscd: Pcscd) -> str:
    """Return what OpenSC calls the first token."""
    listed = run(pcscd, "pkcs11-tool", "-L").stdout
    found = re.search(r"token label\s*: (.+?)\s*$", listed, re.MULTILINE)
    assert found, listed
    return found[1]


@needs_login
def test_two_cards_three_processes(private_pcscd: Pcscd, igc: FakeIgcSante, tmp_path: Path) -> None:
    """Three processes sign at once on two cards; each signature is by the card it was asked of."""
    private_pcscd.insert("cps3", "doctor", slot=0)
    private_pcscd.insert("cps3", "nurse", slot=1)
    slots = run(private_pcscd, "pkcs11-tool", "-L").stdout
    numbers = dict(
        zip(("doctor", "nurse"), re.findall(r"Slot \d \((0x\w+)\)", slots), strict=False)
    )
    assert len(numbers) == 2, slots

    def sign(job: tuple[int, str]) -> bool:
        index, persona = job
        folder = tmp_path / str(index)
        folder.mkdir()
        message = os.urandom(64)
        (folder / "in").write_bytes(SHA256_INFO + hashlib.sha256(message).digest())
        token = ["--slot", numbers[persona], "--login", "--pin", "1234"]
        key = ["--sign", "--id", AUTHENTICATION_ID, "-m", "RSA-PKCS"]
        done = run(
            private_pcscd, "pkcs11-tool", *token, *key, "-i", folder / "in", "-o", folder / "out"
        )
        assert done.returncode == 0, done
        der = igc.credentials(persona).authentication_certificate_der
        return openssl_verifies(folder, der, message, folder / "out")

    jobs = list(enumerate(("doctor", "nurse", "doctor", "nurse", "nurse", "doctor")))
    with ThreadPoolExecutor(3) as pool:
        assert all(pool.map(sign, jobs))


# --- GnuTLS, NSS -------------------------------------------------------------------


P11TOOL = ("p11tool", f"--provider={MODULE}")


def token_url(pcscd: Pcscd) -> str:
    """Return what GnuTLS calls the doctor's token."""
    tokens = run(pcscd, *P11TOOL, "--list-token-urls")
    urls = [line for line in tokens.stdout.splitlines() if "serial=00000199000001" in line]
    assert len(urls) == 1, tokens
    return urls[0]


def test_gnutls_lists_the_card(private_pcscd: Pcscd) -> None:
    """p11tool finds the token and its two certificates."""
    private_pcscd.insert("cps3", "doctor")
    everything = run(private_pcscd, *P11TOOL, "--list-all-certs", token_url(private_pcscd))
    assert everything.stdout.count("Label: ") == 2, everything
    assert "Certificat d'Authentification CPS" in everything.stdout


@needs_login
def test_gnutls_lists_the_keys(private_pcscd: Pcscd) -> None:
    """Logged in, p11tool finds the two private keys."""
    private_pcscd.insert("cps3", "doctor")
    login = (*P11TOOL, "--login", "--list-privkeys", token_url(private_pcscd))
    keys = run(private_pcscd, *login, pin="1234")
    assert {"CPS_PRIV_AUT", "CPS_PRIV_SIG"} <= set(re.findall(r"Label: (\S+)", keys.stdout)), keys


def nss_options(pcscd: Pcscd, folder: Path) -> list[str]:
    """Make a database with OpenSC's module in it; return certutil's options, with the PIN."""
    base, word = f"sql:{folder}", folder / "pin"
    word.write_text("1234\n")
    run(pcscd, "certutil", "-N", "-d", base, "--empty-password")
    added = run(pcscd, "modutil", "-force", "-dbdir", base, "-add", "CPS", "-libfile", MODULE)
    assert added.returncode == 0, added
    assert "CPS" in run(pcscd, "modutil", "-dbdir", base, "-list").stdout
    return ["-d", base, "-f", str(word)]


def test_nss_lists_the_card(private_pcscd: Pcscd, tmp_path: Path) -> None:
    """modutil takes OpenSC's module; certutil lists both certificates."""
    private_pcscd.insert("cps3", "doctor")
    options = nss_options(private_pcscd, tmp_path)
    certificates = run(private_pcscd, "certutil", "-L", "-h", "all", *options)
    found = re.findall(
        r"Certificat (?:de Signature|d'Authentification) CPS\s+u,u,u", certificates.stdout
    )
    assert len(found) == 2, certificates


@needs_login
def test_nss_lists_the_keys(private_pcscd: Pcscd, tmp_path: Path) -> None:
    """Logged in, certutil lists both private keys."""
    private_pcscd.insert("cps3", "doctor")
    options = nss_options(private_pcscd, tmp_path)
    keys = run(private_pcscd, "certutil", "-K", "-h", token_label(private_pcscd), *options)
    assert keys.stdout.count("rsa") == 2, keys


# --- Every kind through pcscd ------------------------------------------------------


class ThroughPcscd:
    """A card behind pcscd, as something that a transcript can be compared with."""

    def __init__(self, reader: str, protocol: int) -> None:
        self.protocol = protocol
        self._reader = reader
        self._card = 0
        result, self._context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
        if result != _SUCCESS:
            raise ConnectionError(scard.SCardGetErrorMessage(result))

    def power_on(self) -> None:
        """Connect: pcscd chooses no other protocol than the card's own."""
        result, self._card, active = scard.SCardConnect(
            self._context, self._reader, scard.SCARD_SHARE_EXCLUSIVE, sum(_PROTOCOLS)
        )
        if result != _SUCCESS:
            raise ConnectionError(scard.SCardGetErrorMessage(result))
        assert active == _PROTOCOLS[self.protocol]

    def power_off(self) -> None:
        """Disconnect, taking the card's power."""
        scard.SCardDisconnect(self._card, scard.SCARD_UNPOWER_CARD)

    def reset(self) -> None:
        """Warm reset."""
        result, _ = scard.SCardReconnect(
            self._card, scard.SCARD_SHARE_EXCLUSIVE, sum(_PROTOCOLS), scard.SCARD_RESET_CARD
        )
        assert result == _SUCCESS

    def transmit(self, command: bytes) -> bytes:
        """Send one command."""
        pci = (scard.SCARD_PCI_T0, scard.SCARD_PCI_T1)[self.protocol]
        result, answer = scard.SCardTransmit(self._card, pci, list(command))
        if result != _SUCCESS:
            raise ConnectionError(scard.SCardGetErrorMessage(result))
        if not answer:  # what vpcd makes of a card that left before it answered
            raise ConnectionError("no answer")
        return bytes(answer)

    @property
    def atr(self) -> bytes:
        """Return the answer to reset that pcscd read."""
        _, _, _, _, atr = scard.SCardStatus(self._card)
        return bytes(atr)

    def close(self) -> None:
        """Let go."""
        scard.SCardReleaseContext(self._context)


@pytest.mark.parametrize("kind", sorted(CARD_KINDS))
def test_the_documented_sequences_through_pcscd(private_pcscd: Pcscd, kind: str) -> None:
    """The same answers behind pcscd, under the protocol that it derives from the ATR."""
    profile = CARD_KINDS[kind]
    sequences = [Transcript.parse(path.read_text()) for path in VECTORS]
    for sequence in sequences:
        if sequence.kind != kind and (sequence.kind, kind) != ("cps4", "cps4-rc"):
            continue
        inserted = private_pcscd.insert(kind, "doctor")
        card = ThroughPcscd(inserted.reader, profile.protocol)
        try:
            check_card(sequence, card, SECRETS)
            assert card.atr == profile.atr
            card.power_off()
        finally:
            card.close()
            inserted.remove()
            private_pcscd.await_empty(inserted.reader)  # type: ignore[attr-defined]


# --- Faults behind pcscd -----------------------------------------------------------


@pytest.fixture
def slot(private_pcscd: Pcscd) -> VpcdSlot:
    """The hands at the first slot."""
    return VpcdSlot(private_pcscd.vpcd_address)


def talk(reader: str) -> ThroughPcscd:
    """Connect as soon as pcscd lets us."""
    deadline = time.monotonic() + DEADLINE_S
    while True:
        with contextlib.suppress(ConnectionError):
            card = ThroughPcscd(reader, 0)
            try:
                card.power_on()
            except ConnectionError:
                card.close()
            else:
                return card
        assert time.monotonic() < deadline, "pcscd never let us have the card"
        time.sleep(0.02)


def test_faults_behind_pcscd(private_pcscd: Pcscd, slot: VpcdSlot) -> None:
    """A status word, rubbish, then a pull that eats the answer of a wrong PIN it has counted."""
    card = private_pcscd.make_card("cps3", "doctor")
    plan = FaultPlan(
        Fault(Answer(0x6F00), on("..84")),
        Fault(Garbage(5), on("..B0")),
        Fault(Pull(), on("..20"), Moment.DURING),
        seed=7,
    )
    slot.insert(card, plan)
    try:
        wire = talk(private_pcscd.readers[0])
        assert wire.transmit(bytes.fromhex(CHALLENGE)) == b"\x6f\x00"
        assert len(wire.transmit(bytes.fromhex(CHALLENGE))) == 10
        assert len(wire.transmit(bytes.fromhex("00B09C000C"))) == 5
        with pytest.raises(ConnectionError):
            wire.transmit(bytes.fromhex("002000010430303030"))
        wire.close()
        assert card.pin_attempts_left == 2
        assert slot.card is None
        assert [event.number for event in plan.events] == [1, 3, 4]
    finally:
        slot.pull()


def test_what_arrives_behind_pcscd(private_pcscd: Pcscd, slot: VpcdSlot) -> None:
    """Late, cut, longer than any answer; none at all is a card that left, and pcscd goes on."""
    card = private_pcscd.make_card("cps3", "doctor")
    actions = (Delay(0.05), Hang(0.05), Truncate(1), Garbage(299), Truncate(0))
    plan = FaultPlan(*(Fault(action, at(i)) for i, action in enumerate(actions, 1)), seed=7)
    slot.insert(card, plan)
    try:
        wire = talk(private_pcscd.readers[0])
        sizes = [len(wire.transmit(bytes.fromhex(CHALLENGE))) for _ in actions[:-1]]
        assert sizes == [10, 10, 1, 299]
        with pytest.raises(ConnectionError):
            wire.transmit(bytes.fromhex(CHALLENGE))
        wire.close()
        assert slot.card is None
        assert [event.number for event in plan.events] == [1, 2, 3, 4, 5]
        await_true(lambda: run(private_pcscd, "opensc-tool", "-l").returncode == 0, "it hangs")
    finally:
        slot.pull()


def events(pcscd: Pcscd) -> int:
    """Return how often pcscd saw a card come or go in the first reader; -1 while it is down."""
    result, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    if result != _SUCCESS:
        return -1
    try:
        asked = [(pcscd.readers[0], scard.SCARD_STATE_UNAWARE)]
        result, states = scard.SCardGetStatusChange(context, 0, asked)
        return states[0][1] >> 16 if result == _SUCCESS else -1
    finally:
        scard.SCardReleaseContext(context)


def await_true(condition: Callable[[], bool], what: str) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.mark.parametrize("moment", Moment)
def test_swapped_behind_pcscd(private_pcscd: Pcscd, slot: VpcdSlot, moment: Moment) -> None:
    """pcscd counts a removal and an insertion; the old connection is dead, the new card answers."""
    first = private_pcscd.make_card("cps3", "doctor")
    other = private_pcscd.make_card("cps3", "nurse")
    slot.insert(first, FaultPlan(Fault(Swap(other), on("..84"), moment)))
    try:
        wire = talk(private_pcscd.readers[0])
        before = events(private_pcscd)
        if moment is Moment.AFTER:
            assert len(wire.transmit(bytes.fromhex(CHALLENGE))) == 10
        else:
            with pytest.raises(ConnectionError):
                wire.transmit(bytes.fromhex(CHALLENGE))
        await_true(lambda: events(private_pcscd) >= before + 2, "pcscd saw no swap")
        with pytest.raises(ConnectionError):
            wire.transmit(bytes.fromhex("00B09C000C"))
        wire.close()
        wire = talk(private_pcscd.readers[0])
        assert bytes.fromhex(other.serial) in wire.transmit(bytes.fromhex("00B09C000C"))
        wire.close()
    finally:
        slot.pull()


def test_restarted_behind_pcscd(private_pcscd: Pcscd) -> None:
    """pcscd is killed and started at the chosen command; the card that stayed in is found."""
    is_answered, is_back = threading.Event(), threading.Event()

    def restart() -> None:
        is_answered.wait(DEADLINE_S)  # pcscd has the answer, and passes it on when it likes
        private_pcscd.kill()
        private_pcscd.start()
        is_back.set()

    slot = VpcdSlot(private_pcscd.vpcd_address, restart_service=restart)
    card = private_pcscd.make_card("cps3", "doctor")
    slot.insert(card, FaultPlan(Fault(RestartService(), on("..84"), Moment.AFTER)))
    try:
        wire = talk(private_pcscd.readers[0])
        assert len(wire.transmit(bytes.fromhex(CHALLENGE))) == 10
        is_answered.set()
        assert is_back.wait(DEADLINE_S)
        with pytest.raises(ConnectionError):
            wire.transmit(bytes.fromhex("00B09C000C"))
        wire.close()
        wire = talk(private_pcscd.readers[0])
        assert bytes.fromhex(card.serial) in wire.transmit(bytes.fromhex("00B09C000C"))
        wire.close()
    finally:
        slot.pull()

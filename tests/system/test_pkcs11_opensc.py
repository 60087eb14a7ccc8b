"""Log in through OpenSC's PKCS#11 module with the virtual CPS3 behind the real pcscd."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from cps_auth.card.open import open_cards
from cps_auth.card.pcsc.service import PcscService
from cps_auth.card.pkcs11.source import Pkcs11Cards
from cps_auth.errors import (
    CardMisbehaved,
    CardRemoved,
    LastAttempt,
    ModuleCannotLogIn,
    ModuleUnusable,
    NoAuthenticationCertificate,
    NoCard,
    NoReader,
    PinBlocked,
    ReaderServiceLost,
    SeveralCards,
    UnsupportedCard,
    WrongPin,
)
from cps_auth.model import CardEvent, CardEventKind, CardKind
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from tests.opensc import LOGS_IN, needs_login

pytestmark = pytest.mark.system

OPENSC = Path("/usr/lib/x86_64-linux-gnu/opensc-pkcs11.so")
VERIFY, INTERNAL_AUTHENTICATE = 0x20, 0x88
VERIFY_STATUS = bytes.fromhex("0020000100")  # 9000 when verified, as OpenSC asks


def _nothing() -> None:
    return


def _children() -> set[int]:
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


class WatchedCard(VirtualCard):
    """A virtual card that keeps what it was sent, and can be pulled at one command."""

    def __init__(self, igc: FakeIgcSante, persona: str = "doctor") -> None:
        super().__init__(PERSONAS[persona], igc.credentials(persona))
        self.commands: list[bytes] = []
        self.before: dict[int, Callable[[], None]] = {}  # by INS
        self.pull_before: int | None = None  # the INS of a command that never arrives
        self.pull_after: int | None = None  # the INS of a command whose answer never arrives

    def transmit(self, command: bytes) -> bytes:
        """Answer, unless it is time to go: the link ends at an OSError."""
        is_verify_status = command[1] == VERIFY and len(command) <= 5
        ins = None if is_verify_status else command[1]
        if ins is not None and ins == self.pull_before:
            raise ConnectionAbortedError
        self.before.get(command[1], _nothing)()
        self.commands.append(command)
        answer = super().transmit(command)
        if ins is not None and ins == self.pull_after:
            raise ConnectionAbortedError
        return answer

    def presentations(self) -> int:
        """Return how many times a PIN was presented."""
        return sum(command[1] == VERIFY and len(command) > 5 for command in self.commands)


@pytest.fixture
def make_card(igc: FakeIgcSante) -> Callable[..., WatchedCard]:
    """Make a watched card of a persona."""
    return lambda persona="doctor": WatchedCard(igc, persona)


@needs_login
def test_the_same_holder_as_natively(private_pcscd, challenge) -> None:
    """OpenSC finds the certificate that we find without it, and its key signs."""
    inserted = private_pcscd.insert("cps3", "doctor")
    with open_cards().open_card() as native:
        expected = native.read_authentication_certificate()
    with open_cards(OPENSC).open_card() as card:
        assert card.description.kind is CardKind.VENDOR_MODULE
        assert card.description.reader == inserted.reader
        assert card.read_authentication_certificate() == expected
        signature = card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    key = x509.load_der_x509_certificate(expected).public_key()
    assert isinstance(key, RSAPublicKey)
    key.verify(signature.value, challenge.message(), PKCS1v15(), SHA256())


def test_a_cps_that_the_module_does_not_know(private_pcscd) -> None:
    """That is what is said of a CPS4, not that it is no CPS."""
    private_pcscd.insert("cps4")
    with pytest.raises(UnsupportedCard) as refused:
        open_cards(OPENSC).open_card()
    assert refused.value.cause == "module"


@needs_login
def test_a_module_that_fails_with_a_card_that_it_shows(private_pcscd, challenge) -> None:
    """A CPS4 under T=0 is shown and cannot log in: the module is named, not a dirty chip."""
    inserted = private_pcscd.insert("cps4-t0")
    with open_cards(OPENSC).open_card() as card:
        assert card.read_authentication_certificate()
        with pytest.raises(CardMisbehaved) as refused:
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    assert refused.value.cause == "module"
    assert inserted.card.pin_attempts_left == 3


@pytest.mark.skipif(LOGS_IN, reason="this OpenSC logs in")
def test_an_opensc_that_cannot_log_in(private_pcscd, make_card, challenge) -> None:
    """It is said to be the module's fault, the card sees no PIN, and its certificate can be read.

    Once this fails, OpenSC can log in again: `tests.opensc` and docs/card.md are to say since when.
    """
    watched = make_card()
    private_pcscd.insert(persona=watched)
    with open_cards(OPENSC).open_card() as card:
        assert card.read_authentication_certificate()
        for use in (
            lambda: card.verify_pin_and_sign(bytearray(b"1234"), challenge),
            lambda: card.change_pin(bytearray(b"1234"), bytearray(b"4321")),
        ):
            with pytest.raises(ModuleCannotLogIn, match=r"OpenSC 0\.\d\d"):
                use()
    assert watched.presentations() == 0
    assert watched.pin_attempts_left == 3


@needs_login
def test_nothing_stays_verified(private_pcscd, make_card, challenge) -> None:
    """The PIN is presented once, and after the proof the card has forgotten it."""
    watched = make_card()
    private_pcscd.insert(persona=watched)
    with open_cards(OPENSC).open_card() as card:
        card.verify_pin_and_sign(bytearray(b"1234"), challenge)
        assert watched.transmit(VERIFY_STATUS) == bytes.fromhex("63C3")
    assert watched.presentations() == 1


@needs_login
def test_a_wrong_pin_spends_one_attempt(private_pcscd, make_card, challenge) -> None:
    """Each refusal costs exactly one, the last is asked for, and the right PIN restores all."""
    watched = make_card()
    private_pcscd.insert(persona=watched)
    with open_cards(OPENSC).open_card() as card:
        for left in (2, 1):
            with pytest.raises(WrongPin) as refused:
                card.verify_pin_and_sign(bytearray(b"4321"), challenge)
            assert watched.pin_attempts_left == left
            assert refused.value.attempts_left in (None, left)
        assert refused.value.attempts_left == 1
        with pytest.raises(LastAttempt):
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)
        assert watched.pin_attempts_left == 1
        card.verify_pin_and_sign(bytearray(b"1234"), challenge, last_attempt_allowed=True)
    assert watched.pin_attempts_left == 3
    assert watched.presentations() == 3


@needs_login
def test_the_last_attempt_can_be_lost(private_pcscd, make_card, challenge) -> None:
    """On an explicit word the last attempt is used; then the card is blocked and left alone."""
    watched = make_card("last-attempt")
    private_pcscd.insert(persona=watched)
    with open_cards(OPENSC).open_card() as card:
        assert card.pin_attempts_left() == 1
        with pytest.raises((WrongPin, PinBlocked)):
            card.verify_pin_and_sign(bytearray(b"4321"), challenge, last_attempt_allowed=True)
        assert watched.pin_attempts_left == 0
        with pytest.raises(PinBlocked):
            card.verify_pin_and_sign(bytearray(b"1234"), challenge, last_attempt_allowed=True)
    assert watched.presentations() == 1


@needs_login
def test_a_blocked_card_is_left_alone(private_pcscd, make_card, challenge) -> None:
    """The flags say locked: no PIN is sent, whatever the caller says."""
    watched = make_card("pin-blocked")
    private_pcscd.insert(persona=watched)
    with open_cards(OPENSC).open_card() as card:
        assert card.pin_attempts_left() == 0
        with pytest.raises(PinBlocked):
            card.verify_pin_and_sign(bytearray(b"1234"), challenge, last_attempt_allowed=True)
    assert watched.presentations() == 0


@needs_login
@pytest.mark.parametrize("when", ["pull_before", "pull_after"])
@pytest.mark.parametrize("ins", [VERIFY, INTERNAL_AUTHENTICATE])
def test_a_card_pulled_during_the_proof(private_pcscd, make_card, challenge, when, ins) -> None:
    """Card removed, within two seconds; put back, it logs in."""
    watched = make_card()
    inserted = private_pcscd.insert(persona=watched)
    setattr(watched, when, ins)
    with open_cards(OPENSC).open_card() as card:
        start = monotonic()
        with pytest.raises(CardRemoved):
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)
        assert monotonic() - start < 2
    inserted.remove()
    private_pcscd.await_empty(inserted.reader)
    private_pcscd.insert(persona=make_card())
    with open_cards(OPENSC).open_card() as card:
        card.verify_pin_and_sign(bytearray(b"1234"), challenge)


@needs_login
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_child_struck_during_the_proof(private_pcscd, make_card, challenge, number) -> None:
    """Killed or stopped with the card verified: refused in time, the card has forgotten the PIN,
    nothing of it stays locked in pcscd, and the next login works.
    """
    watched = make_card()
    private_pcscd.insert(persona=watched)
    before = _children()
    cards = Pkcs11Cards(OPENSC, PcscService, sign_deadline_s=1.5)
    with cards.open_card() as card:
        (child,) = _children() - before
        watched.before[INTERNAL_AUTHENTICATE] = lambda: os.kill(child, number)
        start = monotonic()
        with pytest.raises(ModuleUnusable):
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)
        assert monotonic() - start < 5
        watched.before.clear()
        assert watched.transmit(VERIFY_STATUS) == bytes.fromhex("63C3")
        card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    assert _children() == before


@pytest.mark.parametrize("back", ["doctor", "nurse"])
def test_a_card_that_left_is_another_card(private_pcscd, make_card, challenge, back) -> None:
    """Swapped, or pulled and put back: what was opened is removed, and sees no PIN."""
    inserted = private_pcscd.insert(persona=make_card())
    with open_cards(OPENSC).open_card() as card:
        inserted.remove()
        private_pcscd.await_empty(inserted.reader)
        other = make_card(back)
        private_pcscd.insert(persona=other)
        for use in (card.read_authentication_certificate, card.pin_attempts_left):
            with pytest.raises(CardRemoved):
                use()
        with pytest.raises(CardRemoved):
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    assert other.presentations() == 0


def test_no_card_and_no_such_reader(private_pcscd) -> None:
    """An empty reader and a missing one are told apart."""
    cards = open_cards(OPENSC)
    with pytest.raises(NoCard):
        cards.open_card()
    with pytest.raises(NoCard):
        cards.open_card(private_pcscd.readers[1])
    with pytest.raises(NoReader):
        cards.open_card("no such reader")


def test_two_cards_must_be_told_apart(private_pcscd, make_card) -> None:
    """Without a reader's name both are named; with one, its card is opened."""
    for slot, persona in enumerate(("doctor", "nurse")):
        private_pcscd.insert(persona=make_card(persona), slot=slot)
    cards = open_cards(OPENSC)
    with pytest.raises(SeveralCards) as several:
        cards.open_card()
    assert several.value.readers == tuple(sorted(private_pcscd.readers))
    with cards.open_card(private_pcscd.readers[1]) as card:
        assert card.description.reader == private_pcscd.readers[1]


def test_a_card_without_an_authentication_certificate(private_pcscd, make_card) -> None:
    """It is a CPS, so that is what is said."""
    private_pcscd.insert(persona=make_card("signature-only"))
    with pytest.raises(NoAuthenticationCertificate):
        open_cards(OPENSC).open_card()


def test_pcscd_gone(private_pcscd, challenge) -> None:
    """Without the service nobody can tell: lost, when opening, listing and proving."""
    private_pcscd.insert("cps3", "doctor")
    cards = open_cards(OPENSC)
    with cards.open_card() as card:
        private_pcscd.stop()
        with pytest.raises(ReaderServiceLost):
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    with pytest.raises(ReaderServiceLost):
        cards.open_card()
    with pytest.raises(ReaderServiceLost):
        cards.readers()


def test_readers_and_events_are_those_of_pcsc(private_pcscd) -> None:
    """The module is not asked who is there."""
    inserted = private_pcscd.insert("cps3", "doctor")
    cards = open_cards(OPENSC)
    states = {state.name: state.atr for state in cards.readers()}
    assert states == dict.fromkeys(private_pcscd.readers) | {inserted.reader: inserted.card.atr}
    removed = threading.Event()

    def listen(event: CardEvent) -> None:
        if event.kind is CardEventKind.CARD_REMOVED and event.reader == inserted.reader:
            removed.set()

    watch = cards.watch(listen)
    inserted.remove()
    assert removed.wait(5)
    watch.stop()

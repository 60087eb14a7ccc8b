"""The real pcscd dies, other programs meddle, and the native adapter keeps its word."""

from __future__ import annotations

import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from smartcard import scard

from cps_auth.card import watch
from cps_auth.card.open import open_cards
from cps_auth.card.pcsc import service as pcsc
from cps_auth.card.pcsc import transport as pcsc_transport
from cps_auth.card.pcsc.service import PcscService
from cps_auth.errors import (
    CardBusy,
    CardMisbehaved,
    CardRemoved,
    CpsAuthError,
    NoReader,
    ReaderServiceLost,
)
from cps_auth.model import CardEvent, CardEventKind, Challenge
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.faults import Fault, Hang, on
from hardware_mocks.vpcd.slot import VpcdSlot
from tests.contract.promises import log_in

pytestmark = pytest.mark.system

K = CardEventKind
DEADLINE_S = 20.0
PIN_STATE = list(bytes.fromhex("0020000100"))  # VERIFY without data


class OtherProgram:
    """Another program that shares the card through its own connection."""

    def __init__(self, reader: str) -> None:
        _, self._context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
        code, self.handle, _ = scard.SCardConnect(
            self._context, reader, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T0
        )
        assert code == 0

    def reset_card(self) -> None:
        """Reset the card under everybody else."""
        assert self._reconnect(scard.SCARD_RESET_CARD) == 0

    def pin_status(self) -> bytes:
        """Ask the card whether its PIN is verified."""
        assert self._reconnect(scard.SCARD_LEAVE_CARD) == 0
        code, answer = scard.SCardTransmit(self.handle, scard.SCARD_PCI_T0, PIN_STATE)
        assert code == 0
        return bytes(answer)

    def transmit(self, command: bytes) -> bytes:
        """Send one command."""
        code, answer = scard.SCardTransmit(self.handle, scard.SCARD_PCI_T0, list(command))
        assert code == 0
        return bytes(answer)

    @contextmanager
    def holding_the_card(self) -> Iterator[None]:
        """Keep everybody else off the card."""
        assert scard.SCardBeginTransaction(self.handle) == 0
        yield
        scard.SCardEndTransaction(self.handle, scard.SCARD_LEAVE_CARD)

    def _reconnect(self, disposition: int) -> int:
        code, _ = scard.SCardReconnect(
            self.handle, scard.SCARD_SHARE_SHARED, scard.SCARD_PROTOCOL_T0, disposition
        )
        return code

    def close(self) -> None:
        """Leave."""
        scard.SCardDisconnect(self.handle, scard.SCARD_LEAVE_CARD)
        scard.SCardReleaseContext(self._context)


@pytest.fixture
def other_program(private_pcscd: Any) -> Iterator[OtherProgram]:
    """Another program, connected to a doctor's card in the first reader."""
    program = OtherProgram(private_pcscd.insert().reader)
    yield program
    program.close()


def _handles() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _await_handles(at_most: int) -> None:
    """Wait until no more than so many are open: what a thread leaves is closed as it ends."""
    deadline = time.monotonic() + DEADLINE_S
    while _handles() > at_most:
        assert time.monotonic() < deadline, f"{_handles()} handles, not {at_most}"
        time.sleep(0.05)


class Heard:
    """A listener with the time at which each event was heard."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[tuple[float, CardEvent]] = queue.SimpleQueue()

    def __call__(self, event: CardEvent) -> None:
        """Take one event."""
        self._events.put((time.monotonic(), event))

    def await_kind(self, kind: CardEventKind) -> tuple[float, CardEvent]:
        """Return the next event, which must be of this kind once readers were told."""
        when, event = self._events.get(timeout=DEADLINE_S)
        while event.kind in (K.READER_ADDED, K.READER_GONE) and event.kind is not kind:
            when, event = self._events.get(timeout=DEADLINE_S)
        assert event.kind is kind
        return when, event


def test_watcher_outlives_pcscd(private_pcscd: Any) -> None:
    """pcscd killed: told within milliseconds; back: told, with the card that is still there."""
    heard = Heard()
    watcher = open_cards().watch(heard)
    inserted = private_pcscd.insert()
    _, event = heard.await_kind(K.CARD_INSERTED)
    assert (event.reader, event.atr) == (inserted.reader, inserted.card.atr)
    killed = time.monotonic()
    private_pcscd.kill()
    when, event = heard.await_kind(K.SERVICE_LOST)
    assert when - killed < 0.5
    assert event.reason
    private_pcscd.start()
    heard.await_kind(K.SERVICE_BACK)
    _, event = heard.await_kind(K.CARD_INSERTED)
    inserted.remove()
    heard.await_kind(K.CARD_REMOVED)
    watcher.stop()
    heard.await_kind(K.WATCHER_STOPPED)


def test_removal_is_told_at_once(private_pcscd: Any) -> None:
    """The watcher tells a removal when pcscd tells anybody: beside a bare SCardGetStatusChange."""
    delays_s = []
    for _ in range(5):
        inserted = private_pcscd.insert()
        heard = Heard()
        watcher = open_cards().watch(heard)
        heard.await_kind(K.CARD_INSERTED)
        known: queue.SimpleQueue[float] = queue.SimpleQueue()
        bare = threading.Thread(target=_await_removal, args=(inserted.reader, known))
        bare.start()
        inserted.remove()
        told, _event = heard.await_kind(K.CARD_REMOVED)
        delays_s.append(told - known.get(timeout=DEADLINE_S))
        bare.join()
        watcher.stop()
        private_pcscd.await_empty(inserted.reader)
    print(f"after pcscd: {[round(delay_s * 1000, 2) for delay_s in delays_s]} ms")
    assert sorted(delays_s)[2] < 0.02


def _await_removal(reader: str, known: queue.SimpleQueue[float]) -> None:
    _, context = scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)
    expected = [(reader, scard.SCARD_STATE_PRESENT)]
    while True:
        _, states = scard.SCardGetStatusChange(context, 20000, expected)
        if not states[0][1] & scard.SCARD_STATE_PRESENT:
            break
        expected = [(reader, states[0][1])]
    known.put(time.monotonic())
    scard.SCardReleaseContext(context)


def test_watcher_before_pcscd(private_pcscd: Any) -> None:
    """A watcher started without pcscd says so, and sees the readers when it comes."""
    private_pcscd.stop()
    heard = Heard()
    watcher = open_cards().watch(heard)
    heard.await_kind(K.SERVICE_LOST)
    private_pcscd.start()
    heard.await_kind(K.SERVICE_BACK)
    heard.await_kind(K.READER_ADDED)
    watcher.stop()
    heard.await_kind(K.WATCHER_STOPPED)


def test_watcher_sleeps(private_pcscd: Any) -> None:
    """With a card in use by another program the watcher waits, and does not poll."""
    private_pcscd.insert()
    service = PcscService()
    seen = service.snapshot()
    began = time.thread_time()
    assert service.wait_for_change(seen, 1.0) == seen
    assert time.thread_time() - began < 0.1
    service.close()


def test_cancel(private_pcscd: Any) -> None:
    """A wait ends within milliseconds of its cancellation, whenever that comes."""
    service = PcscService()
    seen = service.snapshot()
    service.cancel()
    assert service.wait_for_change(seen, DEADLINE_S) == seen
    for delay_s in (0.0, 0.001, 0.05):
        began = time.monotonic()
        canceller = threading.Timer(delay_s, service.cancel)
        canceller.start()
        service.wait_for_change(seen, DEADLINE_S)
        canceller.join()
        assert time.monotonic() - began < 1.0
    service.close()
    assert private_pcscd.readers


def test_no_pcscd(private_pcscd: Any) -> None:
    """Without pcscd every question says that nobody can tell."""
    card_left_open = (private_pcscd.insert(), open_cards().open_card())[1]
    private_pcscd.kill()
    with pytest.raises(ReaderServiceLost):
        card_left_open.pin_attempts_left()
    card_left_open.close()
    for ask in (open_cards().readers, open_cards().open_card):
        with pytest.raises(ReaderServiceLost):
            ask()


def test_pcscd_that_ends_between_operations(private_pcscd: Any, challenge: Challenge) -> None:
    """pcscd --auto-exit, and a program that stays: each operation finds the next pcscd."""
    inserted = private_pcscd.insert()
    cards = open_cards()
    for _ in range(2):
        with cards.open_card() as card:
            card.verify_pin_and_sign(bytearray(b"1234"), challenge)
        private_pcscd.restart()
        assert {state.name for state in cards.readers()} == set(private_pcscd.readers)
        private_pcscd.restart()
    private_pcscd.stop()
    with pytest.raises(ReaderServiceLost):
        cards.open_card()
    private_pcscd.start()
    with cards.open_card() as card:
        assert card.pin_attempts_left() == 3
    assert inserted.card.pin_attempts_left == 3


def test_unknown_reader(private_pcscd: Any) -> None:
    """A reader that does not exist is named."""
    assert private_pcscd.readers
    with pytest.raises(NoReader) as caught:
        open_cards().open_card("Nobody's reader")
    assert caught.value.reader == "Nobody's reader"


def test_card_reset_by_another_program(other_program: OtherProgram, challenge: Challenge) -> None:
    """A reset by another program between two operations does no harm."""
    with open_cards().open_card() as card:
        other_program.reset_card()
        assert card.pin_attempts_left() == 3
        other_program.reset_card()
        assert card.read_authentication_certificate()
        other_program.reset_card()
        assert len(card.verify_pin_and_sign(bytearray(b"1234"), challenge).value) == 256


def test_other_programs_find_nothing_verified(
    other_program: OtherProgram, challenge: Challenge
) -> None:
    """After a proof the card asks any other program for the PIN again."""
    with open_cards().open_card() as card:
        card.verify_pin_and_sign(bytearray(b"1234"), challenge)
        assert other_program.pin_status() == bytes.fromhex("63C3")


def test_card_held_by_another_program(
    other_program: OtherProgram, challenge: Challenge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A card that another program keeps is busy, not waited for for ever, and free afterwards."""
    monkeypatch.setattr(pcsc, "BUSY_AFTER_S", 0.3)
    monkeypatch.setattr(pcsc_transport, "BUSY_AFTER_S", 0.3)
    with open_cards().open_card() as card:
        with other_program.holding_the_card():
            with pytest.raises(CardBusy):
                card.verify_pin_and_sign(bytearray(b"1234"), challenge)
            with pytest.raises(CardBusy):
                open_cards().open_card()
        with pytest.raises(CardRemoved):
            card.pin_attempts_left()  # given up: it must be opened again
    with open_cards().open_card() as card:
        assert card.pin_attempts_left() == 3


def test_reset_does_not_hide_a_swap(private_pcscd: Any) -> None:
    """A card swapped, and the new one reset by another program, is not taken for the old one."""
    first = private_pcscd.insert(persona="doctor")
    with open_cards().open_card() as card:
        first.remove()
        private_pcscd.await_empty(first.reader)
        private_pcscd.insert(persona="nurse")
        program = OtherProgram(first.reader)
        program.reset_card()
        with pytest.raises(CardRemoved):
            card.read_authentication_certificate()
        program.close()


@pytest.mark.parametrize("header", ["00B09C00", "00200001", "00880000"])
def test_card_that_never_answers(
    private_pcscd: Any, igc: FakeIgcSante, challenge: Challenge, header: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A card that hangs is given up in bounded time; pulled and inserted again, it logs in."""
    monkeypatch.setattr(pcsc_transport, "ANSWER_S", 0.5)
    card = VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"))
    slot = VpcdSlot(private_pcscd.vpcd_address)
    plan = FaultPlan(Fault(Hang(), on(header)))
    slot.insert(card, plan)
    reader = private_pcscd.readers[0]
    private_pcscd.await_card(reader)
    began = time.monotonic()
    with pytest.raises(CardMisbehaved), open_cards().open_card() as opened:
        opened.verify_pin_and_sign(bytearray(b"1234"), challenge)
    assert time.monotonic() - began < 4.0
    plan.cancel()
    slot.pull()
    private_pcscd.await_empty(reader)
    slot.insert(card)
    private_pcscd.await_card(reader)
    with open_cards().open_card() as opened:
        opened.verify_pin_and_sign(bytearray(b"1234"), challenge)
    assert card.pin_attempts_left == 3
    slot.pull()


@pytest.mark.parametrize("header", ["00B0", "00200001", "00880000"])
def test_pcscd_killed_during_a_login(private_pcscd: Any, challenge: Challenge, header: str) -> None:
    """kill -9 in the middle of a login: refused at once; the watcher comes back; it logs in."""
    heard = Heard()
    watcher = open_cards().watch(heard)
    inserted = private_pcscd.insert()
    heard.await_kind(K.CARD_INSERTED)
    before = bytes.fromhex(header)
    real = inserted.card.transmit

    def transmit(command: bytes) -> bytes:
        if command.startswith(before) and command != bytes(PIN_STATE):
            inserted.card.transmit = real
            private_pcscd.kill()
        return real(command)

    inserted.card.transmit = transmit
    began = time.monotonic()
    with pytest.raises((ReaderServiceLost, CardRemoved)):
        log_in(open_cards(), challenge)
    assert time.monotonic() - began < 2.0
    heard.await_kind(K.SERVICE_LOST)
    private_pcscd.start()
    heard.await_kind(K.SERVICE_BACK)
    heard.await_kind(K.CARD_INSERTED)
    with open_cards().open_card() as card:
        card.verify_pin_and_sign(bytearray(b"1234"), challenge)
    assert inserted.card.pin_attempts_left == 3
    watcher.stop()


def test_pcscd_stopped(private_pcscd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pcscd that hangs (SIGSTOP) is lost after a deadline, not waited for; then it serves."""
    private_pcscd.insert()
    card = open_cards().open_card()
    monkeypatch.setattr(pcsc, "_ANSWER_S", 0.3)
    monkeypatch.setattr(pcsc_transport, "ANSWER_S", 0.3)
    monkeypatch.setattr(pcsc_transport, "BUSY_AFTER_S", 0.3)
    os.kill(private_pcscd.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        for ask in (open_cards().readers, open_cards().open_card):
            with pytest.raises(ReaderServiceLost):
                ask()
        with pytest.raises(CpsAuthError):
            card.pin_attempts_left()
        card.close()
        assert time.monotonic() - began < 4.0
    finally:
        os.kill(private_pcscd.pid, signal.SIGCONT)
    monkeypatch.undo()
    monkeypatch.setenv("PCSCLITE_CSOCK_NAME", private_pcscd.env["PCSCLITE_CSOCK_NAME"])
    with open_cards().open_card() as card:
        assert card.pin_attempts_left() == 3


def test_watcher_of_a_stopped_pcscd(private_pcscd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pcscd that hangs is told as lost although it closes nothing, and then as back."""
    monkeypatch.setattr(pcsc, "_ANSWER_S", 0.3)
    monkeypatch.setattr(watch, "_WAIT_S", 0.3)
    private_pcscd.insert()
    heard = Heard()
    watcher = open_cards().watch(heard)
    heard.await_kind(K.CARD_INSERTED)
    os.kill(private_pcscd.pid, signal.SIGSTOP)
    try:
        _, lost = heard.await_kind(K.SERVICE_LOST)
        assert "does not answer" in lost.reason
    finally:
        os.kill(private_pcscd.pid, signal.SIGCONT)
    heard.await_kind(K.SERVICE_BACK)
    heard.await_kind(K.CARD_INSERTED)
    watcher.stop()
    heard.await_kind(K.WATCHER_STOPPED)


def test_watcher_stopped_with_a_stopped_pcscd(
    private_pcscd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A watcher ends although the pcscd that it waits for hangs; what it left behind ends too."""
    monkeypatch.setattr(watch, "_WAIT_S", 3.0)
    heard = Heard()
    before, threads = _handles(), set(threading.enumerate())
    watcher = open_cards().watch(heard)
    heard.await_kind(K.READER_ADDED)
    os.kill(private_pcscd.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        watcher.stop()
        assert time.monotonic() - began < pcsc._ANSWER_S
        heard.await_kind(K.SERVICE_LOST)
        heard.await_kind(K.WATCHER_STOPPED)
    finally:
        os.kill(private_pcscd.pid, signal.SIGCONT)
    for thread in set(threading.enumerate()) - threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), thread.name
    _await_handles(before)


def test_a_busy_card_leaves_no_connection(
    other_program: OtherProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each card that was given up because another program kept it is let go of afterwards."""
    monkeypatch.setattr(pcsc, "BUSY_AFTER_S", 0.2)
    open_cards().readers()
    before, threads = _handles(), set(threading.enumerate())
    with other_program.holding_the_card():
        for _ in range(5):
            with pytest.raises(CardBusy):
                open_cards().open_card()
    for thread in set(threading.enumerate()) - threads:
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), thread.name
    _await_handles(before)
    with open_cards().open_card() as card:
        assert card.pin_attempts_left() == 3

"""The in-process PC/SC behaves as the contracts of `cps_auth.card.port` say."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from cps_auth.card.port import ReaderService, Transport
from cps_auth.errors import CardBusy, CardRemoved, CpsAuthError, NoCard, NoReader, ReaderServiceLost
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.virtual_readers import VirtualReaders

READER = "Virtual reader"
VERIFY = bytes.fromhex("002000010431323334")
PIN_STATE = bytes.fromhex("0020000100")
DEADLINE_S = 10.0


@pytest.fixture
def card(igc: FakeIgcSante) -> VirtualCard:
    """A CPS3 of the doctor."""
    return VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"))


@pytest.fixture
def readers(card: VirtualCard) -> VirtualReaders:
    """One reader with the doctor's card in it."""
    readers = VirtualReaders(READER)
    readers.insert(READER, card)
    return readers


@pytest.fixture
def service(readers: VirtualReaders) -> ReaderService:
    """One context."""
    return readers.service()


def test_a_snapshot_names_readers_and_cards(readers: VirtualReaders, card: VirtualCard) -> None:
    """Each reader with the ATR of its card, and a count that rises with every change."""
    readers.add_reader("empty")
    states = readers.service().snapshot().readers
    assert [(state.name, state.atr, state.event_count) for state in states] == [
        (READER, card.atr, 1),
        ("empty", None, 0),
    ]


def test_a_swap_for_itself_is_visible(
    readers: VirtualReaders, service: ReaderService, card: VirtualCard
) -> None:
    """The same card again gives another count: PC/SC counts both events."""
    before = service.snapshot()
    readers.swap(READER, card)
    after = service.snapshot()
    assert after.readers[0].event_count == before.readers[0].event_count + 2


@pytest.mark.parametrize(
    "change",
    [
        lambda readers: readers.remove(READER),
        lambda readers: readers.add_reader("another"),
        lambda readers: readers.drop_reader(READER),
    ],
)
def test_a_change_wakes_the_waiting_thread(
    readers: VirtualReaders, service: ReaderService, change: Callable[[VirtualReaders], None]
) -> None:
    """wait_for_change sleeps until then and returns what is."""
    before = service.snapshot()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.wait_for_change, before, DEADLINE_S)
        change(readers)
        after = waiting.result(DEADLINE_S)
    assert after != before
    assert after == service.snapshot()


def test_a_wait_ends_in_time(service: ReaderService) -> None:
    """Nothing changed: the same snapshot after the timeout."""
    before = service.snapshot()
    assert service.wait_for_change(before, 0.01) == before


def test_cancel_ends_this_wait_and_the_next(service: ReaderService) -> None:
    """A cancel that comes before the wait is not lost, and is spent once."""
    before = service.snapshot()
    service.cancel()
    started = time.monotonic()
    assert service.wait_for_change(before, DEADLINE_S) == before
    assert time.monotonic() - started < DEADLINE_S / 2
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.wait_for_change, before, DEADLINE_S)
        service.cancel()
        assert waiting.result(DEADLINE_S / 2) == before


def test_a_stopped_service_wakes_waiters_and_stays_dead(
    readers: VirtualReaders, service: ReaderService
) -> None:
    """Contexts and connections of before never work again; new ones find the card."""
    transport = service.connect(READER)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(service.wait_for_change, service.snapshot(), DEADLINE_S)
        readers.stop_service()
        with pytest.raises(ReaderServiceLost):
            waiting.result(DEADLINE_S)
    made_while_down = readers.service()
    readers.start_service()
    for dead in (service, made_while_down):
        with pytest.raises(ReaderServiceLost):
            dead.snapshot()
    with pytest.raises(ReaderServiceLost):
        transport.transmit(PIN_STATE)
    transport.close()
    assert readers.service().connect(READER).transmit(PIN_STATE) == b"\x63\xc3"


def test_connect_says_what_is_missing(readers: VirtualReaders, service: ReaderService) -> None:
    """No reader of that name, no card in it, no service any more."""
    with pytest.raises(NoReader):
        service.connect("nowhere")
    readers.remove(READER)
    with pytest.raises(NoCard):
        service.connect(READER)
    service.close()
    service.close()
    with pytest.raises(ReaderServiceLost):
        service.connect(READER)


@pytest.mark.parametrize("action", ["remove", "swap", "drop_reader"])
def test_a_connection_ends_with_its_card(
    readers: VirtualReaders, service: ReaderService, card: VirtualCard, action: str
) -> None:
    """Pulled, swapped or unplugged: CardRemoved for ever, even when the card comes back."""
    transport = service.connect(READER)
    transport.transmit(VERIFY)
    getattr(readers, action)(*((READER, card) if action == "swap" else (READER,)))
    for _ in range(2):
        with pytest.raises(CardRemoved):
            transport.transmit(PIN_STATE)
    with pytest.raises(CardRemoved), transport.exclusive():
        pass
    transport.reset()
    transport.close()
    if action == "remove":
        readers.insert(READER, card)
        with pytest.raises(CardRemoved):
            transport.transmit(PIN_STATE)
    assert card.transmit(PIN_STATE) == b"\x63\xc3"


def test_closing_leaves_the_card_to_others(service: ReaderService, card: VirtualCard) -> None:
    """A connection that verified nothing ends nobody's session."""
    neighbour, transport = service.connect(READER), service.connect(READER)
    assert neighbour.transmit(VERIFY) == b"\x90\x00"
    transport.close()
    assert card.is_pin_verified
    assert neighbour.transmit(PIN_STATE) == b"\x90\x00"


def test_closing_resets_the_card_after_a_pin(service: ReaderService, card: VirtualCard) -> None:
    """What was verified is forgotten; closing twice is allowed, sending afterwards is not."""
    transport = service.connect(READER)
    transport.will_verify()
    assert transport.transmit(VERIFY) == b"\x90\x00"
    transport.close()
    transport.close()
    assert card.transmit(PIN_STATE) == b"\x63\xc3"
    with pytest.raises(CardRemoved):
        transport.transmit(PIN_STATE)


def test_reset_keeps_this_connection_and_stops_the_others(service: ReaderService) -> None:
    """Who asked goes on with a card that forgot everything; others must take it anew."""
    mine, other = service.connect(READER), service.connect(READER)
    assert mine.transmit(VERIFY) == b"\x90\x00"
    mine.reset()
    assert mine.transmit(PIN_STATE) == b"\x63\xc3"
    with pytest.raises(CardRemoved):
        other.transmit(PIN_STATE)
    with other.exclusive():
        assert other.transmit(PIN_STATE) == b"\x63\xc3"


def test_exclusive_keeps_others_off(service: ReaderService) -> None:
    """Inside the block another connection is told that the card is busy, and cannot reset it."""
    mine, other = service.connect(READER), service.connect(READER)
    with mine.exclusive(), mine.exclusive():
        mine.transmit(VERIFY)
        with pytest.raises(CardBusy):
            other.transmit(PIN_STATE)
        with pytest.raises(CardBusy), other.exclusive():
            pass
        other.reset()
        assert mine.transmit(PIN_STATE) == b"\x90\x00"
    with other.exclusive():
        assert other.transmit(PIN_STATE) == b"\x90\x00"


def test_exclusive_waits_a_moment_for_its_turn(readers: VirtualReaders) -> None:
    """A short block of another thread delays, and does not fail."""
    mine = readers.service().connect(READER)
    waits = threading.Event()

    def take_turn(other: Transport) -> bytes:
        waits.set()
        with other.exclusive():
            return other.transmit(PIN_STATE)

    with ThreadPoolExecutor(1) as pool:
        with mine.exclusive():
            turn = pool.submit(take_turn, readers.service().connect(READER))
            assert waits.wait(DEADLINE_S)
        assert turn.result(DEADLINE_S) == b"\x63\xc3"


def test_the_hook_can_pull_the_card_before_a_command(
    readers: VirtualReaders, service: ReaderService
) -> None:
    """The command does not reach the card, so no PIN attempt is spent."""

    def pull_before_the_second(number: int, _command: bytes) -> None:
        if number == 2:
            readers.remove(READER)

    readers.before_transmit = pull_before_the_second
    transport = service.connect(READER)
    transport.transmit(PIN_STATE)
    with pytest.raises(CardRemoved):
        transport.transmit(bytes.fromhex("002000010430303030"))
    assert readers.apdu_count == 1


def test_no_pin_is_recorded(readers: VirtualReaders, service: ReaderService) -> None:
    """Commands are recorded with a star for each byte of a PIN; the hook sees no more."""
    seen: list[bytes] = []
    readers.before_transmit = lambda _number, command: seen.append(command)
    transport = service.connect(READER)
    for command_hex in ("002000010431323334", "00240001083132333434333231", "002C02010434333231"):
        transport.transmit(bytes.fromhex(command_hex))
    transport.transmit(bytes.fromhex("0084000008"))
    assert tuple(seen) == readers.commands
    assert [command.hex() for command in readers.commands] == [
        "00200001042a2a2a2a",
        "00240001082a2a2a2a2a2a2a2a",
        "002c0201042a2a2a2a",
        "0084000008",
    ]


def test_hands_make_no_nonsense(readers: VirtualReaders, card: VirtualCard) -> None:
    """A second card, a second reader of the same name, or an unknown one is refused."""
    with pytest.raises(ValueError, match="there is a card"):
        readers.insert(READER, card)
    with pytest.raises(ValueError, match="there is a reader"):
        readers.add_reader(READER)
    with pytest.raises(KeyError):
        readers.remove("nowhere")


def test_many_threads_and_a_restless_hand(readers: VirtualReaders, card: VirtualCard) -> None:
    """Swapped and restarted by another thread: each outcome is an answer or an error of ours."""
    stop = threading.Event()
    answered = [0, 0]

    def use(worker: int) -> None:
        while not stop.is_set():
            try:
                transport = readers.service().connect(READER)
                try:
                    with transport.exclusive():
                        assert transport.transmit(VERIFY) == b"\x90\x00"
                        answered[worker] += 1
                finally:
                    transport.close()
            except CpsAuthError:
                continue

    with ThreadPoolExecutor(2) as pool:
        workers = [pool.submit(use, worker) for worker in range(2)]
        deadline = time.monotonic() + DEADLINE_S
        try:
            while min(answered) < 20 and time.monotonic() < deadline:
                readers.swap(READER, card)
                readers.stop_service()
                readers.start_service()
                time.sleep(0.001)  # lets the workers in between
        finally:
            stop.set()
        for worker in workers:
            worker.result(DEADLINE_S)
    assert min(answered) >= 20
    assert card.pin_attempts_left == 3

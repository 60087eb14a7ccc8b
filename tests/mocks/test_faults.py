"""Faults around the commands of a card in a virtual reader."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cps_auth.card.port import Transport
from cps_auth.errors import CardMisbehaved, CardRemoved, CpsAuthError, ReaderServiceLost
from hardware_mocks.card.virtual_card import VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.fault_plan import FaultPlan, random_plan
from hardware_mocks.readers.fault_text import parse_fault
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
from hardware_mocks.readers.virtual_readers import VirtualReaders

READER = "Reader"
DEADLINE_S = 20.0
WRONG = bytes.fromhex("002000010430303030")
RIGHT = bytes.fromhex("002000010431323334")
CHALLENGE = bytes.fromhex("0084000008")


@pytest.fixture
def card(igc: FakeIgcSante) -> VirtualCard:
    """The doctor's CPS3."""
    return VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"))


@pytest.fixture
def readers(card: VirtualCard) -> VirtualReaders:
    """One reader with the doctor's card."""
    readers = VirtualReaders(READER)
    readers.insert(READER, card)
    return readers


@pytest.fixture
def connect(readers: VirtualReaders) -> Callable[[], Transport]:
    """Connect to the card in the reader."""
    return lambda: readers.service().connect(READER)


@pytest.mark.parametrize(
    ("moment", "attempts_left", "arrives"),
    [(Moment.BEFORE, 3, False), (Moment.DURING, 2, False), (Moment.AFTER, 2, True)],
)
def test_pulled_around_a_wrong_pin(
    readers: VirtualReaders,
    connect: Callable[[], Transport],
    card: VirtualCard,
    moment: Moment,
    attempts_left: int,
    arrives: bool,
) -> None:
    """Before: nothing is spent; during: an attempt is, unseen; after: it is, and seen."""
    plan = FaultPlan(Fault(Pull(), at(2), moment))
    readers.arm(READER, plan)
    transport = connect()
    transport.transmit(CHALLENGE)
    if arrives:
        assert transport.transmit(WRONG) == b"\x63\xc2"
    else:
        with pytest.raises(CardRemoved):
            transport.transmit(WRONG)
    with pytest.raises(CardRemoved):
        transport.transmit(CHALLENGE)
    assert card.pin_attempts_left == attempts_left
    assert [event.number for event in plan.events] == [2]
    assert plan.events[0].header_hex == "00200001"


def test_swapped_within_one_poll(
    readers: VirtualReaders, connect: Callable[[], Transport], igc: FakeIgcSante
) -> None:
    """The old connection ends, the new card answers new ones, and PC/SC counted two events."""
    other = VirtualCard(PERSONAS["nurse"], igc.credentials("nurse"))
    readers.arm(READER, FaultPlan(Fault(Swap(other), on("..84"), Moment.AFTER)))
    before = readers.service().snapshot().readers[0]
    transport = connect()
    assert len(transport.transmit(CHALLENGE)) == 10
    with pytest.raises(CardRemoved):
        transport.transmit(CHALLENGE)
    after = readers.service().snapshot().readers[0]
    assert (after.atr, after.event_count - before.event_count) == (before.atr, 2)
    assert b"\x99\x00\x00\x03" in connect().transmit(bytes.fromhex("00B09C000C"))


def test_the_service_is_killed_and_comes_back(
    readers: VirtualReaders, connect: Callable[[], Transport], card: VirtualCard
) -> None:
    """The command that was under way is lost, connections are dead, new ones find the card."""
    readers.arm(READER, FaultPlan(Fault(RestartService(), at(1), Moment.DURING)))
    transport = connect()
    with pytest.raises(ReaderServiceLost):
        transport.transmit(WRONG)
    assert card.pin_attempts_left == 2
    assert len(connect().transmit(CHALLENGE)) == 10


def test_a_status_word_once_and_always(
    readers: VirtualReaders, connect: Callable[[], Transport]
) -> None:
    """The card does not see the command that is answered for it."""
    readers.arm(READER, FaultPlan(Fault(Answer(0x6982), on("..20")), Fault(Answer(0x6F00), at(3))))
    transport = connect()
    assert transport.transmit(WRONG) == b"\x69\x82"
    assert transport.transmit(WRONG) == b"\x63\xc2"
    assert transport.transmit(CHALLENGE) == b"\x6f\x00"
    always = FaultPlan(Fault(Answer(0x6983, b"\x01"), on("0020 00.1", always=True)))
    readers.arm(READER, always)
    assert [transport.transmit(RIGHT) for _ in range(3)] == [b"\x01\x69\x83"] * 3
    assert always.count == 3
    readers.arm(READER, None)
    assert transport.transmit(RIGHT) == b"\x90\x00"


def test_answers_are_spoiled(readers: VirtualReaders, connect: Callable[[], Transport]) -> None:
    """Cut, replaced by rubbish, or too short to be an answer at all."""
    readers.arm(
        READER,
        FaultPlan(Fault(Truncate(3), at(1)), Fault(Garbage(7), at(2)), Fault(Truncate(1), at(3))),
    )
    transport = connect()
    assert len(transport.transmit(CHALLENGE)) == 3
    assert len(transport.transmit(CHALLENGE)) == 7
    with pytest.raises(CardMisbehaved):
        transport.transmit(CHALLENGE)


def test_garbage_repeats_itself(readers: VirtualReaders, connect: Callable[[], Transport]) -> None:
    """The seed decides the bytes; another seed, other bytes."""

    def rubbish(seed: int) -> bytes:
        readers.arm(READER, FaultPlan(Fault(Garbage(9), at(1)), seed=seed))
        return connect().transmit(CHALLENGE)

    assert rubbish(1) == rubbish(1) != rubbish(2)


def test_a_delay_delays(readers: VirtualReaders, connect: Callable[[], Transport]) -> None:
    """The card takes its time; others can look at the readers meanwhile."""
    readers.arm(READER, FaultPlan(Fault(Delay(0.05), at(1))))
    transport = connect()
    started = time.monotonic()
    assert len(transport.transmit(CHALLENGE)) == 10
    assert time.monotonic() - started >= 0.05


@pytest.mark.parametrize("end", ["cancel", "pull", "limit"])
def test_a_hang_ends(
    readers: VirtualReaders, connect: Callable[[], Transport], card: VirtualCard, end: str
) -> None:
    """By the plan, by pulling the card, or by itself; a pulled card never saw the command."""
    plan = FaultPlan(Fault(Hang(0.05 if end == "limit" else DEADLINE_S), at(1)))
    readers.arm(READER, plan)
    transport = connect()
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(transport.transmit, WRONG)
        deadline = time.monotonic() + DEADLINE_S
        while not plan.events and time.monotonic() < deadline:
            threading.Event().wait(0.001)
        if end == "pull":
            readers.remove(READER)
            with pytest.raises(CardRemoved):
                hanging.result(DEADLINE_S / 2)
            assert card.pin_attempts_left == 3
        else:
            if end == "cancel":
                plan.cancel()
            assert hanging.result(DEADLINE_S / 2) == b"\x63\xc2"


def test_no_pin_is_recorded(readers: VirtualReaders, connect: Callable[[], Transport]) -> None:
    """An event holds the header of its command and nothing else of it."""
    plan = FaultPlan(Fault(Answer(0x6983), on("..20", always=True)))
    readers.arm(READER, plan)
    connect().transmit(RIGHT)
    assert "31323334" not in repr(plan.events)
    assert "1234" not in repr(plan.events)


@pytest.mark.parametrize("header", ["", "2", "xyz", "0020000104"])
def test_a_header_is_one_to_four_bytes(header: str) -> None:
    """Anything else is refused when the plan is written, not when it should happen."""
    with pytest.raises(ValueError, match="not the first bytes"):
        on(header)


def test_an_unknown_reader_is_not_armed(readers: VirtualReaders) -> None:
    """A plan for nobody is a mistake."""
    with pytest.raises(KeyError):
        readers.arm("nowhere", FaultPlan())


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_seed_is_a_plan(igc: FakeIgcSante, seed: int) -> None:
    """The same seed gives the same faults and the same course, which ends in errors of ours."""

    def course() -> tuple[object, ...]:
        readers = VirtualReaders(READER)
        readers.insert(READER, VirtualCard(PERSONAS["doctor"], igc.credentials("doctor")))
        plan = random_plan(seed, 6, count=3)
        readers.arm(READER, plan)
        seen: list[object] = []
        for command in (CHALLENGE[:4] + b"\0", WRONG, RIGHT, WRONG, WRONG, RIGHT):
            try:
                transport = readers.service().connect(READER)
                seen.append(transport.transmit(command)[-2:])
                transport.close()
            except CpsAuthError as error:
                seen.append(type(error))
                if readers.service().snapshot().readers[0].atr is None:
                    break
        return (*seen[1:], plan.events, plan.faults)

    assert course() == course()


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("pull@#12", Fault(Pull(), at(12))),
        ("pull:during@..88", Fault(Pull(), on("..88"), Moment.DURING)),
        ("answer=6982@002A9E9A+", Fault(Answer(0x6982), on("002A9E9A", always=True))),
        ("answer=CAFE9000@00", Fault(Answer(0x9000, b"\xca\xfe"), on("00"))),
        ("delay=0.5@#1", Fault(Delay(0.5), at(1))),
        ("hang@0020", Fault(Hang(), on("0020"))),
        ("hang=5:after@0020", Fault(Hang(5), on("0020"), Moment.AFTER)),
        ("truncate=1@#3", Fault(Truncate(1), at(3))),
        ("garbage=20@#3", Fault(Garbage(20), at(3))),
    ],
)
def test_a_fault_as_text(text: str, fault: Fault) -> None:
    """What the command line takes is the same object."""
    assert parse_fault(text) == fault


@pytest.mark.parametrize(
    "text",
    [
        "", "pull", "pull=1@#1", "pull@#0", "pull@#1+", "pull@", "pull@zz", "pull:soon@#1",
        "fly@#1", "fly=1@#1", "answer@#1", "answer=69@#1", "answer=xyz@#1", "delay=x@#1",
        "delay=-1@#1", "truncate=999@#1", "garbage=1.5@#1", "pull@0020000131", "pull@#A", "pull@#.",
    ],
)  # fmt: skip
def test_what_is_no_fault(text: str) -> None:
    """Refused with the text itself, before anything is inserted."""
    with pytest.raises(ValueError, match="not a fault: "):
        parse_fault(text)

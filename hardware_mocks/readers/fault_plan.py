"""Carries faults out around the commands of one card, and records them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from hardware_mocks.card.command import hide_pin
from hardware_mocks.card.virtual_card import Insertable
from hardware_mocks.readers.faults import (
    Action,
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
)

_POLL_S = 0.005
_HEADER_BYTES = 4
_AROUND = (Pull, Swap, RestartService)  # the actions to which the moment matters


class Hands(Protocol):
    """The hands that take cards out, put them in, and end services: different for each link."""

    def pull(self) -> None:
        """Pull the card, if it is there."""

    def swap(self, card: Insertable) -> None:
        """Put another card in its place, before anybody can look."""

    def restart_service(self) -> None:
        """Kill the reader service and start it again; the card stays in the reader."""

    def is_present(self) -> bool:
        """Return whether the card that is being talked to is still in the reader, and served."""


@dataclass(frozen=True, slots=True)
class FaultEvent:
    """One thing that went wrong, and at which command; no PIN in it."""

    number: int
    header_hex: str
    fault: Fault


class AnswerLost(Exception):
    """The command reached the card and nothing came back. Each link says so in its own way."""


@dataclass(frozen=True, slots=True)
class CommandOutcome:
    """The answer that arrives, and what happens once it has."""

    answer: bytes
    then: Callable[[], None]


class FaultPlan:
    """Faults around the commands of one reader. Used once; safe from several threads."""

    def __init__(self, *faults: Fault, seed: int = 0) -> None:
        """Plan the faults.

        Args:
            faults: in the order in which they happen when several fall on one command.
            seed: of the bytes of `Garbage`.
        """
        self.faults = faults
        self.seed = seed
        self._random = random.Random(seed)  # noqa: S311 - must repeat itself
        self._mutex = threading.Lock()
        self._cancelled = threading.Event()
        self._spent: set[int] = set()
        self._events: list[FaultEvent] = []
        self._count = 0

    @property
    def events(self) -> tuple[FaultEvent, ...]:
        """Return what happened so far."""
        with self._mutex:
            return tuple(self._events)

    @property
    def count(self) -> int:
        """Return how many commands came by."""
        with self._mutex:
            return self._count

    def cancel(self) -> None:
        """End the delay or hang of now at once, and every later one."""
        self._cancelled.set()

    def carry_out(
        self, command: bytes, hands: Hands, transmit: Callable[[bytes], bytes]
    ) -> CommandOutcome:
        """Send one command with whatever goes wrong around it.

        Args:
            command: as the host sent it.
            hands: of the link.
            transmit: the way to the card; raises what the link raises when it is gone.

        Raises:
            AnswerLost: something happened during the command.
        """
        faults = self._due(command)
        for fault in faults:
            if fault.moment is Moment.BEFORE or not isinstance(fault.action, _AROUND):
                self._do(fault.action, hands)
        answer = _replacement(faults)
        if answer is None:
            answer = self._spoil(transmit(command), faults)
        if self._do_all(Moment.DURING, faults, hands):
            raise AnswerLost
        return CommandOutcome(answer, lambda: self._finish(faults, hands))

    def _due(self, command: bytes) -> list[Fault]:
        """Count the command and return its faults; each is recorded."""
        header = hide_pin(command)[:_HEADER_BYTES]
        due = []
        with self._mutex:
            self._count += 1
            for index, fault in enumerate(self.faults):
                if index in self._spent or not fault.when.holds(self._count, header):
                    continue
                if not fault.when.always:
                    self._spent.add(index)
                due.append(fault)
                self._events.append(FaultEvent(self._count, header.hex().upper(), fault))
        return due

    def _do(self, action: Action, hands: Hands) -> None:
        if isinstance(action, Pull):
            hands.pull()
        elif isinstance(action, Swap):
            hands.swap(action.card)
        elif isinstance(action, RestartService):
            hands.restart_service()
        elif isinstance(action, Delay):
            self._wait(action.seconds, hands)
        elif isinstance(action, Hang):
            self._wait(action.limit_s, hands)

    def _wait(self, seconds: float, hands: Hands) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and hands.is_present():
            if self._cancelled.wait(min(left, _POLL_S)):
                return

    def _do_all(self, moment: Moment, faults: list[Fault], hands: Hands) -> bool:
        chosen = [f for f in faults if f.moment is moment and isinstance(f.action, _AROUND)]
        for fault in chosen:
            self._do(fault.action, hands)
        return bool(chosen)

    def _finish(self, faults: list[Fault], hands: Hands) -> None:
        self._do_all(Moment.AFTER, faults, hands)

    def _spoil(self, answer: bytes, faults: list[Fault]) -> bytes:
        for fault in faults:
            if isinstance(fault.action, Truncate):
                answer = answer[: fault.action.size]
            elif isinstance(fault.action, Garbage):
                with self._mutex:
                    answer = self._random.randbytes(fault.action.size)
        return answer


def _replacement(faults: list[Fault]) -> bytes | None:
    answers = (fault.action for fault in faults if isinstance(fault.action, Answer))
    return next((found.data + found.status_word.to_bytes(2) for found in answers), None)


_STATUS_WORDS = (
    *(0x6300, 0x63C0, 0x63C1, 0x63C2, 0x6581, 0x6700, 0x6881, 0x6900, 0x6982, 0x6983, 0x6984),
    *(0x6985, 0x6A80, 0x6A82, 0x6A86, 0x6A88, 0x6B00, 0x6C10, 0x6D00, 0x6E00, 0x6F00, 0x9000),
)


def random_plan(seed: int, commands: int, *, count: int = 1) -> FaultPlan:
    """Return a plan that the seed decides alone; no swap, whose card somebody must choose.

    Args:
        seed: the same one, the same plan.
        commands: how many commands the faults are spread over.
        count: how many faults.
    """
    rng = random.Random(seed)  # noqa: S311 - must repeat itself
    makers: tuple[Callable[[], Action], ...] = (
        Pull,
        RestartService,
        lambda: Answer(rng.choice(_STATUS_WORDS)),
        lambda: Delay(rng.random() / 20),
        lambda: Truncate(rng.randrange(4)),
        lambda: Garbage(rng.randrange(300)),
    )
    faults = [
        Fault(rng.choice(makers)(), at(rng.randrange(commands) + 1), rng.choice(list(Moment)))
        for _ in range(count)
    ]
    return FaultPlan(*faults, seed=seed)

"""Faults between a reader and its card, as objects: planned, repeatable, recorded.

    plan = FaultPlan(
        Fault(Answer(0x6982), on("002A9E9A")),  # the first signature is refused
        Fault(Pull(), at(12), Moment.DURING),  # the twelfth answer never arrives
    )
    readers.arm("Reader", plan)  # in this process
    VpcdSlot(address).insert(card, plan)  # behind the real pcscd
    ...
    print(plan.events)

A plan counts commands from 1. What it does is decided by the plan and its seed alone.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass

from hardware_mocks.card.virtual_card import Insertable

HANG_LIMIT_S = 30.0


class Moment(enum.Enum):
    """When, around one command, a fault happens."""

    BEFORE = "before"  # the command never reaches the card
    DURING = "during"  # it does, and its answer is lost
    AFTER = "after"  # the answer arrives, and then


# --- What happens ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pull:
    """The card leaves the reader."""


@dataclass(frozen=True, slots=True)
class Swap:
    """Another card takes its place within one poll."""

    card: Insertable


@dataclass(frozen=True, slots=True)
class RestartService:
    """The reader service dies and comes back."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The card does not carry the command out, and answers this."""

    status_word: int
    data: bytes = b""


@dataclass(frozen=True, slots=True)
class Delay:
    """The card takes its time."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Hang:
    """The card does not answer until it is pulled, the plan is cancelled, or the limit."""

    limit_s: float = HANG_LIMIT_S


@dataclass(frozen=True, slots=True)
class Truncate:
    """The card carries the command out, and only the first bytes of its answer arrive.

    Behind pcscd no bytes at all is a card that leaves: vpcd has no word for it.
    """

    size: int


@dataclass(frozen=True, slots=True)
class Garbage:
    """The card carries the command out; random bytes arrive in place of its answer."""

    size: int


Action = Pull | Swap | RestartService | Answer | Delay | Hang | Truncate | Garbage


# --- When it happens ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class When:
    """Which command. Made by `at` and `on`."""

    number: int | None = None
    header: str | None = None  # hexadecimal of its first bytes, `.` for any digit
    always: bool = False

    def holds(self, number: int, header: bytes) -> bool:
        """Return whether this is the command."""
        if self.number is not None:
            return number == self.number
        return re.match(self.header or "", header.hex().upper()) is not None


def at(number: int) -> When:
    """Return "at the n-th command", from 1."""
    return When(number=number)


def on(header: str, *, always: bool = False) -> When:
    """Return "at the first command that begins so", or at each one.

    Args:
        header: hexadecimal of up to four bytes, `.` for any digit: "..20" is every VERIFY.
        always: not only at the first.

    Raises:
        ValueError: not such a text.
    """
    text = header.replace(" ", "").upper()
    if not re.fullmatch(r"[0-9A-F.]{2,8}", text):
        raise ValueError(f"not the first bytes of a command: {header!r}")
    return When(header=text, always=always)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    action: Action
    when: When
    moment: Moment = Moment.BEFORE  # for pulls, swaps and restarts

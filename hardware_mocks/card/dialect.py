"""The dialect of a family of cards: the differences between IAS-ECC (CPS3) and ChipDoc (CPS4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hardware_mocks.card.command import Command

if TYPE_CHECKING:
    from hardware_mocks.card.session import Session

Handler = Callable[["Session", Command], bytes]
"""Carries one command out and returns its data; refuses with `status_words.Refusal`."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The commands of a family, and the rules of its PIN commands."""

    commands: Mapping[int, Handler]  # by INS
    says_verified: bool  # an empty VERIFY answers 9000 after the PIN, not 63Cx
    reference_mask: int  # bits of P2 that tell which PIN
    change_modes: frozenset[int]  # P1 of CHANGE REFERENCE DATA: 00 old and new, 01 new alone
    unblock_modes: frozenset[int]  # P1 of RESET RETRY COUNTER: 02 new PIN, 03 counter alone
    unblocking_lets_change: bool  # a new PIN may follow RESET RETRY COUNTER by itself

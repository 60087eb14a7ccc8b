"""The rules that protect attempts, in one place. Every adapter calls them before VERIFY."""

from __future__ import annotations

from dataclasses import dataclass

from cps_auth.errors import (
    LastAttempt,
    LastPukAttempt,
    PinBlocked,
    PinMalformed,
    PukBlocked,
    PukMalformed,
    WrongPin,
    WrongPuk,
)


@dataclass(frozen=True, slots=True)
class PinKind:
    """One of the two codes of a card's holder: its length, and its errors."""

    digits: int
    malformed: type[PinMalformed | PukMalformed]
    last: type[LastAttempt | LastPukAttempt]
    wrong: type[WrongPin | WrongPuk]
    blocked: type[PinBlocked | PukBlocked]


PIN = PinKind(4, PinMalformed, LastAttempt, WrongPin, PinBlocked)
"""The code porteur has exactly four digits (ANS, carte CPS; EF.AODF: min 4, max 4)."""
PUK = PinKind(8, PukMalformed, LastPukAttempt, WrongPuk, PukBlocked)
"""The code de déblocage has exactly eight (ANS, carte CPS; EF.AODF: stored 8)."""


def check_shape(typed: bytearray, kind: PinKind) -> None:
    """Let only as many ASCII digits through as the code has.

    Raises:
        PinMalformed, PukMalformed: anything else, the empty one included.
    """
    if len(typed) != kind.digits or not all(0x30 <= digit <= 0x39 for digit in typed):
        raise kind.malformed


def check_attempts(left: int | None, *, last_attempt_allowed: bool, kind: PinKind = PIN) -> None:
    """Decide from the counter, just read, whether a code may be sent.

    Args:
        left: attempts left, None when the card did not say.
        last_attempt_allowed: the person was told that it may be the last, and said yes.
        kind: which one.

    Raises:
        PinBlocked, PukBlocked: no attempt is left.
        LastAttempt, LastPukAttempt: one is left, or the card did not say, and it was not
            allowed.
    """
    if left is not None and left <= 0:
        raise kind.blocked
    if (left is None or left == 1) and not last_attempt_allowed:
        raise kind.last(left)

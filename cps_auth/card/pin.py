"""The rules that protect PIN attempts, in one place. Every adapter calls both before VERIFY."""

from __future__ import annotations

from cps_auth.errors import LastAttempt, PinBlocked, PinMalformed

PIN_DIGITS = 4
"""The code porteur has exactly four digits (ANS, carte CPS; EF.AODF: min 4, max 4)."""


def check_pin_shape(pin: bytearray) -> None:
    """Let only four ASCII digits through.

    Raises:
        PinMalformed: anything else, the empty PIN included.
    """
    if len(pin) != PIN_DIGITS or not all(0x30 <= digit <= 0x39 for digit in pin):
        raise PinMalformed


def check_attempts(left: int | None, *, last_attempt_allowed: bool) -> None:
    """Decide from the counter, just read, whether a PIN may be sent.

    Args:
        left: attempts left, None when the card did not say.
        last_attempt_allowed: the person was told that it may be the last, and said yes.

    Raises:
        PinBlocked: no attempt is left.
        LastAttempt: one is left, or the card did not say, and it was not allowed.
    """
    if left is not None and left <= 0:
        raise PinBlocked
    if (left is None or left == 1) and not last_attempt_allowed:
        raise LastAttempt(left)

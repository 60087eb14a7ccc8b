"""The errors of unblocking a card with its PUK; a part of the tree of `cps_auth.errors`."""

from __future__ import annotations

from cps_auth.errors.root import PinRefused


class WrongPuk(PinRefused):
    """The card compared the unblocking code (PUK) and said no: an attempt was spent."""

    code = "wrong-puk"
    attempts_left: int | None  # attempts before it is useless, None when the card did not say


class PukMalformed(PinRefused):
    """Not eight digits. It never reached the card: no attempt was spent."""

    code = "puk-malformed"


class LastPukAttempt(PinRefused):
    """One PUK attempt left, or unknown, and the caller did not say to use it. Nothing was sent."""

    code = "last-puk-attempt"
    attempts_left: int | None = 1  # 1, or None when the card did not say


class PukBlocked(PinRefused):
    """No PUK attempt is left: the PIN can never be unblocked again."""

    code = "puk-blocked"


class NewPinsDiffer(PinRefused):
    """The new PIN was typed twice, and not the same. Nothing was sent."""

    code = "new-pins-differ"

"""The two guards that stand before every VERIFY."""

from __future__ import annotations

import pytest

from cps_auth.card.pin import PIN, PUK, check_attempts, check_shape
from cps_auth.errors import (
    LastAttempt,
    LastPukAttempt,
    PinBlocked,
    PinMalformed,
    PukBlocked,
    PukMalformed,
)


@pytest.mark.parametrize(
    "pin",
    [b"", b"123", b"12345", b"123a", b" 123", b"12.4", b"\x00123", "١٢".encode(), b"\xff" * 4],
)
def test_malformed(pin: bytes) -> None:
    """Only four ASCII digits pass, and the refusal does not repeat what was typed."""
    with pytest.raises(PinMalformed) as caught:
        check_shape(bytearray(pin), PIN)
    assert caught.value.data() == {}


def test_four_digits_pass() -> None:
    """Any four digits pass, and stay as they are."""
    for text in (b"0000", b"1234", b"9999"):
        pin = bytearray(text)
        check_shape(pin, PIN)
        assert pin == text


@pytest.mark.parametrize("allowed", [False, True])
def test_blocked(allowed: bool) -> None:
    """With no attempt left nothing may be sent, whatever the caller allows."""
    with pytest.raises(PinBlocked):
        check_attempts(0, last_attempt_allowed=allowed)


@pytest.mark.parametrize("left", [1, None])
def test_last_or_unknown(left: int | None) -> None:
    """The last attempt, or an unknown one, is only for callers who say so."""
    with pytest.raises(LastAttempt) as caught:
        check_attempts(left, last_attempt_allowed=False)
    assert caught.value.attempts_left == left
    assert check_attempts(left, last_attempt_allowed=True) is None


@pytest.mark.parametrize("left", [2, 3, 15])
def test_enough(left: int) -> None:
    """With two attempts or more no question is asked."""
    assert check_attempts(left, last_attempt_allowed=False) is None


@pytest.mark.parametrize("puk", [b"", b"1234", b"1234567", b"123456789", b"1234567a"])
def test_malformed_puk(puk: bytes) -> None:
    """A PUK is eight digits."""
    with pytest.raises(PukMalformed):
        check_shape(bytearray(puk), PUK)
    check_shape(bytearray(b"12345678"), PUK)


def test_puk_attempts() -> None:
    """The PUK's counter has errors of its own: the card is lost with it."""
    with pytest.raises(PukBlocked):
        check_attempts(0, last_attempt_allowed=True, kind=PUK)
    with pytest.raises(LastPukAttempt):
        check_attempts(1, last_attempt_allowed=False, kind=PUK)

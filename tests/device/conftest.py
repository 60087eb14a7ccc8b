"""Tests on a physical card: only with `--card-serial`, only on that card, never a wrong PIN.

    pytest tests/device --card-serial 12345678 [--card-pin-file FILE]

Without the option nothing here is collected. A proof is made only when a file with the right
PIN is given; it may be any ANS test card or a real one. Nothing is changed on the card.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cps_auth.card.open import open_cards
from cps_auth.card.port import Card

_ATTEMPTS = 3  # fewer, and somebody is about to lose the card


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Collect nothing unless a card was named."""
    is_test = collection_path.name.startswith("test_")
    return True if is_test and not config.getoption("--card-serial") else None


@pytest.fixture
def card(request: pytest.FixtureRequest) -> Iterator[Card]:
    """The named card, with all its attempts; the run ends for any other."""
    serial = request.config.getoption("--card-serial")
    with open_cards().open_card() as card:
        if card.description.serial != serial:
            pytest.exit(f"the card in the reader is {card.description.serial}, not {serial}")
        left = card.pin_attempts_left()
        if left is None or left < _ATTEMPTS:
            pytest.exit(f"the card has {left} attempts left: not on this card")
        yield card


@pytest.fixture
def pin(request: pytest.FixtureRequest) -> Iterator[bytearray]:
    """The right PIN, from a file that its owner made."""
    name = request.config.getoption("--card-pin-file")
    if name is None:
        pytest.skip("no PIN is sent without --card-pin-file")
    pin = bytearray(Path(name).read_bytes().strip())
    yield pin
    pin[:] = bytes(len(pin))

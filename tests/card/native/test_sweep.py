"""Whatever a card answers, whenever: one PIN, our own errors, and the next login works."""

from __future__ import annotations

import pytest

from benchmarks.sweep import CONTACTLESS, KINDS, STATUS_WORDS, sweep
from hardware_mocks.igc.fake_igc import FakeIgcSante


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_card_that_says_anything(igc: FakeIgcSante, kind: str) -> None:
    """Each command of a login on a known card, with every sixth status word, and rubbish."""
    done = sweep(igc, STATUS_WORDS[::6], is_known=True, kinds=(kind,))
    assert not done.faults
    outcomes = {outcome for outcomes in done.table.values() for outcome in outcomes}
    assert outcomes > {"contactless-not-enough" if kind == CONTACTLESS else "signed"}

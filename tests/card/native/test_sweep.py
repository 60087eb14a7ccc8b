"""Whatever a card answers, whenever: one PIN, our own errors, and the next login works."""

from __future__ import annotations

from benchmarks.sweep import STATUS_WORDS, sweep
from hardware_mocks.igc.fake_igc import FakeIgcSante


def test_a_known_card_that_says_anything(igc: FakeIgcSante) -> None:
    """Each command of a login on a known card, with every third status word, and rubbish."""
    done = sweep(igc, STATUS_WORDS[::3], is_known=True)
    assert not done.faults
    assert {outcome for outcomes in done.table.values() for outcome in outcomes} > {"signed"}

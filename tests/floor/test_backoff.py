"""Growing intervals."""

from __future__ import annotations

from cps_auth.backoff import Backoff


def test_pauses_grow_up_to_the_longest() -> None:
    """Each is twice the one before; after a reset the first comes again."""
    backoff = Backoff(0.5, 3.0)
    assert [backoff.pause_s() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert [backoff.pause_s() for _ in range(2)] == [0.5, 1.0]

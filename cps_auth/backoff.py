"""Growing intervals: what failed is asked again later each time."""

from __future__ import annotations


class Backoff:
    """Pauses before the next try, each twice the one before, up to the longest."""

    def __init__(self, first_s: float, longest_s: float) -> None:
        """Begin with the first pause.

        Args:
            first_s: the pause after the first failure.
            longest_s: no pause is longer.
        """
        self._first_s = first_s
        self._longest_s = longest_s
        self._next_s = first_s

    def pause_s(self) -> float:
        """Return how long to wait now, in seconds; the pause after it is twice as long."""
        pause_s = self._next_s
        self._next_s = min(2 * pause_s, self._longest_s)
        return pause_s

    def reset(self) -> None:
        """Begin anew: it worked, or something else happened."""
        self._next_s = self._first_s

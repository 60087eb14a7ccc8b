"""The known, intended differences from the frozen verdicts.

A row counts for every frozen case whose name and verdict match, and all of these must now have
the new verdict; a row that matches none is refused. `*` stands for any text. The texts of errors
are cases too, named `words/` and the verdict; their verdict is a hash.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Difference:
    """One change of behaviour that was meant.

    Attributes:
        cases: pattern of the cases' names.
        was, now: patterns of the frozen verdict and of today's.
        because: its line in CHANGELOG.md.
    """

    cases: str
    was: str
    now: str
    because: str

    def concerns(self, name: str, was: str) -> bool:
        """Return whether a frozen case is meant to have changed."""
        return _matches(self.cases, name) and _matches(self.was, was)

    def allows(self, now: str) -> bool:
        """Return whether today's verdict is the one that was meant."""
        return _matches(self.now, now)


def _matches(pattern: str, text: str) -> bool:
    return re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), text) is not None


DIFFERENCES: Sequence[Difference] = ()


def find_difference(name: str, was: str) -> Difference | None:
    """Return the first row about a frozen case."""
    return next((row for row in DIFFERENCES if row.concerns(name, was)), None)

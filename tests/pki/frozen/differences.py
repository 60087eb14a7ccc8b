"""The known, intended differences from the frozen verdicts.

A row counts for every frozen case whose name and verdict match, and all of these must now have
the new verdict; a row that matches none is refused. `*` stands for any text. The texts of errors
are cases too, named `words/` and the verdict; their verdict is a hash. Rows that concern one case
each are in meant.txt: a key of `REASONS`, and the case.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


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


REASONS = {
    "crl": (
        "certificate-revoked *source=crl*",
        "A CRL that names a certificate counts, though it is no evidence that others are good",
    ),
    "ocsp": (
        "certificate-revoked *source=ocsp*",
        'A signed OCSP answer "revoked" counts without our nonce, late and under a slow clock',
    ),
    "policies": ("accepted *", "An authority may have critical certificate policies"),
}
"""What a case listed in meant.txt has become, and its line in CHANGELOG.md."""


def _listed() -> dict[str, Difference]:
    rows = Path(__file__).with_name("meant.txt").read_text(encoding="utf-8").splitlines()
    pairs = (row.split("\t") for row in rows)
    return {name: Difference(name, "*", *REASONS[key]) for key, name in pairs}


_LISTED = _listed()

_CLOCK = "A clock that is behind is told as a clock, not as a missing list"
_WORDS = "What to do is said to people: who looks after the computer, and what that person types"

_PATTERNS = (
    Difference("words/*why=crl-not-yet-valid*", "*", "*", _CLOCK),
    Difference("words/*why=ocsp-not-yet-valid*", "*", "*", _CLOCK),
    Difference("words/*reason=ca-not-yet-valid*", "*", "*", _CLOCK),
    Difference(
        "words/trust-store-unusable*", "*", "*", "Trust folders: one text, and what to do about it"
    ),
    Difference("words/untrusted-issuer*", "33bd02", "c0f215", _WORDS),
    Difference("words/revocation-unknown*", "825abf", "8e6c09", _WORDS),
)

DIFFERENCES: Sequence[Difference] = (*_LISTED.values(), *_PATTERNS)


def find_difference(name: str, was: str) -> Difference | None:
    """Return the first row about a frozen case."""
    if name in _LISTED:
        return _LISTED[name]
    return next((row for row in _PATTERNS if row.concerns(name, was)), None)

"""The result of looking at one measure: yes, no, or honestly unknown, and what was seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Verdict(StrEnum):
    """What a PC can say of a measure."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "cannot-tell"


@dataclass(frozen=True, slots=True)
class Seen:
    """One thing that was seen: a sentence, translated where it is shown, and its facts."""

    sentence: str
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """One measure on this PC."""

    measure: str  # stable: passwords, lock, updates, encryption, network, card
    verdict: Verdict
    seen: tuple[Seen, ...]


def observe(measure: str, *, good: list[Seen], bad: list[Seen], unknown: list[Seen]) -> Observation:
    """Return the verdict: one thing that is bad decides; "present" needs that nothing is unknown.

    Args:
        measure: its stable name.
        good, bad, unknown: what was seen.
    """
    verdict = Verdict.UNKNOWN
    if bad:
        verdict = Verdict.ABSENT
    elif good and not unknown:
        verdict = Verdict.PRESENT
    return Observation(measure, verdict, (*bad, *unknown, *good))

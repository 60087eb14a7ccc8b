"""Pulls the card at random moments of the first half second after its code."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass

from tests.desk.booted import Desk, Table, load, wait_for

PULL_WITHIN_S, STAYS_S, GREETER_S = 0.5, 1.0, 1.0
COVERED_WITHIN_S = 12.0


@dataclass(frozen=True, slots=True)
class Pull:
    """What one pull did; seconds are counted from the removal as the card's side made it."""

    after_code_s: float
    is_verified: bool
    open_s: float  # how long the screen was still to be seen, 0 if it never opened
    lock_s: float  # from the daemon's hearing of it to the confirmed lock, 0 if it never opened


class PullFailed(Exception):
    """A screen that was not covered, or a session that is another one now."""


class Pulls:
    """One desk's pulls, the screen locked and the card out before and after each."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._chance = random.Random()  # noqa: S311 - moments, no secrets
        self._before = (desk.drawn_by(), desk.leader)
        self.done: list[Pull] = []
        self.failures = 0

    def pull(self) -> None:
        """Insert, type the code, pull, look.

        Raises:
            PullFailed: with its evidence.
        """
        desk, started_s = self._desk, time.time()
        if not desk.is_covered():
            self._fail("uncovered after the pull before", started_s - 10)
        if not desk.heard(desk.insert(), "card-inserted"):
            self._fail("the insertion was not heard", started_s)
        if desk.desktop == "kde":  # shows nothing that says that it listens
            time.sleep(GREETER_S)
        desk.wake()
        typed_s = desk.type_code()
        after_code_s = self._chance.uniform(0, PULL_WITHIN_S)
        time.sleep(max(0, typed_s + after_code_s - time.time()))
        pulled_s = desk.pull()
        heard_s = desk.heard(pulled_s - 0.01, "card-removed")
        if heard_s is None:
            self._fail("the removal was not heard", started_s)
            return
        covered = wait_for(desk.is_covered, COVERED_WITHIN_S)
        time.sleep(STAYS_S)
        if not covered or not wait_for(desk.is_covered, COVERED_WITHIN_S):
            self._fail(f"not covered {after_code_s:.3f} s after the code", started_s)
        if not desk.is_covered() or (desk.drawn_by(), desk.leader) != self._before:
            self._fail(f"another session than {self._before}", started_s)
        lines = desk.log(started_s)
        locked = [at_s for at_s, hint in desk.hints(typed_s - 1) if hint]
        self.done.append(
            Pull(
                after_code_s,
                any("outcome=verified" in line for _at_s, line in lines),
                max([0.0, *(at_s - pulled_s for at_s in locked)]),
                max([0.0, *(at_s - heard_s for at_s in locked)]),
            )
        )

    def _fail(self, why: str, since_s: float) -> None:
        self.failures += 1
        evidence = self._desk.evidence(since_s)
        path = self._desk.scratch / f"failure-{len(self.done)}-{self.failures}"
        path.write_text(f"{why}\n{evidence}\n")
        raise PullFailed(f"{why}: {path}")

    def row(self) -> list[str]:
        """Return the row of the table."""
        opened = [pull for pull in self.done if pull.open_s]
        locks = [pull.lock_s for pull in opened] or [0.0]
        shown = [pull.open_s for pull in opened] or [0.0]
        return [
            self._desk.name,
            str(len(self.done) + self.failures),
            str(sum(pull.is_verified for pull in self.done)),
            str(len(opened)),
            str(self.failures),
            f"{statistics.median(locks):.2f} / {max(locks):.2f}",
            f"{statistics.median(shown):.2f} / {max(shown):.2f}",
            load(),
        ]


def run(desk: Desk, table: Table, count: int) -> int:
    """Pull so many times; returns how many were missed."""
    pulls = Pulls(desk)
    desk.pull()
    desk.run("loginctl", "lock-session", desk.session_id)
    wait_for(desk.is_covered)
    for number in range(count):
        try:
            pulls.pull()
        except PullFailed as failed:
            print(failed, flush=True)
            desk.pull()
            desk.run("loginctl", "lock-session", desk.session_id)
            wait_for(desk.is_covered)
        if number % 10 == 9 or number == count - 1:
            table.write(pulls.row())
            print(*pulls.row(), sep=" | ", flush=True)
    return pulls.failures

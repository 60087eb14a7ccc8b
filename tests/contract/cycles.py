"""Many cards come, log in and go: each backend subclasses this."""

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from cps_auth.model import Challenge
from tests.contract.bench import Bench
from tests.contract.promises import CardFixtures, MakeCard, check_signature, log_in

_WARM_UP = 8
_GROWTH_KIB = 1024  # of memory, whatever the number of cycles


@dataclass(frozen=True)
class Held:
    """What this process holds."""

    handles: int
    threads: int
    children: int
    memory_kib: int

    @classmethod
    def now(cls) -> Held:
        """Count, once nothing is left to be collected."""
        gc.collect()
        tasks = Path("/proc/self/task").glob("*/children")
        status = Path("/proc/self/status").read_text()
        return cls(
            handles=sum(1 for _ in Path("/proc/self/fd").iterdir()),
            threads=threading.active_count(),
            children=sum(len(task.read_text().split()) for task in tasks),
            memory_kib=int(status.split("VmRSS:")[1].split()[0]),
        )


class CyclePromises(CardFixtures):
    """Nothing is left behind."""

    def test_cycles(
        self,
        bench: Bench,
        make_card: MakeCard,
        challenge: Challenge,
        request: pytest.FixtureRequest,
    ) -> None:
        """Insertions, logins and removals leave no handle, thread, process or memory behind."""
        cards, both = bench.cards(), (make_card("doctor"), make_card("nurse"))
        before = Held.now()
        for number in range(_WARM_UP + request.config.getoption("--cycles")):
            if number == _WARM_UP:
                before = Held.now()
            card = both[number % 2]
            card.commands.clear()
            bench.insert(card)
            check_signature(card, challenge, log_in(cards, challenge))
            bench.remove()
        after = Held.now()
        print(f"{request.config.getoption('--cycles')} cycles: {before} {after}")
        assert (after.handles, after.threads, after.children) == (
            before.handles,
            before.threads,
            before.children,
        )
        assert after.memory_kib - before.memory_kib < _GROWTH_KIB

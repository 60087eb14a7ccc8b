"""The native adapter keeps the promises of the card port through the real pcscd."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.cycles import CyclePromises
from tests.contract.pcscd_bench import PcscdBench
from tests.contract.promises import CardPromises
from tests.contract.pulls import PullPromises

pytestmark = pytest.mark.system


@pytest.fixture(params=["cps3", "cps4", "cps4-t0"])
def bench(private_pcscd: Any, request: pytest.FixtureRequest) -> Any:
    """An empty slot of a private pcscd, for each kind of card."""
    bench = PcscdBench(private_pcscd, request.param)
    yield bench
    bench.close()


class TestPcsc(CardPromises):
    """The native adapter over pcscd."""


class TestPcscCycles(CyclePromises):
    """The native adapter over pcscd, many times over."""

    @pytest.fixture
    def bench(self, private_pcscd: Any) -> Any:
        """An empty slot of a private pcscd."""
        bench = PcscdBench(private_pcscd, "cps3")
        yield bench
        bench.close()


class TestPcscPulled(PullPromises):
    """The native adapter over pcscd, whose cards leave."""

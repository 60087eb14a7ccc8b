"""The PKCS#11 adapter keeps the promises of the card port, with OpenSC and a virtual CPS3."""

from __future__ import annotations

from typing import Any, Final

import pytest

from cps_auth.errors import LastPukAttempt, ModuleUnusable, PinBlocked
from cps_auth.model import Challenge
from hardware_mocks.readers.faults import Moment
from tests.contract.bench import PIN_CARRYING
from tests.contract.cycles import CyclePromises
from tests.contract.pcscd_bench import PcscdBench
from tests.contract.promises import NEW_PIN, PUK, CardPromises, MakeCard
from tests.contract.pulls import OPERATIONS, PullPromises
from tests.opensc import DEFECT, LOGS_IN

pytestmark = pytest.mark.system


class OpenScBench(PcscdBench):
    """One slot of vpcd, seen through OpenSC's module."""

    def __init__(self, pcscd: Any) -> None:
        super().__init__(pcscd, "cps3", "opensc")
        self.moments = (Moment.DURING,)

    def needed(self, commands: list[bytes], moment: Moment) -> int:  # noqa: ARG002  # always during
        """Return all but the last: OpenSC says goodbye after everything was answered."""
        return len(commands) - 1

    def walk(self, commands: list[bytes]) -> list[int]:
        """Return a few commands before the first code, it, and the last."""
        codes = [
            number
            for number, command in enumerate(commands, 1)
            if command[1] in PIN_CARRYING and len(command) > 5
        ]
        first = codes[0] if codes else len(commands)
        return sorted({1, first // 2, first, len(commands)})


WITHOUT_LOGIN: Final = frozenset(
    {
        "test_no_card",
        "test_identity_and_certificate",
        "test_free_objects",
        "test_malformed_codes",
        "test_last_puk_attempt",
        "test_swapped",
        "test_closed",
    }
)


@pytest.fixture
def bench(request: pytest.FixtureRequest, private_pcscd: Any) -> Any:
    """An empty slot of a private pcscd."""
    is_look = request.cls is TestOpenSc and request.function.__name__ in WITHOUT_LOGIN
    if not (LOGS_IN or is_look):
        pytest.skip(DEFECT)
    bench = OpenScBench(private_pcscd)
    yield bench
    bench.close()


class TestOpenSc(CardPromises):
    """The PKCS#11 adapter on OpenSC's module."""

    tells_counters = False

    def test_unblock(self, bench: Any, make_card: MakeCard, challenge: Challenge) -> None:
        """OpenSC's module has no C_InitPIN for this card: said so, and the PIN stays blocked."""
        inserted = make_card("pin-blocked")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            with pytest.raises(LastPukAttempt):  # it tells nothing of the PUK's attempts
                card.unblock(PUK, NEW_PIN)
            with pytest.raises(ModuleUnusable, match="FunctionNotSupported"):
                card.unblock(PUK, NEW_PIN, last_attempt_allowed=True)
            assert inserted.puk_attempts_left == 3
            with pytest.raises(PinBlocked):
                card.verify_pin_and_sign(bytearray(b"1234"), challenge)


class TestOpenScCycles(CyclePromises):
    """The PKCS#11 adapter on OpenSC's module, many times over."""


class TestOpenScPulled(PullPromises):
    """The PKCS#11 adapter on OpenSC's module, whose cards leave."""

    @pytest.fixture(params=sorted(OPERATIONS.keys() - {"unblock"}))
    def name(self, request: pytest.FixtureRequest) -> str:
        """Which of OPERATIONS: the module cannot unblock."""
        return str(request.param)

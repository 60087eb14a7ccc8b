"""The card is pulled, or swapped, around every single command: each backend subclasses this."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from cps_auth.card.certificates import is_signature_of
from cps_auth.card.port import Card, CardSource
from cps_auth.errors import CardRemoved, CpsAuthError
from cps_auth.model import Challenge
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.faults import Fault, Moment, Pull, Swap, at
from tests.contract.bench import Bench, TappedCard
from tests.contract.promises import CardFixtures, MakeCard, check_signature, log_in

Operation = Callable[[Card, Challenge], object]

_OLD, _NEW, _PUK = b"1234", b"4321", b"12345678"


def _log_in(card: Card, challenge: Challenge) -> object:
    card.read_authentication_certificate()
    return card.verify_pin_and_sign(bytearray(_OLD), challenge)


def _look(card: Card, _: Challenge) -> object:
    return card.read_label(), card.pin_attempts_left(), card.puk_attempts_left()


def _change(card: Card, _: Challenge) -> None:
    card.change_pin(bytearray(_OLD), bytearray(_NEW))


def _unblock(card: Card, _: Challenge) -> None:
    card.unblock(bytearray(_PUK), bytearray(_NEW), last_attempt_allowed=True)


OPERATIONS: dict[str, Operation] = {
    "login": _log_in,
    "look": _look,
    "change": _change,
    "unblock": _unblock,
}


class PullPromises(CardFixtures):
    """What holds at whatever instant a card leaves."""

    within_s = 1.0

    @pytest.fixture(params=list(OPERATIONS))
    def name(self, request: pytest.FixtureRequest) -> str:
        """Which of OPERATIONS."""
        return str(request.param)

    def test_pulled(
        self, bench: Bench, make_card: MakeCard, challenge: Challenge, name: str
    ) -> None:
        """Card removed, within a second; no attempt lost, nothing verified; then it logs in."""
        operation = OPERATIONS[name]
        commands = self._rehearse(bench, make_card, challenge, operation)
        for moment in bench.moments:
            for number in bench.walk(commands):
                inserted = make_card("doctor")
                bench.insert(inserted, FaultPlan(Fault(Pull(), at(number), moment)))
                is_whole = number > bench.needed(commands, moment)
                self._try(bench, inserted, operation, challenge, may_succeed=is_whole)
                bench.remove()
                assert (inserted.pin_attempts_left, inserted.puk_attempts_left) == (3, 3)
                assert inserted.codes_received <= 2 + (name == "unblock")
                assert not inserted.is_pin_verified
                bench.insert(inserted)
                signature = log_in(bench.cards(), challenge, inserted.pin)
                check_signature(inserted, challenge, signature)
                bench.remove()

    def _try(
        self,
        bench: Bench,
        inserted: TappedCard,
        operation: Operation,
        challenge: Challenge,
        *,
        may_succeed: bool,
    ) -> None:
        started = time.monotonic()
        try:
            with bench.cards().open_card() as card:
                operation(card, challenge)
        except CardRemoved:
            pass
        else:  # all that was asked was answered, and only then was it pulled
            assert may_succeed, [c.hex() for c in inserted.commands[-4:]]
        last_command_at = max(started, inserted.last_command_at)
        last = inserted.commands[-1][:4].hex() if inserted.commands else "no command came"
        assert time.monotonic() - last_command_at < self.within_s, last

    @pytest.mark.parametrize("known", [False, True])
    def test_swapped(
        self, bench: Bench, make_card: MakeCard, challenge: Challenge, known: bool
    ) -> None:
        """One holder's identity never comes with another's signature, known card or not."""
        commands = self._rehearse(bench, make_card, challenge, _log_in)
        for number in bench.walk(commands):
            first, second = make_card("doctor"), make_card("nurse")
            cards = bench.cards()
            if known:
                bench.insert(first)
                log_in(cards, challenge)
                bench.remove()
            bench.insert(first, FaultPlan(Fault(Swap(second), at(number), Moment.AFTER)))
            self._check_one_holder(cards, challenge, (first, second))
            bench.remove()

    def _check_one_holder(
        self, cards: CardSource, challenge: Challenge, both: tuple[TappedCard, TappedCard]
    ) -> None:
        try:
            with cards.open_card() as card:
                serial = card.description.serial
                certificate_der = card.read_authentication_certificate()
                signature = card.verify_pin_and_sign(bytearray(_OLD), challenge)
        except CpsAuthError:
            return
        holder = next(
            one for one in both if one.credentials.authentication_certificate_der == certificate_der
        )
        assert holder.serial in serial
        assert is_signature_of(certificate_der, challenge.message(), signature)

    def _rehearse(
        self, bench: Bench, make_card: MakeCard, challenge: Challenge, operation: Operation
    ) -> list[bytes]:
        inserted = make_card("doctor")
        bench.insert(inserted)
        with bench.cards().open_card() as card:
            operation(card, challenge)
        commands = list(inserted.commands)
        bench.remove()
        return commands

"""The sweep: one login, each of its commands answered by everything that a card may say.

For each kind of card, with the right and the wrong PIN: what came of the logins. None may end in an
exception that is not ours, show the PIN twice, or keep the next login from working.

`./dev bench sweep` prints the table; `python -m benchmarks.sweep docs/appendix/sweep.md` writes it.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cps_auth.card.native.source import NativeCards
from cps_auth.errors import ContactlessNotEnough, CpsAuthError
from cps_auth.login.challenge import issue_challenge
from cps_auth.model import Challenge
from hardware_mocks.card.virtual_card import CARD_KINDS, VirtualCard
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.readers.faults import Action, Answer, Fault, Garbage, Moment, Pull, Truncate, at
from hardware_mocks.readers.virtual_readers import VirtualReaders

READER = "Reader 00 00"
CONTACTLESS = "cps3-contactless"
"""Proves nobody: its login ends before the PIN, which is never shown to it."""
KINDS = tuple(CARD_KINDS)
STATUS_WORDS = (
    *(0x6100, 0x6110, 0x61FF, 0x6200, 0x6281, 0x6282, 0x6283, 0x6284, 0x6300, 0x6381),
    *(0x63C0, 0x63C1, 0x63C2, 0x63CF, 0x6400, 0x6401, 0x6500, 0x6581, 0x6600, 0x6700),
    *(0x6800, 0x6881, 0x6882, 0x6883, 0x6884, 0x6900, *range(0x6981, 0x6989)),
    *(0x6A00, *range(0x6A80, 0x6A8B), 0x6B00, 0x6C00, 0x6C10, 0x6CFF, 0x6D00, 0x6E00, 0x6F00),
    0x9000,
)
"""ISO/IEC 7816-4:2005 tables 5 and 6: each word, and the ends of each range."""
OTHER_ACTIONS: tuple[Action, ...] = (
    *(Truncate(size) for size in (0, 1, 2, 3)),
    *(Garbage(size) for size in (1, 2, 3, 40, 258)),
    Answer(0x9000, bytes(256)),
    Answer(0x9000, b"\xff" * 12),
)
"""Too short, too long, and rubbish."""
_RIGHT, _WRONG = b"1234", b"9999"


@dataclass
class Sweep:
    """What came of the logins.

    Attributes:
        table: how many logins, by kind of card, PIN and outcome.
        faults: those that broke a rule, in words.
    """

    table: dict[tuple[str, str], Counter[str]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def logins(self) -> int:
        """Return how many there were."""
        return sum(outcomes.total() for outcomes in self.table.values())

    def rows(self) -> Iterator[str]:
        """Yield the rows of a Markdown table."""
        yield "| card | PIN | logins | how they ended |"
        yield "|---|---|---|---|"
        for (kind, pin), outcomes in self.table.items():
            told = ", ".join(f"{code} {count}" for code, count in outcomes.most_common())
            yield f"| {kind} | {pin} | {outcomes.total()} | {told} |"

    def __str__(self) -> str:
        lines = ["one login, each command answered by everything that a card may say"]
        for (kind, pin), outcomes in self.table.items():
            told = ", ".join(f"{code} {count}" for code, count in outcomes.most_common())
            lines.append(f"  {kind}, {pin} PIN: {outcomes.total()} logins: {told}")
        lines.append(f"  rules broken: {len(self.faults)}")
        return "\n".join([*lines, *(f"    {fault}" for fault in self.faults), ""])


def sweep(
    igc: FakeIgcSante,
    words: Sequence[int] = STATUS_WORDS,
    *,
    is_known: bool = False,
    kinds: Sequence[str] = KINDS,
) -> Sweep:
    """Log in once per command and answer.

    Args:
        igc: whose cards.
        words: status words to answer with.
        is_known: whether a login of the same program came before.
        kinds: of cards.
    """
    done = Sweep()
    for kind in kinds:
        for pin, name in ((_RIGHT, "right"), (_WRONG, "wrong")):
            outcomes = done.table.setdefault((kind, name), Counter())
            for number, fault in _faults(_count(igc, kind, is_known=is_known), words):
                outcome, broken = _one(igc, kind, pin, fault, is_known=is_known)
                outcomes[outcome] += 1
                done.faults += [f"{kind}, {name} PIN, #{number} {fault}: {it}" for it in broken]
    return done


def _faults(commands: int, words: Sequence[int]) -> Iterator[tuple[int, Fault]]:
    for number in range(1, commands + 1):
        for action in (*map(Answer, words), *OTHER_ACTIONS):
            yield number, Fault(action, at(number))
        for moment in Moment:
            yield number, Fault(Pull(), at(number), moment)


class _Bench:
    """A new card in a reader."""

    def __init__(self, igc: FakeIgcSante, kind: str, *, is_known: bool) -> None:
        self.readers = VirtualReaders(READER)
        self.card = VirtualCard(PERSONAS["doctor"], igc.credentials("doctor"), kind)
        self.readers.insert(READER, self.card)
        self.cards = NativeCards(self.readers.service)
        if is_known:
            with suppress(ContactlessNotEnough):
                self.log_in(_RIGHT)

    def log_in(self, pin: bytes) -> None:
        """Open, certificate, PIN, signature. The right end of a contactless login is a refusal."""
        with self.cards.open_card() as card:
            card.read_authentication_certificate()
            card.verify_pin_and_sign(bytearray(pin), _challenge())


def _challenge() -> Challenge:
    return issue_challenge("sweep", at=datetime.now(UTC))


def _count(igc: FakeIgcSante, kind: str, *, is_known: bool) -> int:
    bench = _Bench(igc, kind, is_known=is_known)
    before = bench.readers.apdu_count
    with suppress(ContactlessNotEnough):
        bench.log_in(_RIGHT)
    return bench.readers.apdu_count - before


def _one(
    igc: FakeIgcSante, kind: str, pin: bytes, fault: Fault, *, is_known: bool
) -> tuple[str, list[str]]:
    """Return what came of one login, and which rules it broke."""
    bench = _Bench(igc, kind, is_known=is_known)
    seen, attempts_left = len(bench.readers.commands), bench.card.pin_attempts_left
    bench.readers.arm(READER, FaultPlan(fault))
    broken = []
    try:
        bench.log_in(pin)
        outcome = "signed"
    except CpsAuthError as error:
        outcome = error.code
    except Exception as error:  # what must not be
        outcome = type(error).__name__
        broken.append("a foreign exception")
    bench.readers.arm(READER, None)
    shown = [one for one in bench.readers.commands[seen:] if one[1] == 0x20 and len(one) > 5]
    if len(shown) > (kind != CONTACTLESS):
        broken.append("the PIN was shown too often")
    if outcome == "signed" and (pin != _RIGHT or kind == CONTACTLESS):
        broken.append("a yes that must not be")
    if pin == _RIGHT and bench.card.pin_attempts_left != attempts_left:
        broken.append("an attempt was lost with the right PIN")
    bench.readers.swap(READER, bench.card)
    try:
        bench.log_in(_RIGHT)
    except CpsAuthError as error:
        if kind != CONTACTLESS or not isinstance(error, ContactlessNotEnough):
            broken.append(f"the next login failed: {error.code}")
    return outcome, broken


_PAGE = """# Everything that a card may say

One login for each of its commands and each answer: the {words} status words of ISO/IEC 7816-4:2005
tables 5 and 6 (each word, and the ends of each range), {others} answers too short, too long or
rubbish, and the card pulled before, during and after. No such login may end in an exception that is
not ours, show the PIN twice (a contactless card: at all), lose an attempt with the right PIN, say
yes to a wrong one, or keep the next login from working.

Written by a run of `python -m benchmarks.sweep docs/appendix/sweep.md` on {day}: {logins} logins on
virtual cards, {faults} of these rules broken. The words are those of
[the errors](../reference/errors.md); a wrong PIN is answered before the signature, hence fewer ways
to end.

## A card never seen

{unknown}

## A card that this program knows

{known}
"""


def main() -> None:
    """Write the page of the whole sweep, and fail if a rule was broken."""
    page = Path(sys.argv[1])
    igc = FakeIgcSante.create()
    unknown, known = sweep(igc), sweep(igc, is_known=True)
    faults = unknown.faults + known.faults
    page.write_text(
        _PAGE.format(
            words=len(STATUS_WORDS),
            others=len(OTHER_ACTIONS),
            day=f"{datetime.now(UTC):%d %B %Y}",
            logins=f"{unknown.logins + known.logins:,}",
            faults=len(faults),
            unknown="\n".join(unknown.rows()),
            known="\n".join(known.rows()),
        )
    )
    sys.exit("\n".join(faults) or None)


def sweep_of_a_login(igc: FakeIgcSante, _folder: Path) -> Sweep:
    """Everything that a card may say, at each command of a login on a card never seen."""
    return sweep(igc)


if __name__ == "__main__":
    main()

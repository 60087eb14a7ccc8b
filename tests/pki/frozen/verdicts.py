"""The frozen verdicts: their files, how they are written, and how today's are compared.

expected/outcomes.txt has one line per verdict: a short hash of it, a hash of its French and
English words, and the verdict. expected/GROUP.txt has one line per case: its name, a hash of its
inputs, and the short hash of its verdict.
"""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import cryptography

from tests.pki.frozen.differences import find_difference
from tests.pki.frozen.groups import Group
from tests.pki.frozen.product import Bench

EXPECTED = Path(__file__).parent / "expected"
_OUTCOMES, _LIBRARY = EXPECTED / "outcomes.txt", EXPECTED / "library.txt"
_NO_WORDS = "-"
FRESH_EVERY = 40
_SHOWN = 20


class Judged(NamedTuple):
    """One case, judged now or then."""

    name: str
    input_hex: str
    verdict: str


@cache
def frozen_outcomes() -> Mapping[str, tuple[str, str]]:
    """Return words hash and verdict by short hash."""
    rows = (line.split("\t") for line in _OUTCOMES.read_text(encoding="utf-8").splitlines())
    return {short: (words, verdict) for short, words, verdict in rows}


def frozen_words() -> dict[str, str]:
    """Return the words hash of every refusal."""
    return {verdict: words for words, verdict in frozen_outcomes().values() if words != _NO_WORDS}


def frozen_cases(group: Group) -> list[Judged]:
    """Return the frozen verdicts of a group, in its order."""
    text = (EXPECTED / f"{group.name}.txt").read_text(encoding="utf-8")
    rows = (line.split("\t") for line in text.splitlines())
    return [Judged(name, digest, frozen_outcomes()[short][1]) for name, digest, short in rows]


def judge_now(group: Group, chunk: int = 0, chunks: int = 1) -> tuple[list[Judged], Bench]:
    """Judge the cases of a chunk, one in `FRESH_EVERY` by a new judge too.

    Raises:
        AssertionError: what was judged before changed a verdict.
    """
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # the library warns of odd certificates; to the product in use that is no error
        warnings.simplefilter("ignore")
        bench, judged = Bench(Path(folder)), []
        for i, case in enumerate(group.cases(chunk, chunks)):
            verdict = bench.verdict(case)
            judged.append(Judged(case.name, case.input_hex, verdict))
            if i % FRESH_EVERY == 0:
                fresh = bench.verdict(case, fresh=True)
                assert fresh == verdict, f"{case.name}: {fresh} by a new judge, not {verdict}"
    return judged, bench


# --- Comparing -------------------------------------------------------------------


def compare(group: Group, chunk: int, chunks: int) -> str:
    """Return what differs from the frozen verdicts, for a person; empty when nothing does."""
    now, bench = judge_now(group, chunk, chunks)
    then = frozen_cases(group)[chunk::chunks]
    if [case[:2] for case in now] != [case[:2] for case in then]:
        return _other_cases(then, now)
    known = frozen_words()
    rows = [(was.name, was.verdict, case.verdict) for was, case in zip(then, now, strict=True)]
    rows += [
        (f"words/{verdict}", known[verdict], words)
        for verdict, words in bench.words.items()
        if verdict in known
    ]
    return _report([row for row in rows if not _is_expected(*row)])


def _is_expected(name: str, was: str, now: str) -> bool:
    row = find_difference(name, was)
    return was == now if row is None else row.allows(now)


def _other_cases(then: Iterable[Judged], now: Iterable[Judged]) -> str:
    before, after = ({case[:2] for case in cases} for cases in (then, now))
    changed = sorted(before ^ after)[:_SHOWN]
    lines = ["The inputs themselves are not the frozen ones: no verdict was compared."]
    return "\n".join([*lines, *(f"  {name} {digest}" for name, digest in changed)])


def _report(rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    lines = [f"{len(rows)} verdicts are not the frozen ones; the first:"]
    for name, was, now in rows[:_SHOWN]:
        lines += [f"  {name}", f"    was  {was}", f"    now  {now}"]
    kinds: dict[tuple[str, str], int] = {}
    for _, was, now in rows:
        kind = was.split(" ")[0], now.split(" ")[0]
        kinds[kind] = kinds.get(kind, 0) + 1
    lines += [f"  {count:5} x {was} -> {now}" for (was, now), count in kinds.items()]
    then, library = _LIBRARY.read_text(encoding="utf-8").strip(), _library()
    return "\n".join([*lines, *([] if then == library else [f"  frozen with {then}"])])


def _library() -> str:
    return f"cryptography {cryptography.__version__}"


# --- Writing ---------------------------------------------------------------------


def write(groups: Iterable[Group]) -> None:
    """Freeze today's verdicts, of all groups: their inputs have to be there."""
    EXPECTED.mkdir(exist_ok=True)
    outcomes: dict[str, str] = {}
    for group in groups:
        judged, bench = judge_now(group)
        lines = [f"{name}\t{digest}\t{_short(verdict)}" for name, digest, verdict in judged]
        _write_lines(EXPECTED / f"{group.name}.txt", lines)
        outcomes |= {verdict: _NO_WORDS for _, _, verdict in judged} | bench.words
    lines = [f"{_short(verdict)}\t{words}\t{verdict}" for verdict, words in outcomes.items()]
    _write_lines(_OUTCOMES, sorted(lines, key=lambda line: line.split("\t")[2]))
    _write_lines(_LIBRARY, [_library()])
    assert len({line.split("\t")[0] for line in lines}) == len(lines)


def _short(verdict: str) -> str:
    return hashlib.sha256(verdict.encode()).hexdigest()[:6]


def _write_lines(file: Path, lines: Iterable[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

"""Every verdict of the judge is the frozen one, but for the differences that were meant.

`python -m tests.pki.frozen write` freezes anew; a difference that is meant is a row of
`tests.pki.frozen.differences` instead, with its reason.
"""

from __future__ import annotations

import pytest

from tests.pki.frozen.differences import DIFFERENCES, find_difference
from tests.pki.frozen.groups import GROUPS, Group
from tests.pki.frozen.verdicts import compare, frozen_cases, frozen_words

CHUNKS = [
    pytest.param(group, chunk, id=f"{group.name}-{chunk}")
    for group in GROUPS
    for chunk in range(group.chunks)
]

LEAST = {
    "certificates": 2500,
    "signed-certificates": 600,
    "changed-lists": 1000,
    "signed-lists": 400,
    "changed-answers": 800,
    "signed-answers": 300,
}


@pytest.mark.parametrize(("group", "chunk"), CHUNKS)
def test_verdicts(group: Group, chunk: int) -> None:
    """Each case gets its frozen verdict, in its frozen words; a sample by a new judge too."""
    if not group.is_there:
        pytest.skip("the public IGC-Santé certificates are not beside the repository")
    differences = compare(group, chunk, group.chunks)
    assert not differences, differences


def test_every_difference_is_used() -> None:
    """No row of the table is about nothing, or about what an earlier row is about."""
    frozen = [(case.name, case.verdict) for group in GROUPS for case in frozen_cases(group)]
    frozen += [(f"words/{verdict}", words) for verdict, words in frozen_words().items()]
    used = {row for name, was in frozen if (row := find_difference(name, was)) is not None}
    assert [row for row in DIFFERENCES if row not in used] == []


def test_nothing_was_left_out() -> None:
    """The frozen files hold as many cases as they should, and no name twice."""
    names = [case.name for group in GROUPS for case in frozen_cases(group)]
    assert len(names) == len(set(names))
    for group in GROUPS:
        assert len(frozen_cases(group)) >= LEAST.get(group.name, 1)

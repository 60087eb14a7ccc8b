"""The groups of cases, and the chunks in which they are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tests.pki.frozen import mutants, others, scenarios
from tests.pki.frozen.cases import Case
from tests.pki.frozen.inputs import REAL


@dataclass(frozen=True)
class Group:
    """Cases of one kind, each of which can be made without the others.

    Attributes:
        name: of the file with the frozen verdicts.
        listed: returns all cases, for a group that is made at once.
        made: returns case number i, of `count`.
        chunks: how many tests compare it.
        needs_real: whether the real certificates have to be beside the repository.
    """

    name: str
    listed: Callable[[], Sequence[Case]] | None = None
    made: Callable[[int], Case] | None = None
    count: int = 0
    chunks: int = 1
    needs_real: bool = False

    def cases(self, chunk: int = 0, chunks: int = 1) -> Iterator[Case]:
        """Return the cases of one chunk, or all."""
        if self.listed is not None:
            yield from self.listed()[chunk::chunks]
        elif self.made is not None:
            yield from map(self.made, range(chunk, self.count, chunks))

    @property
    def is_there(self) -> bool:
        """Return whether its inputs are on this machine."""
        return REAL.is_dir() or not self.needs_real


GROUPS = (
    Group("kept", listed=scenarios.kept_certificates, chunks=2),
    Group("lists", listed=scenarios.kept_lists, chunks=3),
    Group("answers", listed=scenarios.kept_answers, chunks=2),
    Group("pkits", listed=others.pkits),
    Group("real", listed=others.real, needs_real=True),
    Group("certificates", made=mutants.certificate, count=2600, chunks=2),
    Group("real-certificates", made=mutants.real_certificate, count=400, needs_real=True),
    Group("signed-certificates", made=mutants.signed_certificate, count=1200),
    Group("authorities", made=mutants.authority, count=400),
    Group("changed-lists", made=mutants.changed_list, count=1100),
    Group("signed-lists", made=mutants.signed_list, count=800),
    Group("changed-answers", made=mutants.changed_answer, count=900),
    Group("signed-answers", made=mutants.signed_answer, count=700),
)

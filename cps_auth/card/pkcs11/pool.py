"""The pool of a module's processes: one kept while nothing changed, and one spare that is started.

Starting Python and its imports takes longer than a login, and looking at a card longer than a
signature. So a program that stays keeps a spare process, which has imported all and loads the
module when it is needed. And one that saw no PIN and no failure may serve the next card opened, as
the one that looked at the card before a PIN was typed serves the login with it, provided that
PC/SC saw no reader or card change since its module was initialised.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

from cps_auth.card.pkcs11 import wire
from cps_auth.card.pkcs11.process import ModuleProcess
from cps_auth.card.watch import asleep_s
from cps_auth.errors import ModuleUnusable
from cps_auth.model import Snapshot

_KEPT_FOR_S: Final = wire.IDLE_S - 5.0  # the child ends itself at IDLE_S
_SLEPT_S: Final = 1.0  # what the two clocks may differ by without a suspend in between


@dataclass(frozen=True, slots=True)
class PooledModule:
    """A process whose module was initialised while the readers were as they are now.

    What it said of its slots then is what it would say now, but for flags such as that of the
    last attempt, which are read before each PIN.
    """

    process: ModuleProcess
    seen: Snapshot  # the readers, then and now
    is_new: bool = True  # started for this taker
    slots: tuple[wire.SlotSeen, ...] = ()  # with the tokens that were read; empty: not asked yet
    kept_until_s: float = 0.0  # on the monotonic clock
    asleep_s: float = 0.0  # for how long the computer had been suspended when it was kept

    def serves(self, seen: Snapshot) -> bool:
        """Return whether it is initialised as a fresh one would be: nothing was plugged since."""
        has_slept = asleep_s() - self.asleep_s > _SLEPT_S  # without power nobody counts cards
        is_fresh = monotonic() < self.kept_until_s and not has_slept
        return is_fresh and self.seen == seen and self.process.is_alive()


class ModulePool:
    """Gives out processes of one module. Safe to use in threads, and in processes that fork."""

    def __init__(self, start: Callable[[], ModuleProcess], *, keeps: bool) -> None:
        """Start the spare, where any is kept.

        Args:
            start: starts one, without waiting for it.
            keeps: whether to keep any; for a program that stays.
        """
        self._start = start
        self.keeps = keeps
        self._mutex = threading.Lock()
        self._kept: list[PooledModule] = []  # at most one
        self._spare: list[ModuleProcess] = []  # at most one
        weakref.finalize(self, _end_all, self._kept, self._spare)
        self._prepare()

    def take(self, seen: Snapshot) -> PooledModule:
        """Return a process that was initialised while the readers were as they are now.

        Args:
            seen: all readers now.

        Raises:
            ModuleUnusable: the module cannot be loaded, crashed or did not answer in time.
        """
        for kept in self._swap():
            if kept.serves(seen):
                return kept
            kept.process.stop()
        return self.fresh(seen)

    def fresh(self, seen: Snapshot) -> PooledModule:
        """Return a process whose module is initialised now, whatever was kept; as `take`."""
        with self._mutex:
            spares = [spare for spare in self._spare if spare.is_alive()]
            self._spare.clear()
        process = spares[0] if spares else self._start()
        return PooledModule(process.ready(), seen)

    def give_back(self, module: PooledModule) -> None:
        """Take a process back that saw no PIN and no failure, to keep or to end. Never raises."""
        if not self.keeps:
            module.process.stop()
            return
        with suppress(ModuleUnusable):  # it has ended
            module.process.idle()
            until_s = monotonic() + _KEPT_FOR_S
            kept = replace(module, is_new=False, kept_until_s=until_s, asleep_s=asleep_s())
            for before in self._swap(kept):
                before.process.stop()
        self._prepare()

    def discard(self, module: PooledModule) -> None:
        """End a process that saw a PIN or failed, and start the next spare. Never raises."""
        module.process.stop()
        self._prepare()

    def _prepare(self) -> None:
        """Start the spare unless there is one: it imports while its owner does other things."""
        with self._mutex, suppress(ModuleUnusable):  # the next `take` finds out why
            if self.keeps and not any(spare.is_alive() for spare in self._spare):
                self._spare[:] = [self._start()]

    def _swap(self, *kept: PooledModule) -> list[PooledModule]:
        with self._mutex:
            before, self._kept[:] = self._kept[:], kept
        return [one for one in before if one.process.is_ours]


def _end_all(kept: list[PooledModule], spare: list[ModuleProcess]) -> None:
    for process in (*(one.process for one in kept), *spare):
        process.stop()

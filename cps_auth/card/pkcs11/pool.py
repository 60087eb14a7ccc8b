"""Where a card's module process comes from: a fresh one, or one kept while nothing changed.

Loading and initialising a module takes longer than a login. A process that saw no PIN and no
failure may serve the next card opened, as the one that looked at the card before a PIN was typed
serves the login with it, provided that PC/SC saw no reader or card change since it started.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from time import monotonic, sleep
from typing import Final

from cps_auth.background import BackgroundThread
from cps_auth.card.pkcs11 import wire
from cps_auth.card.pkcs11.process import ModuleProcess
from cps_auth.card.watch import asleep_s
from cps_auth.errors import ModuleUnusable
from cps_auth.model import Snapshot

_KEPT_FOR_S: Final = wire.IDLE_S - 5.0  # the child ends itself at IDLE_S
_LIST_WITHIN_S: Final = 10.0
_ANSWER_FIRST_S: Final = 0.02
"""Before anything is done for the next login, this one's answer is on its way."""
_SLEPT_S: Final = 1.0  # what the two clocks may differ by without a suspend in between


@dataclass(frozen=True, slots=True)
class PooledModule:
    """A process whose module was initialised while the readers were as they are now.

    What it said of its slots then is what it would say now, but for flags such as that of the
    last attempt, which are read before each PIN.
    """

    process: ModuleProcess
    seen: Snapshot  # the readers, then and now
    is_new: bool = False  # started for this taker
    slots: tuple[wire.SlotSeen, ...] = ()  # with the tokens that were read; empty: not asked yet
    listed_s: float = 0.0  # when that was, on the monotonic clock


@dataclass(frozen=True, slots=True)
class _Kept:
    supplied: PooledModule
    until_s: float
    asleep_s: float
    owner_pid: int

    def is_ours(self) -> bool:
        """Whether it was started by this process, not by the one that this was forked from."""
        return self.owner_pid == os.getpid()

    def serves(self, seen: Snapshot) -> bool:
        """Whether it is initialised as a fresh one would be: nothing was plugged since."""
        has_slept = asleep_s() - self.asleep_s > _SLEPT_S  # without power nobody counts cards
        is_alive = self.supplied.process.is_alive()
        return (
            is_alive and not has_slept and self.supplied.seen == seen and monotonic() < self.until_s
        )

    def stop(self) -> None:
        """End it, if it is ours to end."""
        if self.is_ours():
            self.supplied.process.stop()


class ModulePool:
    """Gives out processes of one module, and keeps at most one. Safe to use in threads."""

    def __init__(self, start: Callable[[], ModuleProcess], *, keeps: bool) -> None:
        """Remember how one is started.

        Args:
            start: starts one, without waiting for it.
            keeps: whether to keep one; for a program that stays.
        """
        self._start = start
        self.keeps = keeps
        self._mutex = threading.Lock()
        self._thread: BackgroundThread | None = None  # not before it is needed: some fork first
        self._thread_pid = 0
        self._kept: list[_Kept] = []  # at most one
        weakref.finalize(self, _end_all, self._kept)

    def take(self, seen: Snapshot) -> PooledModule:
        """Return a process that was initialised while the readers were as they are now.

        Args:
            seen: all readers now.

        Raises:
            ModuleUnusable: the module cannot be loaded, crashed or did not answer in time.
        """
        for kept in self._swap():
            if kept.is_ours() and kept.serves(seen):
                return kept.supplied
            kept.stop()
        return self.fresh(seen)

    def fresh(self, seen: Snapshot) -> PooledModule:
        """Return a new process, whatever was kept.

        Args:
            seen: all readers now.

        Raises:
            ModuleUnusable: as `take`.
        """
        return PooledModule(self._start().ready(), seen, is_new=True)

    def give_back(self, supplied: PooledModule) -> None:
        """Take a process back that saw no PIN and no failure, to keep or to end. Never raises.

        Args:
            supplied: from `take` or `fresh`.
        """
        if not self.keeps:
            supplied.process.stop()
            return
        try:
            supplied.process.rest()
        except ModuleUnusable:
            return  # it has ended
        self._keep(supplied)

    def replace(self, supplied: PooledModule) -> None:
        """End a process that saw a PIN, and start the next one if any is kept. Never raises.

        Where any is kept that is done in a moment, in a thread that stays: this login is not to
        wait for it, nor for a processor that it takes.

        Args:
            supplied: from `take` or `fresh`; logged out, and only its end is waited for.
        """
        if not self.keeps:
            supplied.process.stop()
            return
        self._in_background(partial(self._replace, supplied))

    def _in_background(self, work: Callable[[], None]) -> None:
        with self._mutex:
            if self._thread is None or self._thread_pid != os.getpid():
                # Of another process: this one was forked, and threads are not
                self._thread, self._thread_pid = BackgroundThread("cps-auth-module"), os.getpid()
            self._thread.do(work)

    def _replace(self, supplied: PooledModule) -> None:
        sleep(_ANSWER_FIRST_S)
        supplied.process.stop()
        with suppress(ModuleUnusable):  # the next `take` finds out why
            fresh = self._start().ready()
            reply = fresh.ask(wire.ListSlots(), deadline_s=_LIST_WITHIN_S)  # the first one is slow
            slots = reply.slots if isinstance(reply, wire.SlotsSeen) else ()
            fresh.rest()
            self._keep(PooledModule(fresh, supplied.seen, slots=slots, listed_s=monotonic()))

    def _keep(self, supplied: PooledModule) -> None:
        until_s = monotonic() + _KEPT_FOR_S
        kept = _Kept(replace(supplied, is_new=False), until_s, asleep_s(), os.getpid())
        for before in self._swap(kept):
            before.stop()

    def _swap(self, *kept: _Kept) -> list[_Kept]:
        with self._mutex:
            before, self._kept[:] = self._kept[:], kept
        return before


def _end_all(kept: list[_Kept]) -> None:
    for one in kept:
        one.stop()

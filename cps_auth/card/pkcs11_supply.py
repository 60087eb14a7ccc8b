"""Where a card's module process comes from: a fresh one, or one kept while nothing changed.

Loading and initialising a module takes longer than a login. A process that saw no PIN and no
failure may serve the next card opened, as the one that looked at the card before a PIN was typed
serves the login with it, provided that PC/SC saw no reader or card change since it started. What
it saw of the card is kept with it: before any PIN is sent, the token is read again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from time import monotonic
from typing import Final

from cps_auth.card import pkcs11_wire as wire
from cps_auth.card.pkcs11_process import ModuleProcess
from cps_auth.card.pkcs11_selection import Seat
from cps_auth.errors import ModuleUnusable
from cps_auth.model import Snapshot

_KEPT_FOR_S: Final = wire.IDLE_S - 5.0  # the child ends itself at IDLE_S
_REST_WITHIN_S: Final = 1.0
_LIST_WITHIN_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Supplied:
    """A process whose module was initialised while the readers were as they are now."""

    process: ModuleProcess
    seen: Snapshot  # the readers, then and now
    wanted: str | None = None  # the reader that was asked for when `seat` was found in it
    seat: Seat | None = None
    is_new: bool = False  # started for this taker

    def seat_of(self, wanted: str | None) -> Seat | None:
        """Return where the wanted card is, when that is known already."""
        return self.seat if self.wanted == wanted else None


@dataclass(frozen=True, slots=True)
class _Kept:
    supplied: Supplied
    until_s: float
    owner_pid: int

    def serves(self, seen: Snapshot) -> bool:
        """Whether it is initialised as a fresh one would be: nothing was plugged since."""
        is_ours = self.owner_pid == os.getpid()  # and not of the process that we were forked from
        return is_ours and self.supplied.seen == seen and monotonic() < self.until_s


class ModuleSupply:
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
        self._kept: _Kept | None = None

    def take(self, seen: Snapshot) -> Supplied:
        """Return a process that was initialised while the readers were as they are now.

        Args:
            seen: all readers now.

        Raises:
            ModuleUnusable: the module cannot be loaded, crashed or did not answer in time.
        """
        kept = self._swap(None)
        if kept is not None:
            if kept.serves(seen) and kept.supplied.process.is_alive():
                return kept.supplied
            kept.supplied.process.stop()
        return self.fresh(seen)

    def fresh(self, seen: Snapshot) -> Supplied:
        """Return a new process, whatever was kept.

        Args:
            seen: all readers now.

        Raises:
            ModuleUnusable: as `take`.
        """
        return Supplied(self._start().ready(), seen, is_new=True)

    def give_back(self, supplied: Supplied) -> None:
        """Take a process back that saw no PIN and no failure, to keep or to end. Never raises.

        Args:
            supplied: from `take`, with what was found in it since.
        """
        if not self.keeps:
            supplied.process.stop()
            return
        try:
            supplied.process.ask(wire.Rest(), deadline_s=_REST_WITHIN_S)
        except ModuleUnusable:
            return  # it has ended
        self._keep(supplied)

    def replace(self, supplied: Supplied) -> None:
        """End a process that saw a PIN, and start the next one if any is kept. Never raises.

        Args:
            supplied: from `take`; logged out, and only its end is waited for.
        """
        if not self.keeps:
            supplied.process.stop()
            return
        supplied.process.release()
        threading.Thread(target=self._replace, args=(supplied,), name="cps-auth-module").start()

    def _replace(self, supplied: Supplied) -> None:
        supplied.process.stop()
        with suppress(ModuleUnusable):  # the next `take` finds out why
            fresh = self._start().ready()
            fresh.ask(wire.ListSlots(), deadline_s=_LIST_WITHIN_S)  # the first one is slow
            self._keep(Supplied(fresh, supplied.seen))

    def _keep(self, supplied: Supplied) -> None:
        kept = replace(supplied, is_new=False)
        before = self._swap(_Kept(kept, monotonic() + _KEPT_FOR_S, os.getpid()))
        if before is not None:
            before.supplied.process.stop()

    def _swap(self, kept: _Kept | None) -> _Kept | None:
        with self._mutex:
            before, self._kept = self._kept, kept
        return before

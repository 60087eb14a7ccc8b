"""Where a card's module process comes from: a fresh one, or one kept while nothing changed.

Loading and initialising a module takes longer than a login. A process that saw no PIN and no
failure may serve the next card opened, as the one that looked at the card before a PIN was typed
serves the login with it, provided that PC/SC saw no reader or card change since it started.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Final

from cps_auth.card import pkcs11_wire as wire
from cps_auth.card.pkcs11_process import ModuleProcess
from cps_auth.errors import ModuleUnusable
from cps_auth.model import Snapshot

_KEPT_FOR_S: Final = wire.IDLE_S - 5.0  # the child ends itself at IDLE_S
_REST_WITHIN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class _Kept:
    process: ModuleProcess
    seen: Snapshot
    until_s: float
    owner_pid: int

    def serves(self, seen: Snapshot) -> bool:
        """Whether it is initialised as a fresh one would be: nothing was plugged since."""
        is_ours = self.owner_pid == os.getpid()  # and not of the process that we were forked from
        return is_ours and self.seen == seen and monotonic() < self.until_s


class ModuleSupply:
    """Gives out processes of one module, and keeps at most one. Safe to use in threads."""

    def __init__(self, start: Callable[[], ModuleProcess], *, keeps: bool) -> None:
        """Remember how one is started.

        Args:
            start: starts one, without waiting for it.
            keeps: whether to keep one; for a program that stays.
        """
        self._start = start
        self._keeps = keeps
        self._mutex = threading.Lock()
        self._kept: _Kept | None = None

    def take(self, seen: Snapshot) -> ModuleProcess:
        """Return a process whose module was initialised while the readers were as they are now.

        Args:
            seen: all readers now.

        Raises:
            ModuleUnusable: the module cannot be loaded, crashed or did not answer in time.
        """
        kept = self._swap(None)
        if kept is not None:
            if kept.serves(seen) and kept.process.is_alive():
                return kept.process.ready()
            kept.process.stop()
        return self._start().ready()

    def give_back(self, process: ModuleProcess, seen: Snapshot) -> None:
        """Take a process back that saw no PIN and no failure, to keep or to end. Never raises.

        Args:
            process: from `take`.
            seen: what `take` was given for it.
        """
        if not self._keeps:
            process.stop()
            return
        try:
            process.ask(wire.Rest(), deadline_s=_REST_WITHIN_S)
        except ModuleUnusable:
            return  # it has ended
        self._keep(process, seen)

    def prepare(self, seen: Snapshot) -> None:
        """Start one ahead, if this supply keeps any. Never raises.

        Args:
            seen: all readers now.
        """
        if not self._keeps:
            return
        try:
            self._keep(self._start(), seen)
        except ModuleUnusable:
            return  # the next `take` finds out why

    def _keep(self, process: ModuleProcess, seen: Snapshot) -> None:
        kept = _Kept(process, seen, monotonic() + _KEPT_FOR_S, os.getpid())
        before = self._swap(kept)
        if before is not None:
            before.process.stop()

    def _swap(self, kept: _Kept | None) -> _Kept | None:
        with self._mutex:
            before, self._kept = self._kept, kept
        return before

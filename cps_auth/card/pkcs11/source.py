"""Cards through a vendor's PKCS#11 module: ANS Cryptolib, OpenSC, SoftHSM2.

The module runs in a child process (`child`), initialised since the last change at any reader, so
without stale token information after a swap, and ended with the first PIN that it saw, so that no
PIN outlives its use. Whether a card is there is asked of PC/SC only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Final

from msgspec import structs

from cps_auth.backoff import Backoff
from cps_auth.card.pkcs11 import wire
from cps_auth.card.pkcs11.card import Pkcs11Card
from cps_auth.card.pkcs11.pool import ModulePool, PooledModule
from cps_auth.card.pkcs11.process import ModuleProcess
from cps_auth.card.pkcs11.reader_check import NOTICE_REMOVAL_S, ReaderPresence, no_pcsc
from cps_auth.card.pkcs11.select import (
    SlotCandidate,
    authentication_certificate,
    choose_candidate,
    explain_absence,
    holds_a_cps,
    readers_of,
)
from cps_auth.card.pkcs11.token import TokenSession
from cps_auth.card.port import CardListener, ReaderService, Watch
from cps_auth.card.reader_name import name_today
from cps_auth.card.watch import CardWatcher
from cps_auth.errors import (
    CardUnavailable,
    ConfigurationError,
    ModuleUnusable,
    NoAuthenticationCertificate,
    ReaderServiceUnavailable,
    SeveralCertificates,
)
from cps_auth.model import ReaderState, Snapshot

OPEN_DEADLINE_S: Final = 10.0  # OpenSC takes 3 s to give up on an unknown card
SIGN_DEADLINE_S: Final = 30.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.2, 10.0  # between two searches for soft tokens


class Pkcs11Cards:
    """A `CardSource` over one module."""

    def __init__(
        self,
        module: Path,
        services: Callable[[], ReaderService] | None = None,
        *,
        open_deadline_s: float = OPEN_DEADLINE_S,
        sign_deadline_s: float = SIGN_DEADLINE_S,
        keeps: bool = False,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Remember where the module is; it is not loaded yet.

        Args:
            module: the shared library of the vendor.
            services: makes a PC/SC service; without it only soft tokens can be used.
            open_deadline_s: for each question that needs no PIN.
            sign_deadline_s: for PIN and signature together.
            keeps: whether processes may be kept and prepared: see `cps_auth.card.pkcs11.pool`.
            clock: tells the time, aware, to choose between certificates of one token.

        Raises:
            ConfigurationError: python-pkcs11 is not installed.
        """
        if find_spec("pkcs11") is None:  # only the child imports it
            raise ConfigurationError("python-pkcs11 is missing: install cps-auth[pkcs11]")
        self._services = services or no_pcsc
        self._presence = ReaderPresence(self._services)
        self._clock = clock
        self._start = partial(
            ModuleProcess,
            module,
            open_deadline_s=open_deadline_s,
            sign_deadline_s=sign_deadline_s,
        )
        self._pool = ModulePool(self._start, keeps=keeps)
        self._soft_search = _SoftSearch()

    def readers(self) -> tuple[ReaderState, ...]:
        """Return PC/SC's readers; where it has none, the module's soft tokens.

        Raises:
            ReaderServiceLost: PC/SC does not answer and the module has no soft token.
            ModuleUnusable: there is no reader, and the module failed.
        """
        snapshot, lost = self._look()
        if snapshot.readers:
            self._soft_search.reset()
            return snapshot.readers
        soft = self._soft_search.result_of(self._soft_tokens)
        if lost and not soft:
            raise lost
        return soft

    def open_card(self, reader: str | None = None) -> Pkcs11Card:
        """Open the one usable card, or the one in the named reader.

        Raises:
            ReaderServiceLost, NoReader, NoCard, CardRemoved, UnsupportedCard, SeveralCards
            NoAuthenticationCertificate, SeveralCertificates
            ContactlessNotEnough: the only card is read without contact, and the module has
                nothing to say of it.
            ModuleUnusable: the module cannot be loaded, crashed or did not answer in time.
        """
        snapshot, lost = self._look()
        reader = name_today(snapshot, reader)
        search = _Search(self._presence, reader, self._clock())
        module, candidate = search.find(self._pool.take(snapshot))
        if candidate is None and not module.is_new:
            self._pool.discard(module)  # it may have gone blind since it was started
            module, candidate = search.find(self._pool.fresh(snapshot))
        if candidate is None:
            self._pool.discard(module)
            search.require_none_left(snapshot)
            has_only_soft = module.slots and not any(slot.removable for slot in module.slots)
            if lost and not has_only_soft:
                raise lost
            raise explain_absence(snapshot, module.slots, reader, search.no_certificate)
        return Pkcs11Card(TokenSession(candidate, module, self._pool, self._presence))

    def watch(self, listener: CardListener) -> Watch:
        """Start telling `listener` what PC/SC sees: see `cps_auth.card.watch`."""
        return CardWatcher(self._services, listener)

    def _look(self) -> tuple[Snapshot, ReaderServiceUnavailable | None]:
        try:
            return self._presence.snapshot(), None
        except ReaderServiceUnavailable as lost:
            return Snapshot(service_up=False), lost

    def _soft_tokens(self) -> tuple[ReaderState, ...]:
        process = self._start().ready()
        try:
            return tuple(
                ReaderState(name=slot.description, atr=b"")
                for slot in _slots(process)
                if slot.token and slot.token.initialised  # said of soft tokens only
            )
        finally:
            process.stop()


class _SoftSearch:
    """The search for soft tokens where there is no reader: a process of the module each time.

    A page or a program that asks again and again starts it at growing intervals.
    """

    def __init__(self) -> None:
        self._backoff = Backoff(_FIRST_PAUSE_S, _LONGEST_PAUSE_S)
        self._found: tuple[ReaderState, ...] | ModuleUnusable = ()
        self._next_s = 0.0

    def result_of(self, search: Callable[[], tuple[ReaderState, ...]]) -> tuple[ReaderState, ...]:
        """Return what a search finds, or what the last one did a moment ago.

        Raises:
            ModuleUnusable: the module failed.
        """
        if monotonic() >= self._next_s:
            try:
                self._found = search()
            except ModuleUnusable as error:
                self._found = error
            self._next_s = monotonic() + self._backoff.pause_s()
        if isinstance(self._found, ModuleUnusable):
            raise self._found.with_traceback(None)
        return self._found

    def reset(self) -> None:
        """Search at once next time: there were readers meanwhile."""
        self._backoff.reset()
        self._next_s = 0.0


class _Search:
    """The search for the wanted card in what a module says.

    Attributes:
        no_certificate: why the last token that was read has not one authentication certificate.
    """

    def __init__(self, presence: ReaderPresence, reader: str | None, at: datetime) -> None:
        self._presence = presence
        self._reader = reader
        self._at = at
        self.no_certificate: CardUnavailable | None = None

    def find(self, module: PooledModule) -> tuple[PooledModule, SlotCandidate | None]:
        """Return the process with what its module says now, and the wanted card, if it is there.

        Raises:
            CardRemoved, ReaderServiceLost, SeveralCards, ModuleUnusable: the process has ended.
        """
        try:
            module, candidate = self._ask(module)
            if candidate is None and holds_a_cps(module.seen, self._reader):
                # Asked too early after an insertion, some modules are wrong once
                module, candidate = self._ask(replace(module, slots=()))
            if candidate is not None and candidate.reader is not None:
                self._presence.require(candidate.reader)
        except ModuleUnusable:
            module.process.stop()
            self.require_none_left(module.seen)
            raise
        except BaseException:
            module.process.stop()
            raise
        return module, candidate

    def require_none_left(self, before: Snapshot) -> None:
        """See whether a card left while the module was at work: that explains its failure.

        Raises:
            CardRemoved, ReaderServiceLost
        """
        for state in before.readers:
            if state.atr is not None and self._reader in (None, state.name):
                self._presence.require_after_doubt(state, NOTICE_REMOVAL_S)

    def _ask(self, module: PooledModule) -> tuple[PooledModule, SlotCandidate | None]:
        """Find the card in what the module said before; ask what it was not asked yet."""
        slots = module.slots or _slots(module.process)
        candidates = self._candidates(module, slots)
        read = {one.slot.slot_id: one.token for one in candidates}
        slots = tuple(
            structs.replace(slot, token=read.get(slot.slot_id, slot.token)) for slot in slots
        )
        return replace(module, slots=slots), choose_candidate(candidates)

    def _candidates(
        self, module: PooledModule, slots: tuple[wire.SlotSeen, ...]
    ) -> list[SlotCandidate]:
        readers = readers_of(slots, module.seen.readers)
        candidates = []
        for slot in slots:
            state = readers.get(slot.slot_id)
            if self._reader not in (None, slot.description, state.name if state else None):
                continue
            has_card = state.atr is not None if state else not slot.removable
            if not has_card:
                continue  # says PC/SC, whatever the module believes
            candidate = self._candidate(module, slot, state)
            candidates += [candidate] if candidate else []
        return candidates

    def _candidate(
        self, module: PooledModule, slot: wire.SlotSeen, state: ReaderState | None
    ) -> SlotCandidate | None:
        token = slot.token or self._token(module.process, slot, state)
        if token is None or not token.certificates:
            return None
        try:
            certificate = authentication_certificate(token.certificates, self._at)
        except (NoAuthenticationCertificate, SeveralCertificates) as error:
            self.no_certificate = error
            return None
        return SlotCandidate(slot, token, certificate, state)

    def _token(
        self, process: ModuleProcess, slot: wire.SlotSeen, state: ReaderState | None
    ) -> wire.TokenSeen | None:
        try:
            reply = process.ask(wire.ReadToken(slot.slot_id))
        except ModuleUnusable:
            if state is not None:
                self._presence.require(state)  # it may have died of the removal
            raise
        return reply if isinstance(reply, wire.TokenSeen) and reply.initialised else None


def _slots(process: ModuleProcess) -> tuple[wire.SlotSeen, ...]:
    reply = process.ask(wire.ListSlots())
    if isinstance(reply, wire.Failed):
        reply = process.ask(wire.ListSlots())
    if not isinstance(reply, wire.SlotsSeen):
        raise ModuleUnusable(f"slots: {reply.name if isinstance(reply, wire.Failed) else ''}")
    return reply.slots

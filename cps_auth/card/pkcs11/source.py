"""Cards through a vendor's PKCS#11 module: ANS Cryptolib, OpenSC, SoftHSM2.

The module runs in a child process (`pkcs11_child`), initialised since the last change at any
reader, so without stale token information after a swap, and ended with the first PIN that it saw,
so that no PIN outlives its use. Whether a card is there is asked of PC/SC only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Final

from msgspec import structs

from cps_auth.card.pkcs11 import wire
from cps_auth.card.pkcs11.card import Pkcs11Card
from cps_auth.card.pkcs11.pool import ModulePool, PooledModule
from cps_auth.card.pkcs11.process import ModuleProcess
from cps_auth.card.pkcs11.process_starters import StartChild, start_child
from cps_auth.card.pkcs11.reader_check import NOTICE_REMOVAL_S, ReaderPresence, no_pcsc
from cps_auth.card.pkcs11.select import (
    SlotCandidate,
    authentication_certificate,
    choose_candidate,
    explain_absence,
    holds_a_cps,
    reader_of,
)
from cps_auth.card.pkcs11.token import TokenSession
from cps_auth.card.port import CardListener, ReaderService, Watch
from cps_auth.card.reader_name import name_today
from cps_auth.card.watch import CardWatcher
from cps_auth.errors import ConfigurationError, ModuleUnusable, ReaderServiceUnavailable
from cps_auth.model import ReaderState, Snapshot

OPEN_DEADLINE_S: Final = 10.0  # OpenSC takes 3 s to give up on an unknown card
SIGN_DEADLINE_S: Final = 30.0


class Pkcs11Cards:
    """A `CardSource` over one module."""

    def __init__(
        self,
        module: Path,
        services: Callable[[], ReaderService] | None = None,
        *,
        open_deadline_s: float = OPEN_DEADLINE_S,
        sign_deadline_s: float = SIGN_DEADLINE_S,
        start: StartChild = start_child,
        keeps: bool = False,
    ) -> None:
        """Remember where the module is; nothing is loaded yet.

        Args:
            module: the shared library of the vendor.
            services: makes a PC/SC service; without it only soft tokens can be used.
            open_deadline_s: for each question that needs no PIN.
            sign_deadline_s: for PIN and signature together.
            start: makes the module's child processes.
            keeps: whether one may be kept while nothing changes: see `pkcs11_supply`.

        Raises:
            ConfigurationError: python-pkcs11 is not installed.
        """
        if find_spec("pkcs11") is None:  # only the child imports it
            raise ConfigurationError("python-pkcs11 is missing: install cps-auth[pkcs11]")
        self._module = module
        self._services = services or no_pcsc
        self._presence = ReaderPresence(self._services)
        self._open_deadline_s = open_deadline_s
        self._sign_deadline_s = sign_deadline_s
        self._start_child = start
        self._supply = ModulePool(self._start, keeps=keeps)

    def readers(self) -> tuple[ReaderState, ...]:
        """Return PC/SC's readers; where it has none, the module's soft tokens.

        Raises:
            ReaderServiceLost: PC/SC does not answer and the module has no soft token.
            ModuleUnusable: there is no reader, and the module failed.
        """
        snapshot, lost = self._look()
        if snapshot.readers:
            return snapshot.readers
        soft = self._soft_tokens()
        if lost and not soft:
            raise lost
        return soft

    def open_card(self, reader: str | None = None) -> Pkcs11Card:
        """Open the one usable card, or the one in the named reader.

        Raises:
            ReaderServiceLost, NoReader, NoCard, CardRemoved, UnsupportedCard, SeveralCards
            ContactlessNotEnough: the only card is read without contact, and the module has
                nothing to say of it.
            ModuleUnusable: the module cannot be loaded, crashed or did not answer in time.
        """
        snapshot, lost = self._look()
        reader = name_today(snapshot, reader)
        supplied, seat = self._seat_in(self._supply.take(snapshot), reader)
        if seat is None and not supplied.is_new:
            supplied.process.stop()  # it may have gone blind since it was started
            supplied, seat = self._seat_in(self._supply.fresh(snapshot), reader)
        if seat is None:
            supplied.process.stop()
            self._require_none_left(snapshot, reader)
            slots = supplied.slots
            has_only_soft = slots and not any(slot.removable for slot in slots)
            if lost and not has_only_soft:
                raise lost
            raise explain_absence(snapshot, slots, reader)
        return self._card(seat, supplied)

    def watch(self, listener: CardListener) -> Watch:
        """Start telling `listener` what PC/SC sees: see `cps_auth.card.watch`."""
        return CardWatcher(self._services, listener)

    def _look(self) -> tuple[Snapshot, ReaderServiceUnavailable | None]:
        try:
            return self._presence.snapshot(), None
        except ReaderServiceUnavailable as lost:
            return Snapshot(service_up=False), lost

    def _require_none_left(self, before: Snapshot, reader: str | None) -> None:
        """See whether a card left while the module was at work: that explains its failure.

        Raises:
            CardRemoved, ReaderServiceLost
        """
        for state in before.readers:
            if state.atr is not None and reader in (None, state.name):
                self._presence.require_after_doubt(state, NOTICE_REMOVAL_S)

    def _start(self) -> ModuleProcess:
        return ModuleProcess(
            self._module,
            open_deadline_s=self._open_deadline_s,
            longest_deadline_s=max(self._open_deadline_s, self._sign_deadline_s),
            start=self._start_child,
        )

    def _seat_in(
        self, supplied: PooledModule, reader: str | None
    ) -> tuple[PooledModule, SlotCandidate | None]:
        """Return the process with what its module says now, and the seat of the wanted card."""
        process, snapshot = supplied.process, supplied.seen
        try:
            supplied, seat = self._search(supplied, reader)
            if seat is None and holds_a_cps(snapshot, reader):
                # Asked too early after an insertion, some modules are wrong once
                supplied, seat = self._search(replace(supplied, slots=()), reader)
            if seat is not None and seat.reader is not None:
                self._presence.require(seat.reader)
        except ModuleUnusable:
            process.stop()
            self._require_none_left(snapshot, reader)
            raise
        except BaseException:
            process.stop()
            raise
        return supplied, seat

    def _search(
        self, supplied: PooledModule, reader: str | None
    ) -> tuple[PooledModule, SlotCandidate | None]:
        """Find the seat in what the module said before; ask what it was not asked yet."""
        if not supplied.slots:
            slots = self._slots(supplied.process)
            supplied = replace(supplied, slots=slots, listed_s=monotonic())
        seats = self._seats(supplied, reader)
        read = {seat.slot.slot_id: seat.token for seat in seats}
        slots = tuple(
            structs.replace(slot, token=read.get(slot.slot_id, slot.token))
            for slot in supplied.slots
        )
        return replace(supplied, slots=slots), choose_candidate(seats)

    def _slots(self, process: ModuleProcess) -> tuple[wire.SlotSeen, ...]:
        reply = process.ask(wire.ListSlots(), deadline_s=self._open_deadline_s)
        if isinstance(reply, wire.Failed):
            reply = process.ask(wire.ListSlots(), deadline_s=self._open_deadline_s)
        if not isinstance(reply, wire.SlotsSeen):
            raise ModuleUnusable(f"slots: {reply.name if isinstance(reply, wire.Failed) else ''}")
        return reply.slots

    def _seats(self, supplied: PooledModule, reader: str | None) -> list[SlotCandidate]:
        seats = []
        for slot in supplied.slots:
            state = reader_of(slot, supplied.seen.readers)
            if reader not in (None, slot.description, state.name if state else None):
                continue
            has_card = state.atr is not None if state else not slot.removable
            if not has_card:
                continue  # says PC/SC, whatever the module believes
            seat = self._seat(supplied, slot, state)
            seats += [seat] if seat else []
        return seats

    def _seat(
        self, supplied: PooledModule, slot: wire.SlotSeen, state: ReaderState | None
    ) -> SlotCandidate | None:
        token = slot.token or self._token(supplied.process, slot, state)
        certificate = authentication_certificate(token.certificates) if token else None
        if token is None or certificate is None:
            return None
        return SlotCandidate(slot, token, certificate, state, supplied.listed_s)

    def _token(
        self, process: ModuleProcess, slot: wire.SlotSeen, state: ReaderState | None
    ) -> wire.TokenSeen | None:
        request = wire.ReadToken(slot.slot_id)
        try:
            reply = process.ask(request, deadline_s=self._open_deadline_s)
        except ModuleUnusable:
            if state is not None:
                self._presence.require(state)  # it may have died of the removal
            raise
        return reply if isinstance(reply, wire.TokenSeen) and reply.initialised else None

    def _soft_tokens(self) -> tuple[ReaderState, ...]:
        process = self._start().ready()
        try:
            return tuple(
                ReaderState(name=slot.description, atr=b"")
                for slot in self._slots(process)
                if slot.token and slot.token.initialised  # said of soft tokens only
            )
        finally:
            process.stop()

    def _card(self, seat: SlotCandidate, supplied: PooledModule) -> Pkcs11Card:
        token = TokenSession(
            seat,
            supplied,
            supply=self._supply,
            presence=self._presence,
            open_deadline_s=self._open_deadline_s,
            sign_deadline_s=self._sign_deadline_s,
        )
        return Pkcs11Card(token)

"""`python -m hardware_mocks serve`: a card in a slot of vpcd, until it is told to leave."""

from __future__ import annotations

import queue
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

from hardware_mocks.card.virtual_card import Insertable, VirtualCard
from hardware_mocks.readers.fault_plan import FaultPlan
from hardware_mocks.vpcd.slot import VpcdSlot
from hardware_mocks.vpcd.terminal_view import TerminalView, keys_of_terminal

_PULL, _INSERT, _QUIT, _LOST, _TRAFFIC = "p", "i", "q", "lost", "traffic"
_HANDS = {signal.SIGUSR1: _PULL, signal.SIGUSR2: _INSERT}
_END = {signal.SIGINT: _QUIT, signal.SIGTERM: _QUIT}


class ServiceGone(Exception):
    """vpcd closed the connection."""


def serve(
    card: VirtualCard, address: tuple[str, int], plan: FaultPlan, inserted: Insertable
) -> None:
    """Insert the card and keep it in until SIGINT or SIGTERM.

    SIGUSR1 pulls it, SIGUSR2 inserts it again; on a terminal the keys p, i and q do the same,
    and the card's state and traffic are shown.

    Args:
        card: whose state is shown.
        address: of the slot.
        plan: what goes wrong; it goes on counting when the card is inserted again.
        inserted: what is put in, the card itself or something around it.

    Raises:
        VpcdUnreachable: no vpcd there, or another card is in its slot.
        ServiceGone: vpcd closed the connection.
    """
    orders: queue.SimpleQueue[str] = queue.SimpleQueue()  # its put may be called by a handler
    slot = VpcdSlot(address, on_lost=lambda: orders.put(_LOST))
    where = f"{address[0]}:{address[1]}"
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    view = TerminalView(card, where) if is_terminal else None
    slot.observe = None if view is None else _told(view, orders)
    try:
        with _signals(orders, _HANDS):  # before the card is seen: whoever sees it may send one
            slot.insert(inserted, plan)
            with _signals(orders, _END), keys_of_terminal(orders.put, wanted=is_terminal):
                print(f"{card.kind} of {card.persona.name} inserted at {where}", flush=True)
                _obey(orders, slot, lambda: slot.insert(inserted, plan), view)
    finally:
        slot.pull()


def _told(view: TerminalView, orders: queue.SimpleQueue[str]) -> Callable[[bytes, bytes], None]:
    def note(command: bytes, answer: bytes) -> None:
        view.note(command, answer)
        orders.put(_TRAFFIC)

    return note


def _obey(
    orders: queue.SimpleQueue[str],
    slot: VpcdSlot,
    insert: Callable[[], None],
    view: TerminalView | None,
) -> None:
    while True:
        if view is not None and orders.empty():
            view.draw(is_inserted=slot.card is not None)
        order = orders.get()
        if order == _QUIT:
            return
        if order == _LOST:
            raise ServiceGone
        if order == _PULL:
            slot.pull()
        elif order == _INSERT and slot.card is None:
            insert()


@contextmanager
def _signals(orders: queue.SimpleQueue[str], meant: Mapping[signal.Signals, str]) -> Iterator[None]:
    def hear(number: int, _frame: FrameType | None) -> None:
        orders.put(meant[signal.Signals(number)])

    before = {number: signal.signal(number, hear) for number in meant}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

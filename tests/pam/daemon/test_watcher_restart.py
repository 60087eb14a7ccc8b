"""Somebody watches the readers for as long as the daemon runs, and notices a silent service."""

from __future__ import annotations

import itertools
import queue
import threading
import time

import pytest

from cps_auth.card.native.source import NativeCards
from cps_auth.card.port import CardListener
from cps_auth.card.watch import CardWatcher
from cps_auth.errors import ReaderServiceLost
from cps_auth.model import CardEvent, CardEventKind, ReaderState
from hardware_mocks.readers.virtual_readers import VirtualReaders
from pam_helper.daemon import watcher_restart as watching
from pam_helper.daemon.watcher_restart import RestartingWatcher


class Hung(NativeCards):
    """Readers whose service tells nothing more, and answers nothing once it hangs."""

    hangs = False
    asked = 0

    def readers(self) -> tuple[ReaderState, ...]:
        """See `CardSource`."""
        self.asked += 1
        if self.hangs:
            raise ReaderServiceLost("pcscd does not answer")
        return super().readers()


def test_a_service_that_hangs_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener hears SERVICE_LOST, which locks, and hears it once until it answers again."""
    monkeypatch.setattr(watching, "ASK_EVERY_S", 0.01)
    readers, lost, told = VirtualReaders("Reader 0"), threading.Event(), []

    def listen(event: CardEvent) -> None:
        told.append(event.kind)
        if event.kind is CardEventKind.SERVICE_LOST:
            lost.set()

    cards = Hung(readers.service)
    watched = RestartingWatcher(cards, listen)
    try:
        watched.wait_until_heard(10)
        cards.hangs = True
        assert lost.wait(10)
        asked = cards.asked
        while cards.asked < asked + 5:
            threading.Event().wait(0.01)
        assert told.count(CardEventKind.SERVICE_LOST) == 1
        cards.hangs = False
    finally:
        watched.stop()
    assert told[-1] is CardEventKind.WATCHER_STOPPED


def test_without_a_reader_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A vendor's module is not started again and again to look for soft tokens."""
    monkeypatch.setattr(watching, "ASK_EVERY_S", 0.01)
    cards = Hung(VirtualReaders().service)
    watched = RestartingWatcher(cards, lambda _: None)
    threading.Event().wait(0.2)
    watched.stop()
    assert cards.asked == 0


def test_readers_that_cannot_be_watched_are_asked_less_and_less(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each pause is longer than the one before; a restart that somebody asked for is none."""
    monkeypatch.setattr(watching, "RESTART_AFTER_S", 0.02)
    tried: queue.SimpleQueue[float] = queue.SimpleQueue()

    class Unwatchable(NativeCards):
        """Nobody can watch them."""

        def watch(self, listener: CardListener) -> CardWatcher:
            del listener
            tried.put(time.monotonic())
            raise ReaderServiceLost("nobody can tell")

    told: list[CardEventKind] = []
    watched = RestartingWatcher(
        Unwatchable(VirtualReaders().service), lambda event: told.append(event.kind)
    )
    times = [tried.get(timeout=10) for _ in range(5)]
    watched.stop()
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert all(pause >= 0.02 * 2**number for number, pause in enumerate(pauses))
    assert set(told) == {CardEventKind.WATCHER_STOPPED}, "which locks"

"""Card and reader events: a pure comparison of two snapshots, and one thread.

The thread sleeps inside the PC/SC service and never polls a reader. It outlives the service, and
whatever happens to it, the listener hears WATCHER_STOPPED last: silence never means "still here".
Every few seconds it asks whether the service still answers, and whether the computer slept.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from cps_auth.backoff import Backoff
from cps_auth.card.port import CardListener, ReaderService
from cps_auth.errors import CpsAuthError, ReaderServiceLost, ReaderServiceUnavailable
from cps_auth.model import CardEvent, CardEventKind, ReaderState, Snapshot

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

_WAIT_S = 10.0
_NEVER = -1  # an event count that PC/SC never gives
_SLEPT_S = 1.0  # what the two clocks may differ by without a suspend in between
_FIRST_RETRY_S = 0.1
_LAST_RETRY_S = 2.0
_LASTED_S = 5.0  # a service that was there for so long is asked again at once
_STOP_RETRY_S = 0.01  # a cancel may come just before the thread begins to wait


def changes(before: Snapshot, after: Snapshot) -> tuple[CardEvent, ...]:
    """Return what happened between two snapshots, in the order in which to tell it.

    A card that left and came back between the two is told as swapped, even by one of the same
    model, since PC/SC counts. While the service is lost nothing is said of cards: nobody knows.
    """
    if not after.service_up:
        lost = CardEvent(CardEventKind.SERVICE_LOST)
        return (lost,) if before.service_up else ()
    events: list[CardEvent] = []
    old = {state.name: state for state in before.readers}
    if not before.service_up:
        events.append(CardEvent(CardEventKind.SERVICE_BACK))
        old = {}
    new = {state.name: state for state in after.readers}
    for name in old.keys() - new.keys():
        events.extend(_reader_gone(old[name]))
    for state in after.readers:
        events.extend(_reader_changed(old.get(state.name), state))
    return tuple(events)


def with_generations(before: Snapshot, after: Snapshot, latest: int) -> tuple[Snapshot, int]:
    """Give every reader whose card changed a new generation, never used before.

    Args:
        before: with its generations.
        after: fresh from the service, without.
        latest: the highest generation given so far.

    Returns:
        `after` with generations, and the highest generation given so far.
    """
    old = {state.name: state for state in before.readers} if before.service_up else {}
    numbered = []
    for state in after.readers:
        known = old.get(state.name)
        if known is None or _card_changed(known, state):
            latest += 1
            numbered.append(replace(state, generation=latest))
        else:
            numbered.append(replace(state, generation=known.generation))
    return replace(after, readers=tuple(numbered)), latest


def asleep_s() -> float:
    """Return for how many seconds this computer was suspended since it started (Linux)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


class CardWatcher:
    """One thread that tells a listener every change, from the moment that it is made.

    Cards already present are told first, as inserted. Implements `cps_auth.card.port.Watch`.
    """

    def __init__(
        self,
        services: Callable[[], ReaderService],
        listener: CardListener,
        *,
        asleep_s: Callable[[], float] = asleep_s,
    ) -> None:
        """Start the thread.

        Args:
            services: makes a PC/SC service, again each time that the last one was lost.
            listener: called in the thread, one event at a time.
            asleep_s: tells for how many seconds the computer was suspended so far.
        """
        self._services = services
        self._listener = listener
        self._stopping = threading.Event()
        self._service: ReaderService | None = None
        self._told = Snapshot()
        self._generation = 0
        self._asleep_s = asleep_s
        self._slept_s = asleep_s()
        self._thread = threading.Thread(target=self._run, name="cps-auth-cards", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End within milliseconds; WATCHER_STOPPED comes last. May be called twice.

        Called by the listener it returns at once; the thread ends when the listener returns.
        """
        self._stopping.set()
        if threading.current_thread() is self._thread:
            return
        while self._thread.is_alive():
            service = self._service
            if service is not None:
                service.cancel()
            self._thread.join(_STOP_RETRY_S)

    def _run(self) -> None:
        reason = ""
        try:
            self._watch()
        except Exception as error:  # whatever it was, the listener must know that nobody watches
            _log.exception("the card watcher failed")
            reason = type(error).__name__
        try:
            self._listener(CardEvent(CardEventKind.WATCHER_STOPPED, reason=reason))
        except Exception:
            _log.exception("the listener failed")

    def _watch(self) -> None:
        """Watch one service after another; one that fails again is asked at growing intervals."""
        backoff = Backoff(_FIRST_RETRY_S, _LAST_RETRY_S)
        while not self._stopping.is_set():
            began_s = time.monotonic()
            try:
                self._watch_one_service()
            except ReaderServiceUnavailable as lost:
                self._tell(Snapshot(service_up=False), lost.reason)
            if time.monotonic() - began_s > _LASTED_S:
                backoff.reset()
            self._stopping.wait(backoff.pause_s())

    def _watch_one_service(self) -> None:
        service = _known(self._services)
        self._service = service
        try:
            fresh = _known(service.snapshot)
            self._tell(fresh)
            while not self._stopping.is_set():
                fresh = _known(partial(service.wait_for_change, fresh, _WAIT_S))
                self._notice_sleep()
                self._tell(fresh)
        finally:
            self._service = None
            service.close()

    def _notice_sleep(self) -> None:
        """After a suspend, tell it, and take no card for the one that was there before.

        Without power nothing counts insertions: whoever swapped cards meanwhile was not seen.
        """
        slept_s = self._asleep_s()
        if slept_s - self._slept_s < _SLEPT_S:
            return
        self._slept_s = slept_s
        self._listener(CardEvent(CardEventKind.RESUMED))
        unseen = (
            state if state.atr is None else replace(state, event_count=_NEVER)
            for state in self._told.readers
        )
        self._told = replace(self._told, readers=tuple(unseen))

    def _tell(self, fresh: Snapshot, reason: str = "") -> None:
        after, self._generation = with_generations(self._told, fresh, self._generation)
        events = changes(self._told, after)
        self._told = after
        for event in events:
            self._listener(replace(event, reason=reason))


def _known(ask: Callable[[], _T]) -> _T:
    """Ask the service; what a library raises means that nobody knows what is there, and may pass.

    Raises:
        CpsAuthError: what the service said; ReaderServiceLost for anything else.
    """
    try:
        return ask()
    except CpsAuthError:
        raise
    except Exception as error:
        _log.exception("the reader service failed")
        raise ReaderServiceLost(type(error).__name__) from error


def _reader_gone(old: ReaderState) -> tuple[CardEvent, ...]:
    gone = CardEvent(CardEventKind.READER_GONE, old.name, generation=old.generation)
    if old.atr is None:
        return (gone,)
    return (replace(gone, kind=CardEventKind.CARD_REMOVED), gone)


def _reader_changed(old: ReaderState | None, new: ReaderState) -> tuple[CardEvent, ...]:
    event = CardEvent(CardEventKind.READER_ADDED, new.name, generation=new.generation)
    inserted = replace(event, kind=CardEventKind.CARD_INSERTED, atr=new.atr)
    if old is None:
        return (event,) if new.atr is None else (event, inserted)
    if not _card_changed(old, new):
        return ()
    if new.atr is None:
        return (replace(event, kind=CardEventKind.CARD_REMOVED),)
    if old.atr is None:
        return (inserted,)
    return (replace(inserted, kind=CardEventKind.CARD_SWAPPED),)


def _card_changed(old: ReaderState, new: ReaderState) -> bool:
    """Return whether another insertion is in the reader now, or none any more.

    Of a card that came and went unseen it is told that it left: somebody may have logged in.
    """
    return (old.atr, old.event_count) != (new.atr, new.event_count)

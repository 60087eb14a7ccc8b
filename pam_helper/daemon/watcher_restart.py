"""Watcher restart: somebody watches the readers for as long as the daemon runs."""

from __future__ import annotations

import logging
import threading
import time

from cps_auth.backoff import Backoff
from cps_auth.card.port import CardListener, CardSource, Watch
from cps_auth.errors import CpsAuthError
from cps_auth.model import CardEvent, CardEventKind

RESTART_AFTER_S = 1.0
LONGEST_PAUSE_S = 30.0
LASTED_S = 60.0
"""A watcher that was there for so long is started again without a longer pause."""
ASK_EVERY_S = 5.0
"""A reader service that hangs tells nothing, so it is asked now and then whether it answers."""

_log = logging.getLogger(__name__)


class RestartingWatcher:
    """A watcher that is started again when it stops; the listener hears that it did.

    The listener also hears SERVICE_LOST when the reader service is there and does not answer.
    """

    def __init__(self, cards: CardSource, listener: CardListener) -> None:
        """Start watching.

        Args:
            cards: whose readers to watch.
            listener: hears every event, WATCHER_STOPPED included, which locks everything.
        """
        self._cards = cards
        self._listener = listener
        self._heard = threading.Event()
        self._ended = threading.Event()
        self._stopping = threading.Event()
        self._backoff = Backoff(RESTART_AFTER_S, LONGEST_PAUSE_S)
        self._answers = True
        self._readers: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="watching", daemon=True)
        self._thread.start()

    def wait_until_heard(self, within_s: float) -> None:
        """Wait for the first event; with no reader attached there is none to wait for.

        Args:
            within_s: how long at most.
        """
        self._heard.wait(within_s)

    def restart(self) -> None:
        """Read everything anew, as after a sleep: WATCHER_STOPPED is told first, which locks."""
        self._backoff.reset()  # nothing failed
        self._ended.set()

    @property
    def is_alive(self) -> bool:
        """Return whether its thread runs."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop; WATCHER_STOPPED has been told when this returns."""
        self._stopping.set()
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            began_s = time.monotonic()
            self._watch_once()
            if time.monotonic() - began_s > LASTED_S:
                self._backoff.reset()
            self._stopping.wait(self._backoff.pause_s())

    def _watch_once(self) -> None:
        """Watch until the watcher stops, or is asked to begin anew."""
        self._ended.clear()
        watch = self._start()
        if watch is None:
            return
        if self._stopping.is_set():
            self._ended.set()
        asking = Backoff(ASK_EVERY_S, LONGEST_PAUSE_S)
        while not self._ended.wait(asking.pause_s()):
            self._ask()
            if self._answers:
                asking.reset()
        watch.stop()

    def _start(self) -> Watch | None:
        try:
            return self._cards.watch(self._tell)
        except CpsAuthError as error:
            _log.critical("nobody watches the readers: %s", error)
            self._listener(CardEvent(CardEventKind.WATCHER_STOPPED, reason=error.code))
            return None

    def _ask(self) -> None:
        """Ask the reader service something, and tell once that it gives no answer.

        Not where it has no reader: then no card opened a session, and a vendor's module would
        be started to look for others.
        """
        if not self._readers:
            return
        try:
            self._cards.readers()
        except CpsAuthError as error:
            if self._answers:
                _log.critical("the reader service does not answer: %s", error)
                self._listener(CardEvent(CardEventKind.SERVICE_LOST, reason=error.code))
            self._answers = False
        else:
            self._answers = True

    def _tell(self, event: CardEvent) -> None:
        _log.info("%s %s %s", event.kind.value, event.reader, event.reason)
        if event.kind is CardEventKind.READER_ADDED:
            self._readers.add(event.reader)
        elif event.kind is CardEventKind.READER_GONE:
            self._readers.discard(event.reader)
        elif event.kind is not CardEventKind.SERVICE_BACK and not event.reader:
            self._readers.clear()  # nobody knows; what is there is told again
        self._listener(event)
        self._heard.set()
        if event.kind is CardEventKind.WATCHER_STOPPED:
            self._ended.set()

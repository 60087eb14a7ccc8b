"""Circuit breaker: while a store does not answer, nobody waits for it but a probing thread."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from cps_auth.errors import StoreUnavailable

PROBE_EVERY_S = 0.25
_PROBE_LOST_S = 5.0
"""A probe of which nothing was heard for so long is not running: it does not outlive a fork."""

_log = logging.getLogger(__name__)


class Breaker:
    """Closed while a store answers; opened by a timeout, closed again by a probe in a thread."""

    def __init__(self, probe: Callable[[], object]) -> None:
        """Begin closed.

        Args:
            probe: asks the store, briefly; returns when it answers and raises otherwise.
        """
        self._probe = probe
        self._mutex = threading.Lock()
        self._reason: str | None = None
        self._probed_s = 0.0

    def check(self) -> None:
        """Refuse at once while the store does not answer.

        Raises:
            StoreUnavailable
        """
        reason = self._reason
        if reason is not None:
            if time.monotonic() - self._probed_s > _PROBE_LOST_S:
                self._start_probe()
            raise StoreUnavailable(reason)

    def open(self, reason: str) -> None:
        """Refuse from now on, until a probe is answered.

        Args:
            reason: for the log, and for everybody who asks meanwhile.
        """
        with self._mutex:
            was_closed, self._reason = self._reason is None, reason
        if was_closed:
            _log.error("the store does not answer, and is not waited for: %s", reason)
            self._start_probe()

    def _start_probe(self) -> None:
        self._probed_s = time.monotonic()
        threading.Thread(target=self._probe_until_answered, name="cps-store", daemon=True).start()

    def _probe_until_answered(self) -> None:
        while True:
            time.sleep(PROBE_EVERY_S)
            self._probed_s = time.monotonic()
            try:
                self._probe()
            except Exception as error:
                del error
                continue
            self._reason = None
            _log.warning("the store answers again")
            return

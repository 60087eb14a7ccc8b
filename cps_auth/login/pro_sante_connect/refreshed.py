"""A value fetched once for everybody, and renewed behind the requests' back."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from cps_auth.errors import ProviderUnavailable

FRESH_S = 3600.0
USABLE_S = 24 * 3600.0
RETRY_S = 5.0

Value = TypeVar("Value")


class Refreshed(Generic[Value]):
    """One value. A burst of callers fetches it once; while it is renewed, the old one is given.

    After a failure nobody asks again for `RETRY_S`: a provider that is down costs one caller a
    deadline, and the others nothing.
    """

    def __init__(
        self, fetch: Callable[[], Value], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """Fetch nothing yet.

        Args:
            fetch: raises ProviderUnavailable.
            monotonic: tells the time, in seconds.
        """
        self._fetch = fetch
        self._monotonic = monotonic
        self._fetching = threading.Lock()
        self._kept: tuple[float, Value] | None = None
        self._failed: tuple[float, ProviderUnavailable] | None = None

    def get(self) -> Value:
        """Return the value.

        Raises:
            ProviderUnavailable: there is none, or the last one is older than `USABLE_S`.
        """
        kept = self._kept
        age_s = USABLE_S if kept is None else self._monotonic() - kept[0]
        if kept is None or age_s >= USABLE_S:
            return self._fetch_once(than=kept)
        if age_s >= FRESH_S and not self._has_just_failed() and not self._fetching.locked():
            threading.Thread(target=self._renew, args=(kept,), daemon=True).start()
        return kept[1]

    def newer(self) -> Value:
        """Return a value fetched now, or within the last `RETRY_S`.

        Raises:
            ProviderUnavailable
        """
        kept = self._kept
        if kept is not None and self._monotonic() - kept[0] < RETRY_S:
            return kept[1]
        return self._fetch_once(than=kept)

    def _renew(self, than: tuple[float, Value]) -> None:
        try:
            self._fetch_once(than=than)
        except ProviderUnavailable:
            return  # the old one serves until it is too old

    def _fetch_once(self, than: tuple[float, Value] | None) -> Value:
        with self._fetching:
            kept = self._kept
            if kept is not None and kept is not than:  # another caller did it meanwhile
                return kept[1]
            if self._has_just_failed() and self._failed is not None:
                raise ProviderUnavailable(self._failed[1].reason)
            try:
                value = self._fetch()
            except ProviderUnavailable as error:
                self._failed = self._monotonic(), error
                raise
            self._kept, self._failed = (self._monotonic(), value), None
            return value

    def _has_just_failed(self) -> bool:
        return self._failed is not None and self._monotonic() - self._failed[0] < RETRY_S

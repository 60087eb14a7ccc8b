"""PC/SC: the readers and the service; the cards are in `cps_auth.card.pcsc.transport`.

Every question has a deadline, since a stopped pcscd never answers: `wait_for_change` too, a few
seconds after its timeout.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from cps_auth.backoff import Backoff
from cps_auth.card.pcsc import errors as codes
from cps_auth.card.pcsc import library
from cps_auth.card.pcsc.deadline import DeadlineThread, nothing
from cps_auth.card.pcsc.library import MOST_STATES, State, scard
from cps_auth.card.pcsc.neighbours import busy
from cps_auth.card.pcsc.transport import BUSY_AFTER_S, PcscTransport
from cps_auth.errors import CardBusy, CpsAuthError, ReaderServiceLost, ReaderServiceUnavailable
from cps_auth.model import ReaderState, Snapshot

_PNP = "\\\\?PnP?\\Notification"
"""Pseudo reader that changes when a reader comes or goes ([MS-RDPESC], SCardGetStatusChange)."""
_UNUSABLE = scard.SCARD_STATE_UNKNOWN | scard.SCARD_STATE_UNAVAILABLE | scard.SCARD_STATE_IGNORE
_LIST_TRIES = 3  # a reader may go between listing the readers and asking for their states
_MOMENT_S = 0.5  # between looks at readers beyond what one question takes
_CANCEL_RETRY_S = 0.005
_FIRST_RETRY_S = 0.05
_CANCEL_S = 0.5  # a pcscd that runs wakes a waiting thread in a millisecond
_ANSWER_S = 5.0  # pcscd answers a question about readers at once, or it is stopped

_T = TypeVar("_T")
_States = tuple[int, list[State]]


class PcscService:
    """One connection to pcscd. Implements `cps_auth.card.port.ReaderService`."""

    def __init__(self) -> None:
        """Connect.

        Raises:
            ReaderServiceLost: pcscd does not run, or does not answer.
            ReaderServiceRefused: polkit lets this program not use it.
        """
        self._thread = DeadlineThread("cps-auth-pcsc")
        self._is_closed = False
        self._listed = 0  # readers that PC/SC listed last, those that cannot be used included
        try:
            self._context = self._establish()
        except ReaderServiceUnavailable:
            self._thread.stop()
            raise
        self._cancelled = threading.Event()
        self._idle = threading.Event()  # no thread is in wait_for_change
        self._idle.set()

    def snapshot(self) -> Snapshot:
        """Return all readers now.

        Raises:
            ReaderServiceLost: pcscd went away.
        """
        for _ in range(_LIST_TRIES):
            names = self._reader_names()
            code, states = self._states_of(names)
            if code == codes.SUCCESS:
                break
        else:  # one that PC/SC lists and does not know takes no other one away
            states = [state for name in names for state in self._states_of([name])[1]]
        self._listed = len(names)
        usable = (state for state in states if not state.flags & _UNUSABLE)
        return Snapshot(tuple(map(_reader_state, usable)))

    def _states_of(self, names: Sequence[str]) -> _States:
        """Return what PC/SC says of readers now; of none of them where it refuses one's name.

        Raises:
            ReaderServiceLost
        """
        told: list[State] = []
        for start in range(0, len(names), MOST_STATES):
            unaware = [(name, scard.SCARD_STATE_UNAWARE) for name in names[start:][:MOST_STATES]]
            code, states = self._known(self._ask(partial(self._status_change, 0, unaware)))
            if code in codes.OF_ONE_NAME:
                return code, []
            told += states
        return codes.SUCCESS, told

    def wait_for_change(self, seen: Snapshot, timeout_s: float) -> Snapshot:
        """Block until something differs from `seen`, the timeout, or `cancel`; return what is.

        Raises:
            ReaderServiceLost: pcscd went away.
        """
        self._idle.clear()
        try:
            return self._wait(seen, time.monotonic() + timeout_s)
        finally:
            self._cancelled.clear()
            self._idle.set()

    def cancel(self) -> None:
        """End the blocked `wait_for_change` of another thread at once, or else the next one."""
        self._cancelled.set()
        messenger = DeadlineThread("cps-auth-cancel")
        try:
            messenger.call(_CANCEL_S, self._wake)
        except TimeoutError:
            self._thread.give_up()  # a stopped pcscd wakes nobody
        messenger.stop()

    def _wake(self) -> None:
        scard.SCardCancel(self._context)
        while not self._idle.wait(_CANCEL_RETRY_S):  # it had not begun to block yet
            scard.SCardCancel(self._context)

    def connect(self, reader: str) -> PcscTransport:
        """Power the card in `reader` and return it.

        Raises:
            NoReader, NoCard, CardRemoved, ReaderServiceLost
            CardBusy: another program held it for BUSY_AFTER_S seconds.
            CardMisbehaved: the card does not answer.
        """

        def insertion() -> int | None:
            found = (one for one in self.snapshot().readers if one.name == reader)
            return next((one.event_count for one in found if one.atr is not None), None)

        before = insertion()
        context = self._establish()
        try:
            handle, protocol = self._connect(context, reader)
        except CpsAuthError:
            if not self._thread.is_over:
                self._ask(lambda: scard.SCardReleaseContext(context))
            raise
        return PcscTransport(context, handle, protocol, lambda: insertion() == before)

    def _connect(self, context: int, reader: str) -> tuple[int, int]:
        """Connect; wait a moment for a program that has the card for itself.

        Raises:
            NoReader, NoCard, CardBusy, CardRemoved, CardMisbehaved, ReaderServiceLost
        """
        until, backoff = time.monotonic() + BUSY_AFTER_S, Backoff(_FIRST_RETRY_S, BUSY_AFTER_S)
        while True:
            try:
                code, handle, protocol = self._thread.call(
                    max(_FIRST_RETRY_S, until - time.monotonic()),
                    partial(library.connect, context, reader),
                    lambda _: scard.SCardReleaseContext(context),  # and the connection with it
                )
            except TimeoutError:
                raise busy() from None
            if codes.unsigned(code) == codes.SUCCESS:
                return handle, protocol
            error = codes.connect_error(code, reader)
            if not isinstance(error, CardBusy):
                raise error
            pause_s = backoff.pause_s()
            if time.monotonic() + pause_s > until:
                raise busy()
            time.sleep(pause_s)

    def close(self) -> None:
        """Release the connection. Never raises, may be called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        hangs = self._thread.is_over
        thread = DeadlineThread("cps-auth-pcsc") if hangs else self._thread
        with contextlib.suppress(TimeoutError):
            # Not waited for where a call hangs: it is released when that call returns
            thread.call(
                0.0 if hangs else _ANSWER_S, lambda: scard.SCardReleaseContext(self._context)
            )
        thread.stop()

    def _establish(self) -> int:
        def establish() -> tuple[int, int]:
            return scard.SCardEstablishContext(scard.SCARD_SCOPE_SYSTEM)

        code, context = self._ask(establish, lambda late: scard.SCardReleaseContext(late[1]))
        if codes.unsigned(code) in codes.MAYBE_NOT_LET_IN and library.hangs_up_unasked():
            code = codes.NOT_LET_IN
        if codes.unsigned(code) != codes.SUCCESS:
            raise codes.service_error(code, "SCardEstablishContext")
        return context

    def _ask(
        self,
        call: Callable[[], _T],
        undo: Callable[[_T], object] = nothing,
        waiting_s: float = 0.0,
    ) -> _T:
        try:
            return self._thread.call(waiting_s + _ANSWER_S, call, undo)
        except TimeoutError:
            raise ReaderServiceLost("pcscd does not answer", "no-answer") from None

    def _reader_names(self) -> list[str]:
        code, names = self._ask(partial(library.list_readers, self._context))
        if codes.unsigned(code) == codes.NO_READERS_AVAILABLE:
            return []
        if codes.unsigned(code) != codes.SUCCESS:
            raise codes.service_error(code, "SCardListReaders")
        return names

    def _wait(self, seen: Snapshot, deadline: float) -> Snapshot:
        # Where there are too many for one question: cards first, the others every moment
        in_use = [(state.name, _expected(state)) for state in seen.readers if state.atr is not None]
        empty = [(state.name, _expected(state)) for state in seen.readers if state.atr is None]
        longest_s = math.inf if len(in_use) + len(empty) < MOST_STATES else _MOMENT_S
        backoff = Backoff(_FIRST_RETRY_S, _MOMENT_S)
        while not self._cancelled.is_set():
            left_s = min(deadline - time.monotonic(), longest_s)
            if left_s <= 0:
                break
            expected = [*in_use, (_PNP, self._listed << 16), *empty][:MOST_STATES]
            waiting = partial(self._status_change, int(left_s * 1000) + 1, expected)
            code, _ = self._known(self._ask(waiting, waiting_s=left_s))
            now = self.snapshot()
            if now != _without_generations(seen):
                return now
            if code != codes.TIMEOUT:  # something differs, of which PC/SC will tell nothing
                self._cancelled.wait(backoff.pause_s())
        return self.snapshot()

    def _status_change(self, timeout_ms: int, expected: Sequence[tuple[str, int]]) -> _States:
        if not expected:
            return codes.SUCCESS, []
        timeout_ms = min(timeout_ms, scard.INFINITE - 1)
        return library.get_status_change(self._context, timeout_ms, expected)

    @staticmethod
    def _known(answer: _States) -> _States:
        """Return an answer to SCardGetStatusChange that is not an error of the service's.

        Raises:
            ReaderServiceLost
        """
        code, states = codes.unsigned(answer[0]), answer[1]
        if code in (codes.SUCCESS, codes.TIMEOUT, codes.CANCELLED, *codes.OF_ONE_NAME):
            return code, states
        raise codes.service_error(code, "SCardGetStatusChange")


def _reader_state(state: State) -> ReaderState:
    present = state.flags & scard.SCARD_STATE_PRESENT
    # A card that does not answer (mute) is present, with an empty answer to reset
    return ReaderState(state.name, state.atr if present else None, state.flags >> 16 & 0xFFFF)


def _expected(seen: ReaderState) -> int:
    if seen.atr is None:
        flags = scard.SCARD_STATE_EMPTY
    else:
        flags = scard.SCARD_STATE_PRESENT | (0 if seen.atr else scard.SCARD_STATE_MUTE)
    return seen.event_count << 16 | flags


def _without_generations(seen: Snapshot) -> Snapshot:
    return replace(seen, readers=tuple(replace(state, generation=0) for state in seen.readers))

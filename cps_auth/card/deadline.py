"""A deadline for calls that have none: pcsc-lite waits for ever for another program's card."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

_T = TypeVar("_T")


def call_within(timeout_s: float, call: Callable[[], _T], undo: Callable[[_T], object]) -> _T:
    """Return what `call` returns, or give it up after `timeout_s` seconds.

    Args:
        timeout_s: how long to wait.
        call: blocks in C with the interpreter's lock released, and does not raise. It runs in
            a thread of its own, which stays behind until it returns.
        undo: called in that thread with a result that came too late.

    Raises:
        TimeoutError: given up.
    """
    outcome: Future[_T] = Future()

    def run() -> None:
        result = call()
        if outcome.set_running_or_notify_cancel():
            outcome.set_result(result)
        else:
            undo(result)

    threading.Thread(target=run, name="cps-auth-deadline", daemon=True).start()
    try:
        return outcome.result(timeout_s)
    except TimeoutError:
        if outcome.cancel():
            raise
        return outcome.result()  # it came at the last moment

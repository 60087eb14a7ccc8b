"""What is told to the main thread is heard, and so is every signal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from cps_auth.main_thread import MainThreadQueue


@pytest.fixture
def heard() -> Iterator[MainThreadQueue[str]]:
    """A queue, and the signal handlers put back afterwards."""
    before = signal.getsignal(signal.SIGUSR1)
    with MainThreadQueue() as queue:
        yield queue
    signal.signal(signal.SIGUSR1, before)


def test_items_come_in_order(heard: MainThreadQueue[str]) -> None:
    """From another thread, more of them than a pipe holds, and none is lost."""
    many = [str(number) for number in range(70_000)]
    teller = threading.Thread(target=lambda: [heard.put(item) for item in many])
    teller.start()
    got = []
    while len(got) < len(many):
        item = heard.get(10)
        if item is not None:
            got.append(item)
    teller.join()
    assert got == many


def test_nothing_comes_in_time(heard: MainThreadQueue[str]) -> None:
    """None after the timeout, and nothing left of it."""
    assert heard.get(0.01) is None
    heard.put("now")
    assert heard.get() == "now"
    assert heard.get(0) is None


def test_a_handler_tells(heard: MainThreadQueue[str]) -> None:
    """A signal handler may put; a put while the main thread puts does not block it."""
    signal.signal(signal.SIGUSR1, lambda *_: heard.put("signal"))
    os.kill(os.getpid(), signal.SIGUSR1)
    assert heard.get(10) == "signal"


def test_a_signal_that_came_before_the_wait_is_heard(heard: MainThreadQueue[str]) -> None:
    """As one that comes between the last look at signals and the wait: the pipe remembers it."""
    signal.signal(signal.SIGUSR1, lambda *_: None)
    os.kill(os.getpid(), signal.SIGUSR1)
    assert heard.get() is None  # returns, though nobody put anything


def test_what_comes_too_late_is_nothing() -> None:
    """After its end nobody is told, and no other's descriptor is written to."""
    with MainThreadQueue[str]() as queue:
        pass
    queue.put("late")


def test_the_descriptor_before_it_is_put_back() -> None:
    """As of an event loop that had it."""
    woken, wake = os.pipe2(os.O_NONBLOCK)
    before = signal.set_wakeup_fd(wake)
    try:
        with MainThreadQueue[str]():
            pass
        assert signal.set_wakeup_fd(before) == wake
    finally:
        signal.set_wakeup_fd(before)
        os.close(woken)
        os.close(wake)


_INTERRUPTED = """
import os, threading
from cps_auth.main_thread import MainThreadQueue
with MainThreadQueue() as queue:
    threading.Timer(0.2, lambda: (os.kill(os.getpid(), 2))).start()
    try:
        while True: queue.get()
    except KeyboardInterrupt:
        print("heard")
"""


def test_an_interrupt_comes_out() -> None:
    """KeyboardInterrupt is raised from the wait, sent by whatever thread."""
    done = subprocess.run(
        [sys.executable, "-c", _INTERRUPTED], capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"heard\n"

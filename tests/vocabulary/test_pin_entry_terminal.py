"""The PIN prompt leaves the terminal as it was, whatever happens while it waits."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest

ASK = """
from cps_auth.errors import PinEntryCancelled
from cps_auth.pin_entry import pin_from_terminal
try:
    with pin_from_terminal("PIN? ") as pin:
        print("length", len(pin), flush=True)
except PinEntryCancelled:
    print("cancelled", flush=True)
"""

SHELL = """
import fcntl, os, signal, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
report = int(sys.argv[2])
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[1]])
os.write(report, b"%d\\n" % job)
while True:
    _, status = os.waitpid(job, os.WUNTRACED)
    if not os.WIFSTOPPED(status):
        break
    os.write(report, b"stopped\\n")
os.write(report, b"%d\\n" % os.waitstatus_to_exitcode(status))
"""
"""What a shell does: a session with a terminal, and the program in a foreground job of its own."""
WITHIN_S = 60.0


@dataclass
class Job:
    """The program that asks, as seen by who types and by its shell."""

    keyboard: int
    report: int
    shown: bytes = b""
    pid: int = 0

    def await_shown(self, text: bytes) -> None:
        """Read the terminal until a text is there, and what comes after it stays."""
        while text not in self.shown:
            self.shown += _read(self.keyboard)
        self.shown = self.shown.split(text, 1)[1]

    def reported(self) -> bytes:
        """Return the next line of its shell: that it stopped, or how it ended."""
        line = b""
        while not line.endswith(b"\n"):
            line += _read(self.report, 1)
        return line.strip()

    @property
    def echoes(self) -> bool:
        """Whether the terminal shows what is typed."""
        return bool(termios.tcgetattr(self.keyboard)[3] & termios.ECHO)


def _read(descriptor: int, at_most: int = 1000) -> bytes:
    ready, _, _ = select.select([descriptor], [], [], WITHIN_S)
    assert ready, "nothing more came"
    return os.read(descriptor, at_most)


@pytest.fixture
def job() -> Iterator[Job]:
    """A program that is asking for a PIN just now."""
    with ExitStack() as closing:
        keyboard, terminal = os.openpty()
        report, reports = os.pipe()
        for descriptor in (keyboard, terminal, report, reports):
            closing.callback(os.close, descriptor)
        shell = subprocess.Popen(
            [sys.executable, "-c", SHELL, ASK, str(reports)],
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            pass_fds=[reports],
            start_new_session=True,
        )
        closing.callback(shell.wait)
        closing.callback(shell.kill)
        job = Job(keyboard, report)
        job.pid = int(job.reported())
        job.await_shown(b"PIN? ")
        assert not job.echoes
        yield job


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_that_ends_it(job: Job, number: signal.Signals) -> None:
    """The terminal echoes again, and the program ends as the signal says."""
    os.kill(job.pid, number)
    assert int(job.reported()) == -number
    assert job.echoes


def test_ctrl_backslash(job: Job) -> None:
    """So does the key that sends SIGQUIT."""
    os.write(job.keyboard, b"\x1c")
    assert int(job.reported()) == -signal.SIGQUIT
    assert job.echoes


def test_ctrl_c(job: Job) -> None:
    """The entry is cancelled, and the terminal echoes again."""
    os.write(job.keyboard, b"\x03")
    job.await_shown(b"cancelled")
    assert int(job.reported()) == 0
    assert job.echoes


def test_ctrl_z_and_back(job: Job) -> None:
    """While it is stopped the terminal echoes; when it goes on, it asks again without echo."""
    for _ in range(2):
        os.write(job.keyboard, b"12\x1a")
        assert job.reported() == b"stopped"
        assert job.echoes
        os.kill(job.pid, signal.SIGCONT)
        job.await_shown(b"PIN? ")
        assert not job.echoes
    os.write(job.keyboard, b"1234\n")
    job.await_shown(b"length 4")
    assert b"1234" not in job.shown
    assert int(job.reported()) == 0
    assert job.echoes

"""How the child process of a module comes to be: started alone, or forked by one that waits.

The only module of the library that starts a vendor's process. Python and its imports take more
time than a login; a program that stays keeps a `ForkServer`, which has them done already.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import weakref
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Final, Protocol

from cps_auth.errors import ModuleUnusable

_STARTS_WITHIN_S: Final = 10.0  # Python and its imports, on a PC that is busy starting
_FORKS_WITHIN_S: Final = 2.0
_FAREWELL_S: Final = 1.0
_STATUS_BYTES: Final = 4
_STATUS_WITHIN_S: Final = 0.2


class Child(Protocol):
    """A process that serves one module over two pipes."""

    @property
    def requests(self) -> int:
        """Return the descriptor to write requests to."""

    @property
    def replies(self) -> int:
        """Return the descriptor to read replies from."""

    def close_pipes(self) -> None:
        """Let go of both pipes, which asks it to end. May be called twice."""

    def wait(self, within_s: float | None = None) -> int | None:
        """Wait for its end.

        Args:
            within_s: how long; None for as long as it takes.

        Returns:
            Its exit status, as `subprocess` counts it: negative for a signal; None when it
            still runs.
        """

    def kill(self) -> None:
        """End it by force. Does nothing to one that has ended."""


class StartChild(Protocol):
    """Makes a child for a module."""

    def __call__(self, module: Path, alarm_s: int) -> Child:
        """Start it; it loads the module next, and says so.

        Args:
            module: the shared library.
            alarm_s: the child ends itself when one request takes longer, whole seconds.

        Raises:
            ModuleUnusable: the system gives no process.
        """


class _Pipes:
    """The parent's ends of a child's pipes, closed once."""

    def __init__(self, requests: int, replies: int) -> None:
        self.requests, self.replies = requests, replies
        self._close_pipes = weakref.finalize(self, _close_all, (requests, replies))

    def close_pipes(self) -> None:
        self._close_pipes()


# --- Started alone ---------------------------------------------------------------


class _StartedChild(_Pipes):
    """A child that is a process of its own from the start."""

    def __init__(self, process: subprocess.Popen[bytes], requests: int, replies: int) -> None:
        super().__init__(requests, replies)
        self._process = process

    def wait(self, within_s: float | None = None) -> int | None:
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        self._process.kill()


def start_child(module: Path, alarm_s: int) -> Child:
    """Start a child: see `StartChild`."""
    words = "cps_auth.card.pkcs11.child", os.fspath(module.absolute()), str(alarm_s)
    with ExitStack() as on_failure:
        requests, ours_to_write = _pipe(on_failure)
        ours_to_read, replies = _pipe(on_failure)
        process = _python(*words, stdin=requests, stdout=replies)
        on_failure.pop_all()
    os.close(requests)
    os.close(replies)
    return _StartedChild(process, ours_to_write, ours_to_read)


# --- Forked by one that waits ----------------------------------------------------


class _ForkedChild(_Pipes):
    """A child of the fork server: held by its pidfd, which never names another process."""

    def __init__(self, pidfd: int, status: int, requests: int, replies: int) -> None:
        super().__init__(requests, replies)
        self._pidfd, self._status_pipe = pidfd, status
        self._status: int | None = None
        self._close = weakref.finalize(self, _close_all, (pidfd, status))
        self._close.atexit = False  # whoever keeps this child still has to end it then

    def wait(self, within_s: float | None = None) -> int | None:
        if self._status is None and _is_readable(self._pidfd, within_s):
            # Said by the fork server, unless that was killed or hangs itself
            is_said = _is_readable(self._status_pipe, _STATUS_WITHIN_S)
            status = os.read(self._status_pipe, _STATUS_BYTES) if is_said else b""
            self._status = int.from_bytes(status, "big", signed=True)
        return self._status

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)


class ForkServer:
    """One process that has imported all that a child needs, and forks them. Safe in threads.

    It loads no module itself. Its children have the environment that it was started with. It ends
    with this object, or with this process, whichever ends first.
    """

    def __init__(self) -> None:
        """Start it; what it imports is ready when it is wanted.

        Raises:
            ModuleUnusable: the system gives no process.
        """
        self._mutex = threading.Lock()
        self._server = _Server()

    def __call__(self, module: Path, alarm_s: int) -> Child:
        """Fork a child: see `StartChild`. A server that died or hangs is replaced once."""
        with self._mutex:
            if not self._server.is_ours:
                self._server = _Server()  # this process was forked itself, by gunicorn say
            try:
                return self._server.fork(module, alarm_s)
            except OSError:
                self._server.end()
            self._server = _Server()
            try:
                return self._server.fork(module, alarm_s)
            except OSError as failure:
                self._server.end()
                raise ModuleUnusable(f"no process for it: {failure.strerror}") from None


class _Server:
    """The process of a `ForkServer`, and the socket that it takes orders from."""

    def __init__(self) -> None:
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = "cps_auth.card.pkcs11.fork_server"
            process = _python(command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
        self._pid = os.getpid()
        self._orders.settimeout(_STARTS_WITHIN_S)
        self.end = weakref.finalize(self, _end, process, self._orders, self._pid)

    @property
    def is_ours(self) -> bool:
        """Whether this process started it, not the one that this was forked from."""
        return self._pid == os.getpid()

    def fork(self, module: Path, alarm_s: int) -> Child:
        """Have a child forked.

        Raises:
            OSError: the server has died, hangs, or could not fork.
        """
        with ExitStack() as on_failure:
            requests, ours_to_write = _pipe(on_failure)
            ours_to_read, replies = _pipe(on_failure)
            our_status, status = _pipe(on_failure)
            theirs = requests, replies, status
            order = f"{alarm_s}\0{module.absolute()}".encode(errors="surrogateescape")
            socket.send_fds(self._orders, [order], theirs)
            _, fds, _, _ = socket.recv_fds(self._orders, 1, 1)
            if not fds:
                raise OSError(None, "not forked")
            self._orders.settimeout(_FORKS_WITHIN_S)
            on_failure.pop_all()
        _close_all(theirs)
        return _ForkedChild(fds[0], our_status, ours_to_write, ours_to_read)


def _end(process: subprocess.Popen[bytes], orders: socket.socket, pid: int) -> None:
    orders.close()
    if pid != os.getpid():
        return  # the socket was a copy
    try:
        process.wait(_FAREWELL_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


# --- Both ------------------------------------------------------------------------


def _python(program: str, *arguments: str, stdin: int, stdout: int) -> subprocess.Popen[bytes]:
    # -I: nothing of the caller's PYTHON* variables or current folder is imported.
    try:
        return subprocess.Popen(  # noqa: S603  # our own module, no shell
            [sys.executable, "-I", "-m", program, *arguments],
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.DEVNULL,  # a module's debug trace may hold the PIN
            start_new_session=True,  # Ctrl-C is for the parent, which then closes the pipe
        )
    except OSError as failure:
        raise ModuleUnusable(f"no process for it: {failure.strerror}") from None


def _is_readable(descriptor: int, within_s: float | None) -> bool:
    readable = select.poll()
    readable.register(descriptor, select.POLLIN)
    return bool(readable.poll(None if within_s is None else within_s * 1000))


def _pipe(on_failure: ExitStack) -> tuple[int, int]:
    ends = os.pipe()
    on_failure.callback(_close_all, ends)
    return ends


def _close_all(descriptors: tuple[int, ...]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)

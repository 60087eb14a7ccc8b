"""The Unix socket: accepts connections, few at a time per user, one thread each.

The threads stay, and take turns: one waits for the next connection and serves it while another
waits. To start a thread, or to wake one, would take longer than most answers.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from cps_auth.errors import ConfigurationError, PeerNotAllowed
from cps_auth.files import ownership_fault
from pam_helper.daemon.answering import peer_of
from pam_helper.daemon.authority import Peer

AT_ONCE_PER_USER = 4
AT_ONCE = 64
_BACKLOG = 64
_KEPT_READY = 4
"""Threads that stay without a connection, one of which waits for the next."""
_AFTER_FAILURE_S = 0.1

_log = logging.getLogger(__name__)

Answer = Callable[[socket.socket, Peer], None]
"""Serves one connection of a peer, and never raises."""


def listen(path: Path) -> socket.socket:
    """Open the socket that every local process may connect to.

    Args:
        path: in a folder that only root can write.

    Returns:
        The listening socket.

    Raises:
        ConfigurationError: another daemon answers there, or the place is unusable.
    """
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        _check_folder(path.parent)
        _remove_stale(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
        path.chmod(0o666)  # who may ask what is decided by SO_PEERCRED
        listening.listen(_BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    return listening


def _check_folder(folder: Path) -> None:
    """Refuse a folder in which another user could put a socket of their own."""
    if fault := ownership_fault(folder.stat()):
        raise ConfigurationError(f"{folder}: {fault}")


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        if probe.connect_ex(str(path)) == 0:
            raise ConfigurationError(f"{path}: another daemon answers there")
    path.unlink()


class Server:
    """Serves a listening socket until it is stopped."""

    def __init__(self, listening: socket.socket, answer: Answer) -> None:
        """Start to accept.

        Args:
            listening: from `listen`; closed by `stop`.
            answer: serves one connection, while other threads serve others.

        Raises:
            RuntimeError: the system gives no thread.
        """
        listening.setblocking(False)
        self._listening = listening
        self._woken, self._wake = socket.socketpair()
        self._answer = answer
        self._stopping = threading.Event()
        self._mutex = threading.Lock()
        self._turn = threading.Lock()  # of the one thread that waits for a connection
        self._at_once: Counter[int] = Counter()
        self._ready = 0  # threads that wait for a connection, or for their turn to
        self._start_thread()

    def stop(self) -> None:
        """Accept no more. Connections that are being served go on.

        The listening socket is closed, not shut down: a service manager that handed it over
        gives it to the next daemon, with whoever waits in its queue.
        """
        self._stopping.set()
        self._wake.close()
        with self._turn:  # nobody accepts now, and nobody will
            self._woken.close()
            self._listening.close()

    def _start_thread(self) -> None:
        with self._mutex:
            self._ready += 1
        try:
            threading.Thread(target=self._work, name="requests", daemon=True).start()
        except RuntimeError:
            with self._mutex:
                self._ready -= 1
            raise

    def _work(self) -> None:
        while (found := self._next()) is not None:
            try:
                with found[0]:
                    self._answer(*found)
            finally:
                self._leave(found[1].uid)
            if not self._is_ready_again():
                return

    def _next(self) -> tuple[socket.socket, Peer] | None:
        """Wait for a connection that may be served; None to end."""
        with self._turn:
            while True:
                connection = self._accept()
                if connection is None:
                    return None
                peer = self._let_in(connection)
                if peer is not None:
                    return connection, peer
                connection.close()

    def _is_ready_again(self) -> bool:
        with self._mutex:
            is_kept = self._ready < _KEPT_READY
            self._ready += is_kept
        return is_kept

    def _accept(self) -> socket.socket | None:
        """Wait for a connection; None when it is time to stop."""
        ready = select.poll()
        for sock in (self._listening, self._woken):
            if sock.fileno() < 0:
                return None
            ready.register(sock, select.POLLIN)
        while True:
            ready.poll()
            if self._stopping.is_set():
                return None
            try:
                return self._listening.accept()[0]
            except BlockingIOError:
                continue
            except OSError as error:
                _log.error("cannot accept: %s", error.strerror)
                self._stopping.wait(_AFTER_FAILURE_S)

    def _let_in(self, connection: socket.socket) -> Peer | None:
        """Return who is at the other end if they may be served, by this thread."""
        try:
            peer = peer_of(connection)
        except PeerNotAllowed:
            return None
        if not self._enter(peer.uid):
            _log.warning("uid %d has too many connections", peer.uid)
            return None
        if not self._has_successor():
            self._leave(peer.uid)
            return None
        return peer

    def _has_successor(self) -> bool:
        """Leave the ready threads to serve, if another one can wait for connections."""
        with self._mutex:
            self._ready -= 1
            if self._ready > 0:
                return True
        try:
            self._start_thread()
        except RuntimeError:  # the system gives no thread
            with self._mutex:
                self._ready += 1
            return False
        return True

    def _enter(self, uid: int) -> bool:
        """Take a place; ordinary users cannot take root's login programs theirs."""
        with self._mutex:
            limit = AT_ONCE if uid == 0 else AT_ONCE_PER_USER
            if self._at_once[uid] >= limit or (uid and self._at_once.total() >= AT_ONCE):
                return False
            self._at_once[uid] += 1
            return True

    def _leave(self, uid: int) -> None:
        with self._mutex:
            self._at_once[uid] -= 1
            if not self._at_once[uid]:
                del self._at_once[uid]

"""Unix socket server: accepts connections, few at a time per user, a thread for each."""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from cps_auth.errors import ConfigurationError, PeerNotAllowed
from cps_auth.files import make_folder, ownership_fault
from pam_helper.daemon.protocol import Peer, peer_of

AT_ONCE_PER_USER = 4
AT_ONCE = 64
_BACKLOG = 64
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
        make_folder(path.parent)
        # Nobody else may put a socket of their own there.
        if fault := ownership_fault(path.parent.stat()):
            raise ConfigurationError(f"{path.parent}: {fault}")
        _remove_stale(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(str(path))
        path.chmod(0o666)  # who may ask what is decided by SO_PEERCRED
        listening.listen(_BACKLOG)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror or error}") from None
    return listening


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
        self._at_once: Counter[int] = Counter()
        self._thread = threading.Thread(target=self._accept_all, name="accept", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Accept no more. Connections that are being served go on.

        The listening socket is closed, not shut down: a service manager that handed it over
        gives it to the next daemon, with whoever waits in its queue.
        """
        self._stopping.set()
        self._wake.close()
        self._thread.join()
        self._woken.close()
        self._listening.close()

    def _accept_all(self) -> None:
        ready = select.poll()
        for sock in (self._listening, self._woken):
            ready.register(sock, select.POLLIN)
        while True:
            ready.poll()
            if self._stopping.is_set():
                return
            try:
                connection = self._listening.accept()[0]
            except BlockingIOError:
                continue
            except OSError as error:
                _log.error("cannot accept: %s", error.strerror)
                self._stopping.wait(_AFTER_FAILURE_S)
                continue
            self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        """Give a connection its thread, if its peer may have one."""
        try:
            peer = peer_of(connection)
        except PeerNotAllowed:
            connection.close()
            return
        if not self._enter(peer.uid):
            _log.warning("uid %d has too many connections", peer.uid)
            connection.close()
            return
        thread = threading.Thread(
            target=self._work, args=(connection, peer), name="request", daemon=True
        )
        try:
            thread.start()
        except RuntimeError:  # the system gives no thread
            self._leave(peer.uid)
            connection.close()

    def _work(self, connection: socket.socket, peer: Peer) -> None:
        try:
            with connection:
                self._answer(connection, peer)
        finally:
            self._leave(peer.uid)

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

"""What systemd and a service agree on: readiness, the watchdog, a socket that is handed over.

Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct

_FIRST_FD = 3
_log = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Tell the service manager, if there is one.

    Args:
        state: such as "READY=1".
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)
        except OSError as error:
            _log.warning("NOTIFY_SOCKET: %s", error.strerror)


def watchdog_s() -> float | None:
    """Return within how many seconds the service manager wants to hear of us; None for never."""
    with contextlib.suppress(ValueError, KeyError):
        if int(os.environ.get("WATCHDOG_PID", os.getpid())) == os.getpid():
            return int(os.environ["WATCHDOG_USEC"]) / 1e6
    return None


def handed_socket() -> socket.socket | None:
    """Return the listening socket that the service manager opened for us, if it did."""
    with contextlib.suppress(ValueError, KeyError):
        ours = int(os.environ["LISTEN_PID"]) == os.getpid()
        if ours and int(os.environ["LISTEN_FDS"]) == 1:
            listening = socket.socket(fileno=_FIRST_FD)
            if listening.family == socket.AF_UNIX and listening.type == socket.SOCK_STREAM:
                listening.set_inheritable(False)
                return listening
            listening.detach()
            _log.error("the socket that was handed over is not a Unix stream socket")
    return None


def answers(path: str, within_s: float) -> bool:
    """Whether this process answers a request of its own, by the way that clients take.

    Args:
        path: of the socket.
        within_s: how long it may take.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(within_s)
        try:
            connection.connect(path)
            peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            connection.sendall(b"cps1 ping root watchdog\n")
            reply = connection.recv(100)
        except OSError:
            return False
    # A socket that was handed over is the service manager's: process 1.
    ours = struct.unpack("3i", peer)[0] in (os.getpid(), 1, os.getppid())
    return ours and reply.startswith(b"PAM_AUTHINFO_UNAVAIL alive ")

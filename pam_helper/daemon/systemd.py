"""systemd's side of a service: readiness, the watchdog, a socket that is handed over, the journal.

Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import sys

_FIRST_FD = 3
_JOURNAL = "/run/systemd/journal/socket"
_PRIORITIES = ((50, 2), (40, 3), (30, 4), (20, 6), (0, 7))
"""Levels of `logging` and priorities of syslog(3)."""
_log = logging.getLogger(__name__)


def notify(state: str) -> None:
    """Send a state to the service manager, if there is one.

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
    """Return the watchdog's timeout in seconds, None where there is no watchdog."""
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


class JournalHandler(logging.Handler):
    """Writes log lines to the journal, with their priority and with fields of their own.

    Source: systemd, "Native Journal Protocol".
    """

    def __init__(self, path: str = _JOURNAL) -> None:
        """Send to a socket.

        Args:
            path: of the journal's socket.

        Raises:
            OSError: there is no journal.
        """
        super().__init__()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            self._socket.connect(path)
        except OSError:
            self.close()
            raise

    def emit(self, record: logging.LogRecord) -> None:
        """Send one line; one that the journal does not take is written to standard error."""
        fields = {
            "MESSAGE": f"{record.name} {record.getMessage()}",
            "PRIORITY": next(p for level, p in _PRIORITIES if record.levelno >= level),
            "LOGGER": record.name,
            **getattr(record, "fields", {}),
        }
        sent = b"".join(
            _field(name, str(value)) for name, value in fields.items() if value not in (None, "")
        )
        try:
            self._socket.send(sent)
        except OSError:
            sys.stderr.write(f"{fields['MESSAGE']}\n")

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


def _field(name: str, value: str) -> bytes:
    """Return one field; its length stands before it, so that it may hold any byte."""
    content = value.encode(errors="replace")
    return name.encode() + b"\n" + struct.pack("<Q", len(content)) + content + b"\n"


def is_logged_by_journal() -> bool:
    """Return whether our standard error is the journal's, as it is in a unit."""
    with contextlib.suppress(ValueError, KeyError, OSError):
        device, inode = map(int, os.environ["JOURNAL_STREAM"].split(":"))
        status = os.fstat(sys.stderr.fileno())
        return (status.st_dev, status.st_ino) == (device, inode)
    return False

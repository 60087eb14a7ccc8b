"""Ports of this machine that nobody listens on now; somebody may take them before they are used."""

from __future__ import annotations

import contextlib
import secrets
import socket


def free_port() -> int:
    """Return a port of loopback."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


def free_pair_of_ports() -> int:
    """Return the first of two ports that follow each other, as vpcd takes them."""
    while True:
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            port = secrets.randbelow(10_000) * 2 + 12_000  # below those of outgoing connections
            first.bind(("", port))
            second.bind(("", port + 1))
            return port

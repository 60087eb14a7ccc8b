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
    return free_row_of_ports(2)


def free_row_of_ports(count: int) -> int:
    """Return the first of so many ports that follow each other."""
    while True:
        port = secrets.randbelow(10_000) * 2 + 12_000  # below those of outgoing connections
        with contextlib.suppress(OSError), contextlib.ExitStack() as taken:
            for number in range(count):
                taken.enter_context(socket.socket()).bind(("", port + number))
            return port

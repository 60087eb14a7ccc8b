"""Serves an application on a loopback port, in threads, and stops it cleanly."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from flask import Flask
from werkzeug.serving import make_server

HOST = "127.0.0.1"
DEFAULT_PORT = 5000


def bind_loopback(port: int, *, or_next_free: bool = False) -> socket.socket:
    """Take a port before anything depends on its number.

    Args:
        port: 0 for any free one.
        or_next_free: try the following ports if it is taken.

    Raises:
        OSError: it is taken.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for candidate in range(port, port + (20 if or_next_free and port else 1)):
        try:
            listener.bind((HOST, candidate))
            listener.listen()
        except OSError:
            continue
        return listener
    listener.close()
    raise OSError(f"port {port} on {HOST} is taken")


def origin_of(listener: socket.socket) -> str:
    """Return the origin that a browser sees."""
    return f"http://{HOST}:{listener.getsockname()[1]}"


@contextmanager
def serving(
    listener: socket.socket, app: Flask, stop_app: Callable[[Flask], None]
) -> Iterator[None]:
    """Serve the application until the block ends; then stop it, in this order.

    Args:
        listener: a bound socket; closed at the end.
        app: what to serve.
        stop_app: stops what the application has running.
    """
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    host, port = listener.getsockname()
    server = make_server(host, port, app, threaded=True, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, name="webdemo-server")
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        listener.close()
        stop_app(app)

"""The process that forks a module's children: `python -I -m cps_auth.card.pkcs11.fork_server`.

It imports what they need, once, and waits on the socket that is its standard input. It loads no
module, sees no PIN, and ends when the parent closes its end.
"""

from __future__ import annotations

import gc
import os
import select
import socket
from contextlib import suppress
from itertools import chain
from typing import Final, NoReturn

from cps_auth.card.pkcs11 import child as pkcs11_child

_ORDER_BYTES_AT_MOST: Final = 8 << 10  # a path has 4 kB at most (PATH_MAX)
_DESCRIPTORS: Final = 3  # requests, replies, status
_STATUS_BYTES: Final = 4


class _ForkServer:
    """Takes orders; tells of each child, on a pipe of its own, how it ended."""

    def __init__(self, orders: socket.socket) -> None:
        self._orders = orders
        self._children: dict[int, tuple[int, int]] = {}  # by pidfd: pid, where its status goes
        self._ready = select.poll()
        self._ready.register(orders, select.POLLIN)

    def serve(self) -> None:
        """Work until the parent has gone."""
        while True:
            for descriptor, _ in self._ready.poll():
                if descriptor in self._children:
                    self._tell_end(descriptor)
                elif not self._take_order():
                    return

    def _take_order(self) -> bool:
        order, descriptors, _, _ = socket.recv_fds(self._orders, _ORDER_BYTES_AT_MOST, _DESCRIPTORS)
        if len(descriptors) != _DESCRIPTORS:
            return False  # the parent has gone, or it is not one
        requests, replies, status = descriptors
        try:
            pid = os.fork()
        except OSError:
            self._orders.send(b"\0")
            os.close(status)
        else:
            if pid == 0:
                self._become_child(order, requests, replies, status)
            self._watch(pid, status)
        os.close(requests)
        os.close(replies)
        return True

    def _watch(self, pid: int, status: int) -> None:
        pidfd = os.pidfd_open(pid)
        self._children[pidfd] = pid, status
        self._ready.register(pidfd, select.POLLIN)
        socket.send_fds(self._orders, [b"\0"], [pidfd])

    def _become_child(self, order: bytes, requests: int, replies: int, status: int) -> NoReturn:
        self._orders.detach()  # its descriptor is 0, which becomes the requests
        os.dup2(requests, 0)
        os.dup2(replies, 1)
        of_others = ((pidfd, theirs) for pidfd, (_, theirs) in self._children.items())
        for descriptor in (requests, replies, status, *chain.from_iterable(of_others)):
            os.close(descriptor)
        alarm_s, path = order.split(b"\0")
        try:
            pkcs11_child.main([os.fsdecode(path), alarm_s.decode()])
        finally:
            os._exit(1)  # it has not even come to its module: no second server

    def _tell_end(self, pidfd: int) -> None:
        pid, status = self._children.pop(pidfd)
        self._ready.unregister(pidfd)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with suppress(BrokenPipeError):  # nobody wants to know
            os.write(status, code.to_bytes(_STATUS_BYTES, "big", signed=True))
        os.close(status)
        os.close(pidfd)


def main() -> None:
    """Serve one parent until it closes the socket."""
    gc.freeze()  # what was imported stays shared with every child
    with socket.socket(fileno=0) as orders:
        _ForkServer(orders).serve()


if __name__ == "__main__":
    main()

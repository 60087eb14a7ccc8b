"""What the process of a vendor's module may not do: print among answers, dump core, eat memory."""

from __future__ import annotations

import os
import resource
from io import FileIO
from typing import Final

_MEMORY_LIMIT_BYTES: Final = 2 << 30  # an attribute of absurd size fails instead of swapping
_NO_CORE_DUMP: Final = 1
"""It would hold the PIN. At 0 Linux still pipes it to a collector, at 1 not (fs/coredump.c)."""


def private_pipes() -> tuple[FileIO, FileIO]:
    """Keep the pipes for ourselves: a module that prints or reads finds /dev/null."""
    requests = FileIO(os.dup(0), "r")
    replies = FileIO(os.dup(1), "w")
    with FileIO(os.devnull, "r+") as nowhere:
        os.dup2(nowhere.fileno(), 0)
        os.dup2(nowhere.fileno(), 1)
    return requests, replies


def harden() -> None:
    """Leave no core dump, and take no more memory than a module may need."""
    _limit(resource.RLIMIT_CORE, _NO_CORE_DUMP)
    _limit(resource.RLIMIT_AS, _MEMORY_LIMIT_BYTES)


def _limit(what: int, most: int) -> None:
    _, hard = resource.getrlimit(what)
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))

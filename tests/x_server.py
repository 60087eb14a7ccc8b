"""An X server of one's own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

_DEADLINE_S = 30.0


@contextmanager
def x_server(screen: str, *options: str) -> Iterator[str]:
    """Give the name of a display that nobody else uses, such as ":3"; it ends with the block.

    Args:
        screen: width, height and depth, as 640x480x24.
        options: of Xvfb, besides.
    """
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", screen, *options],
        pass_fds=(writing,),
        stderr=subprocess.DEVNULL,
    )
    os.close(writing)
    try:
        with os.fdopen(reading) as said:
            number = said.readline().strip()
        assert number, "Xvfb did not start"
        yield f":{number}"
    finally:
        server.terminate()
        server.wait(_DEADLINE_S)

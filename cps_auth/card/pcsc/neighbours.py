"""Other programs that may be using the card, as far as the system tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from cps_auth.errors import CardBusy

_LIBRARY: Final = "/libpcsclite"  # in the memory map of each program that talks to pcscd
_MOST_NAMED: Final = 3


def busy(processes: Path = Path("/proc")) -> CardBusy:
    """Return the error for a card that another program keeps, with the names of who may.

    Nobody tells who holds a card, so these are the programs that have the PC/SC library loaded; of
    other users' programs only root learns it.

    Args:
        processes: where the system shows them.
    """
    found = sorted(set(_users_of_pcsc(processes)))
    return CardBusy(tuple(found) if len(found) <= _MOST_NAMED else ())


def _users_of_pcsc(processes: Path) -> Iterator[str]:
    for process in processes.glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):  # it has ended, or is another user's
            if _LIBRARY in (process / "maps").read_text(errors="replace"):
                yield (process / "comm").read_text(errors="replace").strip()

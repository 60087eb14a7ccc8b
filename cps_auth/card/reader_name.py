"""Reader names of settings, resolved today: pcscd counts readers anew as they are plugged."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cps_auth.errors import NoReader
from cps_auth.model import ReaderState, Snapshot

_COUNTED = re.compile(r" [0-9A-F]{2}( [0-9A-F]{2})$")
"""What pcsc-lite adds to a reader's name: its number, then its slot (readerfactory.c)."""


def name_today(snapshot: Snapshot, wanted: str | None) -> str | None:
    """Return the name that a reader has now.

    Args:
        snapshot: all readers now.
        wanted: the name that it had once, None for any reader; bytes that are not UTF-8 as they
            came on the command line, or as they are shown.

    Returns:
        The same name where a reader has it, or none has; else that of the only reader of the
        same make, serial number and slot, which was plugged in again elsewhere.
    """
    names = [state.name for state in snapshot.readers]
    if wanted is None:
        return None
    # Bytes of a command line that are not UTF-8 (PEP 383), as `cps_auth.card.pcsc.library` has them
    wanted = wanted.encode(errors="surrogateescape").decode(errors="backslashreplace")
    if wanted in names:
        return wanted
    alike = [name for name in names if _uncounted(name) == _uncounted(wanted)]
    return alike[0] if len(alike) == 1 else wanted


def readers_wanted(states: Sequence[ReaderState], wanted: str | None) -> tuple[ReaderState, ...]:
    """Return the reader of a name, found again if it was counted anew, or all readers.

    Args:
        states: all readers now.
        wanted: the name that it had once, None for all.

    Raises:
        NoReader: there is none, or not that one.
    """
    today = name_today(Snapshot(tuple(states)), wanted)
    found = tuple(state for state in states if today in (None, state.name))
    if not found:
        raise NoReader(wanted)
    return found


def _uncounted(name: str) -> str:
    return _COUNTED.sub(r"\1", name)

"""Looks for a PIN in what was logged or shown, without finding it by chance in other numbers."""

from __future__ import annotations

import re

_OTHER_NUMBERS = re.compile(
    r"pid[=:] ?\d+|\[\d+\]"  # processes, as the WSGI servers write them too
    r"|(?<=\d):\d+\b"  # the port of an address, and times
    r"|_s=\d+|[0-9A-Fa-f]{16,}"  # the last: digests, certificates
)


def pin_traces(pin: bytes, text: str) -> list[str]:
    """Return what of a text holds these digits: as they are, or their bytes as hex digits.

    Args:
        pin: ASCII digits.
        text: logs, messages, screens.

    Returns:
        The lines that hold them, cut to some characters around the first; empty if there is none.
    """
    hexed = f"{pin.hex()}|{pin.hex(' ')}"
    words = _OTHER_NUMBERS.sub("", text)
    found = [
        re.search(f".{{0,40}}(?:{wanted}).{{0,40}}", line)
        for wanted, where in ((hexed, text), (pin.decode(), words))
        for line in where.splitlines()
    ]
    return [match.group() for match in found if match is not None]

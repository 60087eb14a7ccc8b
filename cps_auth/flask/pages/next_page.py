"""Where to go after a login: a path of this application, and nowhere else."""

from __future__ import annotations

import unicodedata
from urllib.parse import urlsplit

MAX_NEXT_CHARACTERS = 2000
_NOT_IN_A_PATH = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""General categories of Unicode: controls, unassigned, line and paragraph separators."""


def is_safe_next(unverified_next: str) -> bool:
    """Return whether a browser that is sent there stays on this host.

    Browsers drop tabs and newlines and read a backslash as a slash, so `/<tab>/evil.example`
    and `/\\evil.example` name another host (WHATWG URL, section 4.4).
    """
    if len(unverified_next) > MAX_NEXT_CHARACTERS or not unverified_next.startswith("/"):
        return False
    if unverified_next.startswith("//") or "\\" in unverified_next:
        return False
    if any(unicodedata.category(character) in _NOT_IN_A_PATH for character in unverified_next):
        return False
    try:
        parts = urlsplit(unverified_next)
    except ValueError:
        return False
    return not parts.scheme and not parts.netloc


def next_or(unverified_next: str | None, default: str) -> str:
    """Return the asked page if it is safe to go there, the default page otherwise."""
    if unverified_next is not None and is_safe_next(unverified_next):
        return unverified_next
    return default

"""Addresses: origins as browsers write them (RFC 6454 section 6.2), this machine, safe paths."""

from __future__ import annotations

import unicodedata
from ipaddress import ip_address
from urllib.parse import urlsplit

from cps_auth.errors import ConfigurationError

_DEFAULT_PORTS = {"http": 80, "https": 443}

MAX_NEXT_CHARACTERS = 2000
_NOT_IN_A_PATH = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""General categories of Unicode: controls, unassigned, line and paragraph separators."""


def read_origin(value: object, key: str) -> str:
    """Return an origin as browsers write it.

    Args:
        value: from the configuration.
        key: its name.

    Raises:
        ConfigurationError: https, or http on loopback, is all that counts; nothing else.
    """
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{key} is not set, such as http://127.0.0.1:5000")
    parts = urlsplit(value)
    try:
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ConfigurationError(f"{key} {value!r} has no valid port") from None
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _DEFAULT_PORTS.get(parts.scheme):
        shown = f"{shown}:{port}"
    if not host or value != f"{parts.scheme}://{shown}" or not value.isascii():
        raise ConfigurationError(f"{key} {value!r} is not what a browser calls an origin")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigurationError(f"{key} must be https, or http on a loopback address")
    return value


def is_loopback(host: str) -> bool:
    """Return whether a host name or address text means this very machine."""
    if host == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:127.0.0.1 on a [::] socket
    return (mapped or address).is_loopback


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

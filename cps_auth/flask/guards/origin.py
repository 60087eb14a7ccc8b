"""Origins, as browsers write them (RFC 6454 section 6.2), and what counts as this machine."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from cps_auth.errors import ConfigurationError

_DEFAULT_PORTS = {"http": 80, "https": 443}


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

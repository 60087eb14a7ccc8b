"""The `CPS_MTLS_…` settings: whose word counts about a TLS client certificate.

Nobody's by default. A list of addresses alone is no safeguard: the same proxy also serves the
application's own host, where a browser may write any header it likes. So the host that asks for
certificates, and only that one, adds a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from cps_auth.flask.methods.mtls.proxy_presets import PRESETS, ProxyPreset
from cps_auth.flask.setting_reader import SettingReader

UNIX_PEER = "unix"
"""In CPS_MTLS_PROXIES: whoever may connect to the server's Unix socket."""

_SECRET = re.compile(r"[A-Za-z0-9_-]{32,256}", re.ASCII)
"""What `secrets.token_urlsafe()` makes; no character of it means anything to a proxy."""

_MAX_ADDRESSES = {4: 1 << 16, 6: 1 << 64}
"""A network of containers is a /16; what is wider is a mistake."""


@dataclass(frozen=True, slots=True)
class MtlsSettings:
    """The keys, checked and typed."""

    preset: ProxyPreset
    origin: str  # the host that asks for the certificate
    networks: tuple[IPv4Network | IPv6Network, ...]
    allows_unix: bool
    secret: str = field(repr=False)

    @property
    def host(self) -> str:
        """Return the only `Host` header under which a certificate counts."""
        return urlsplit(self.origin).netloc

    def trusts(self, peer: str | None) -> bool:
        """Return whether the other end of a connection is one of the proxies.

        Args:
            peer: REMOTE_ADDR as the server filled it in; empty for a Unix socket (gunicorn),
                None when nobody can tell.
        """
        if peer == "":
            return self.allows_unix
        try:
            address = ip_address(peer or "-")
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:192.0.2.1 on a [::] socket
        return any((mapped or address) in network for network in self.networks)


DEFAULTS: Mapping[str, object] = {
    "CPS_MTLS_PROXIES": (),
    "CPS_MTLS_PRESET": None,
    "CPS_MTLS_ORIGIN": None,
    "CPS_MTLS_SECRET": None,
}


def read_mtls_settings(reader: SettingReader) -> MtlsSettings | None:
    """Read the `CPS_MTLS_…` keys.

    Args:
        reader: of the configuration; keeps what is missing, too wide, or set without
            CPS_MTLS_PROXIES.

    Returns:
        The settings; None when no proxy is trusted, and this login method is off.
    """
    proxies = reader.value("CPS_MTLS_PROXIES")
    if not isinstance(proxies, (tuple, list)):
        reader.note("CPS_MTLS_PROXIES must be a list of addresses")
        return None
    if not proxies:
        for key in ("CPS_MTLS_PRESET", "CPS_MTLS_ORIGIN", "CPS_MTLS_SECRET"):
            if reader.value(key) is not None:
                reader.note(f"{key} is set, and CPS_MTLS_PROXIES names no proxy")
        return None
    networks = [_network(reader, proxy) for proxy in proxies if proxy != UNIX_PEER]
    return MtlsSettings(
        preset=PRESETS[reader.choice("CPS_MTLS_PRESET", tuple(PRESETS))],
        origin=_own_host(reader),
        networks=tuple(network for network in networks if network is not None),
        allows_unix=UNIX_PEER in proxies,
        secret=_secret(reader),
    )


def _own_host(reader: SettingReader) -> str:
    """Browsers ask for a certificate once per host, at the first handshake (RFC 8740)."""
    origin = reader.origin("CPS_MTLS_ORIGIN")
    if not origin.startswith("https:"):
        reader.note("CPS_MTLS_ORIGIN must be https")
    elif urlsplit(origin).hostname == urlsplit(str(reader.value("CPS_ORIGIN"))).hostname:
        reader.note("CPS_MTLS_ORIGIN must have a host name of its own")
    return origin


def _network(reader: SettingReader, proxy: object) -> IPv4Network | IPv6Network | None:
    try:
        network = ip_network(proxy if isinstance(proxy, str) else "")
    except ValueError:
        reader.note(f"CPS_MTLS_PROXIES: {proxy!r} is no address, network or {UNIX_PEER!r}")
        return None
    if network.num_addresses > _MAX_ADDRESSES[network.version]:
        reader.note(f"CPS_MTLS_PROXIES: {proxy!r} trusts too many addresses")
    return network


def _secret(reader: SettingReader) -> str:
    value = reader.value("CPS_MTLS_SECRET")
    if not isinstance(value, str) or not _SECRET.fullmatch(value):
        reader.note("CPS_MTLS_SECRET: 32 characters at least of A-Z a-z 0-9 _ -")
        return ""
    return value

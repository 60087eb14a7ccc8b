"""The `CPS_PSC…` settings: which provider, and how this application says who it is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cps_auth.errors import ConfigurationError
from cps_auth.flask.setting_reader import SettingReader

if TYPE_CHECKING:  # Authlib need not be installed where the method is not used
    from cps_auth.login.pro_sante_connect.client import PscClient

DEFAULTS: Mapping[str, object] = {
    "CPS_PSC": None,
    "CPS_PSC_CLIENT_ID": None,
    "CPS_PSC_CLIENT_SECRET": None,
    "CPS_PSC_KEY": None,
    "CPS_PSC_CERTIFICATE": None,
    "CPS_PSC_AUTHORITIES": None,
    "CPS_PSC_PROXY": None,
    "CPS_PSC_SESSION_LIFETIME": timedelta(hours=4),
    "CPS_PSC_REAUTHENTICATES": False,
    "CPS_PSC_LOGOUT": True,
}


@dataclass(frozen=True, slots=True)
class PscSettings:
    """The keys, checked and typed."""

    client: PscClient
    session_lifetime: timedelta  # PSC's own session lasts as long
    reauthenticates: bool  # its prompt=login is known to ask the person again
    ends_provider_session: bool  # at our logout, too


def read_psc_settings(reader: SettingReader) -> PscSettings | None:
    """Read the `CPS_PSC…` keys.

    Args:
        reader: of the configuration; keeps what is missing, contradictory, or set without
            CPS_PSC.

    Returns:
        The settings; None when no provider is named, and this login method is off.
    """
    name = reader.text_or_none("CPS_PSC")
    if name is None:
        for key in ("CPS_PSC_CLIENT_ID", "CPS_PSC_CLIENT_SECRET", "CPS_PSC_KEY"):
            if reader.value(key) is not None:
                reader.note(f"{key} is set, and CPS_PSC names no provider")
        return None
    if str(reader.value("SESSION_COOKIE_SAMESITE")).lower() == "strict":
        reader.note("CPS_PSC needs SESSION_COOKIE_SAMESITE Lax: the browser comes from elsewhere")
    client = reader.attempt(lambda: _client(name, reader), None)
    return (
        None
        if client is None
        else PscSettings(
            client=client,
            session_lifetime=reader.duration("CPS_PSC_SESSION_LIFETIME"),
            reauthenticates=reader.flag("CPS_PSC_REAUTHENTICATES"),
            ends_provider_session=reader.flag("CPS_PSC_LOGOUT"),
        )
    )


def _client(name: str, reader: SettingReader) -> PscClient | None:
    try:
        from cps_auth.login.pro_sante_connect.client import PscClient
        from cps_auth.login.pro_sante_connect.credentials import Credentials
        from cps_auth.login.pro_sante_connect.provider import find_provider
    except ModuleNotFoundError as error:
        raise ConfigurationError(f"CPS_PSC needs cps-auth[psc]: no {error.name}") from None
    secret, key = reader.text_or_none("CPS_PSC_CLIENT_SECRET"), reader.folder("CPS_PSC_KEY")
    certificate = reader.folder("CPS_PSC_CERTIFICATE")
    client_id = reader.text_or_none("CPS_PSC_CLIENT_ID")
    if client_id is None:
        raise ConfigurationError("CPS_PSC_CLIENT_ID is not set")
    if (secret is None) == (key is None) or (certificate is not None and key is None):
        raise ConfigurationError(
            "CPS_PSC: one of CPS_PSC_CLIENT_SECRET, CPS_PSC_KEY (private_key_jwt), or CPS_PSC_KEY"
            " with CPS_PSC_CERTIFICATE (tls_client_auth)"
        )
    return PscClient(
        find_provider(name),
        Credentials(client_id, secret, key, certificate),
        authorities=reader.folder("CPS_PSC_AUTHORITIES"),
        proxy=reader.text_or_none("CPS_PSC_PROXY"),
    )

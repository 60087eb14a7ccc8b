"""CIBA: a login that the person approves on the phone, without a redirect (poll mode).

For thick clients: the program asks a server of ours, which holds the client's secret, and shows
the two digits of `binding_message`; the person compares them on the phone. ANS's own `channel`
says which means is asked for, so the means of such a login is known.
Source: OpenID Connect CIBA Core 1.0 sections 7 and 10; ANS's page on CIBA.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import urlencode

from cps_auth.errors import (
    ProviderIdentityRefused,
    ProviderLoginDeclined,
    ProviderTokenRefused,
    ProviderUnavailable,
)
from cps_auth.login.pro_sante_connect.client import ACR_VALUES, SCOPE, PscClient
from cps_auth.login.pro_sante_connect.identity import PscIdentity
from cps_auth.provider_model import LoginMeans

GRANT = "urn:openid:params:grant-type:ciba"
LONGEST_WAIT_S = 300
SHORTEST_INTERVAL_S = 1
_CHANNELS = {LoginMeans.CARD: "CARD", LoginMeans.ECPS: "MOBILE"}


@dataclass(frozen=True, slots=True)
class PhoneLogin:
    """A login that waits for the person's approval."""

    ps_idnat: str
    digits: str  # to show: the phone shows the same two
    means: LoginMeans
    expires_at: datetime
    interval_s: int
    request_id: str = field(repr=False)


def start_phone_login(
    client: PscClient, ps_idnat: str, *, at: datetime, means: LoginMeans = LoginMeans.ECPS
) -> PhoneLogin:
    """Ask the provider to have somebody approve a login on their phone.

    Args:
        client: registered for CIBA.
        ps_idnat: whose phone; `SubjectNameID`.
        at: now, aware UTC.
        means: ECPS, or CARD where ANS's CPS-Gestion runs (Windows).

    Raises:
        ProviderUnavailable: it does not answer, or has no CIBA.
        ProviderLoginDeclined: it knows no such person.
    """
    endpoint = client.provider.metadata().ciba_endpoint
    if endpoint is None:
        raise ProviderUnavailable("no-ciba")
    digits = f"{secrets.randbelow(100):02d}"
    asked = {
        "scope": SCOPE,
        "acr_values": ACR_VALUES,
        "login_hint": ps_idnat,
        "binding_message": digits,
        "channel": _CHANNELS[means],
    }
    answer = client.post(endpoint, urlencode(asked))
    if answer.error is not None:
        if answer.error in ("unknown_user_id", "access_denied"):
            raise ProviderLoginDeclined(answer.error)
        raise ProviderUnavailable(f"ciba {answer.error}")
    request_id = answer.unverified.get("auth_req_id")
    if not isinstance(request_id, str) or not request_id:
        raise ProviderTokenRefused("auth-req-id")
    wait_s = _number(answer.unverified.get("expires_in"), 120, LONGEST_WAIT_S)
    interval_s = _number(answer.unverified.get("interval"), 5, LONGEST_WAIT_S)
    return PhoneLogin(
        ps_idnat, digits, means, at + timedelta(seconds=wait_s), interval_s, request_id
    )


def poll_phone_login(client: PscClient, login: PhoneLogin, *, at: datetime) -> PscIdentity | None:
    """Return who approved; None while nobody did.

    Args:
        client: that started it.
        login: what `start_phone_login` returned.
        at: now, aware UTC.

    Raises:
        ProviderLoginDeclined: refused on the phone, or not approved in time.
        ProviderRefused: any other leaf, as in `PscClient.identify`.
    """
    if at >= login.expires_at:
        raise ProviderLoginDeclined("expired_token")
    body = urlencode({"grant_type": GRANT, "auth_req_id": login.request_id})
    answer = client.post(client.provider.metadata().token_endpoint, body)
    if answer.error in ("authorization_pending", "slow_down"):
        return None
    if answer.error in ("access_denied", "expired_token"):
        raise ProviderLoginDeclined(answer.error)
    identity = client.identify(answer.tokens(), nonce=None, at=at, means=login.means)
    if identity.practitioner.ps_idnat != login.ps_idnat:
        raise ProviderIdentityRefused("SubjectNameID")
    return identity


def await_phone_login(
    client: PscClient,
    login: PhoneLogin,
    *,
    clock: Callable[[], datetime],
    wait: Callable[[float], object],
) -> PscIdentity:
    """Return who approved, asking as often as the provider allows.

    Args:
        client, login: as in `poll_phone_login`.
        clock: tells the time, aware UTC.
        wait: sleeps so many seconds, such as `time.sleep`; may raise to give up.

    Raises:
        ProviderRefused: any leaf, as in `poll_phone_login`.
    """
    while True:
        wait(login.interval_s)
        identity = poll_phone_login(client, login, at=clock())
        if identity is not None:
            return identity


def _number(value: object, default: int, most: int) -> int:
    number = value if isinstance(value, int) and not isinstance(value, bool) else default
    return min(max(number, SHORTEST_INTERVAL_S), most)

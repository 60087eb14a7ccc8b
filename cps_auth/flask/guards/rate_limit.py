"""Rate limits: how often a browser or an address may ask, and when it has been refused too often.

Where something could be guessed (the PIN at a local reader) an address is locked out. A card's
signature cannot be guessed, and a hospital shares one address: there a browser is locked out, and
the address has a limit that only a flood reaches.

An address is the one that the application sees (`request.remote_addr`: behind a proxy, what
Werkzeug's ProxyFix makes of it, if the application uses that).
"""

from __future__ import annotations

import logging
from datetime import timedelta
from functools import cache
from ipaddress import ip_address, ip_network

from flask import request, session

from cps_auth.errors import (
    CpsAuthError,
    PeerNotAllowed,
    ProviderLoginDeclined,
    ProviderUnavailable,
    StoreUnavailable,
    TooManyRequests,
)
from cps_auth.flask.guards.requests import BELOW_PROXY_FIX
from cps_auth.flask.sessions.browser import BROWSER_ID
from cps_auth.flask.state import LoginState
from cps_auth.flask.stores.ports import window_of

_log = logging.getLogger(__name__)

_MINUTE = timedelta(minutes=1)
_NOT_COUNTED = (
    TooManyRequests,
    StoreUnavailable,
    PeerNotAllowed,
    ProviderLoginDeclined,
    ProviderUnavailable,
)
_REFUSALS, _OF_ADDRESS, _OF_CARD = "refusals", "address", "card"


def check_rate(state: LoginState, what: str, *, is_guessable: bool = False) -> None:
    """Count a request, before anything is done for it.

    Args:
        state: of the application.
        what: kind of request; each has its own count.
        is_guessable: a secret could be guessed, so the whole address counts as one.

    Raises:
        TooManyRequests: too many a minute, or locked out after too many refusals.
        StoreUnavailable
    """
    at, settings, rates = state.clock(), state.settings, state.stores.rates
    who = _who(is_guessable)
    refusals = rates.count(_REFUSALS, who, window=settings.lockout, at=at)
    if refusals >= settings.refusals_before_lockout:
        raise _too_many(state, settings.lockout)
    if not is_guessable:
        asked = rates.add(_OF_ADDRESS, _address(), window=_MINUTE, at=at)
        if asked > settings.requests_per_minute_and_address:
            raise _too_many(state, _MINUTE)
    if rates.add(what, who, window=_MINUTE, at=at) > settings.requests_per_minute:
        raise _too_many(state, _MINUTE)


def check_card_rate(state: LoginState, certificate_sha256_hex: str) -> None:
    """Count a login of a card whose signature was verified.

    Raises:
        TooManyRequests: one card opens no more sessions a minute than a browser may ask.
        StoreUnavailable
    """
    logins = state.stores.rates.add(
        _OF_CARD, certificate_sha256_hex, window=_MINUTE, at=state.clock()
    )
    if logins > state.settings.requests_per_minute:
        raise _too_many(state, _MINUTE)


def count_refusal(state: LoginState, error: CpsAuthError, *, is_guessable: bool = False) -> None:
    """Remember that a login was refused.

    Being sent away for asking too often is none. Nor is what another site makes a browser send:
    it could lock a whole practice out, and nothing was tried.
    """
    if isinstance(error, _NOT_COUNTED):
        return
    try:
        window, who = state.settings.lockout, _who(is_guessable)
        state.stores.rates.add(_REFUSALS, who, window=window, at=state.clock())
    except StoreUnavailable:
        return  # nobody can log in now anyway


def _too_many(state: LoginState, window: timedelta) -> TooManyRequests:
    at = state.clock()
    return TooManyRequests(max(1.0, window_of(window, at)[1] - at.timestamp()))


@cache
def _warn_of_proxy() -> None:
    """Warn once: nothing else shows before one visitor locks the others out."""
    _log.warning(
        "requests come through a proxy, and ProxyFix is not used: all visitors share one limit"
    )


def _who(is_guessable: bool) -> str:
    """Return whom to count; a browser without a session of its own counts as its address."""
    browser = None if is_guessable else session.get(BROWSER_ID)
    return browser if isinstance(browser, str) else _address()


def _address() -> str:
    """One visitor has a whole IPv6 /64 to choose addresses from (RFC 6177 section 2)."""
    if "HTTP_X_FORWARDED_FOR" in request.environ and BELOW_PROXY_FIX not in request.environ:
        _warn_of_proxy()
    seen = request.remote_addr or "-"
    try:
        address = ip_address(seen)
    except ValueError:
        return seen
    if address.version == 4 or address.ipv4_mapped is not None:
        return seen
    return str(ip_network((int(address), 64), strict=False))

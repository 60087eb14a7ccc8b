"""The branch of the tree of errors about a login at Pro Santé Connect; see `cps_auth.errors`."""

from __future__ import annotations

from cps_auth.errors.root import CpsAuthError


class ProviderRefused(CpsAuthError):
    """About a login at Pro Santé Connect. Never raised itself."""


class ProviderTokenRefused(ProviderRefused):
    """A token or an answer of the provider does not prove what it should."""

    code = "provider-token-refused"
    reason: str  # stable reason code, see `cps_auth.login.pro_sante_connect.tokens`


class ProviderIdentityRefused(ProviderRefused):
    """The provider knows the person and does not say who it is in a form that can be used."""

    code = "provider-identity-refused"
    reason: str  # stable reason code, see `cps_auth.login.pro_sante_connect.identity`


class ProviderLevelTooLow(ProviderRefused):
    """The person was not authenticated as strongly, or as lately, as was asked."""

    code = "provider-level-too-low"
    reason: str  # "acr", "auth-time-absent" or "auth-time"


class ProviderLoginDeclined(ProviderRefused):
    """The person gave up at the provider, or the provider refused them."""

    code = "provider-login-declined"
    reason: str = ""  # the provider's error code (RFC 6749 section 4.1.2.1), for the log


class ProviderUnavailable(ProviderRefused):
    """Pro Santé Connect does not answer, or not as it should. Other login methods go on."""

    code = "provider-unavailable"
    reason: str = ""  # stable reason code and what was seen, for the log

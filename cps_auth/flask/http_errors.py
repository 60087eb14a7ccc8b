"""The web's table: every error's HTTP status, and who is told what.

The person at the reader learns what is wrong with card, PIN or certificate: they hold it. A
request that is itself suspect learns one sentence, the same for all of them; the precise
code goes to the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping

from cps_auth import errors as e

HTTP_STATUSES: Mapping[type[e.CpsAuthError], int] = {
    e.ReaderServiceLost: 503,
    e.ReaderServiceRefused: 503,
    e.NoReader: 409,
    e.NoCard: 409,
    e.CardRemoved: 409,
    e.CardBusy: 409,
    e.SeveralCards: 409,
    e.UnsupportedCard: 403,
    e.ContactlessNotEnough: 403,
    e.NoAuthenticationCertificate: 403,
    e.SeveralCertificates: 409,
    e.CardMisbehaved: 502,
    e.WrongPin: 401,
    e.PinMalformed: 400,
    e.LastAttempt: 409,
    e.PinBlocked: 403,
    e.PinEntryCancelled: 401,
    e.WrongPuk: 401,
    e.PukMalformed: 400,
    e.LastPukAttempt: 409,
    e.PukBlocked: 403,
    e.NewPinsDiffer: 400,
    e.CertificateMalformed: 403,
    e.CertificateExpired: 403,
    e.CertificateNotYetValid: 403,
    e.UntrustedIssuer: 403,
    e.WrongPurpose: 403,
    e.CertificateRevoked: 403,
    e.RevocationUnknown: 503,
    e.ChallengeUnknown: 403,
    e.ChallengeExpired: 403,
    e.BadSignature: 403,
    e.ProviderTokenRefused: 403,
    e.ProviderIdentityRefused: 403,
    e.ProviderLevelTooLow: 403,
    e.ProviderLoginDeclined: 401,
    e.HolderNotAllowed: 403,
    e.PeerNotAllowed: 403,
    e.TooManyRequests: 429,
    e.RequestMalformed: 400,
    e.ConfigurationError: 500,
    e.TrustStoreUnusable: 503,
    e.ModuleUnusable: 503,
    e.ModuleCannotLogIn: 503,
    e.DaemonUnreachable: 503,
    e.StoreUnavailable: 503,
    e.ProviderUnavailable: 503,
}
"""One row per leaf of the tree (RFC 9110 section 15; 429: RFC 6585)."""

_SUSPECT = (
    e.ChallengeUnknown,
    e.ChallengeExpired,
    e.ProviderTokenRefused,
    e.ProviderIdentityRefused,
    e.RequestRefused,
    e.ConfigurationError,
)


def http_status(error: e.CpsAuthError) -> int:
    """Return the status under which an error is answered."""
    return HTTP_STATUSES[type(error)]


def may_be_explained(error: e.CpsAuthError) -> bool:
    """Return whether the person is told precisely; otherwise they see the one public message."""
    return not isinstance(error, _SUSPECT)

"""Table of PAM results, one for every error. Never success, never PAM_IGNORE.

They travel in the protocol, for the log and for the client, which returns them.

Source: Linux-PAM, _pam_types.h and pam_sm_authenticate(3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from cps_auth import errors as e

PamResult = Literal[
    "PAM_SUCCESS",
    "PAM_SYSTEM_ERR",
    "PAM_PERM_DENIED",
    "PAM_AUTH_ERR",
    "PAM_CRED_INSUFFICIENT",
    "PAM_AUTHINFO_UNAVAIL",  # of `ping` alone
    "PAM_MAXTRIES",
    "PAM_CRED_UNAVAIL",
    "PAM_CRED_EXPIRED",
    "PAM_USER_UNKNOWN",
]
"""The results that the protocol knows, by name: their numbers are the platform's."""

PAM_RESULTS: Mapping[type[e.CpsAuthError], PamResult] = {
    # Nothing to authenticate with is there. Not PAM_AUTHINFO_UNAVAIL: GDM takes that for a service
    # that is gone for good, and GNOME's dialog asks no more.
    e.ReaderServiceLost: "PAM_AUTH_ERR",
    e.ReaderServiceRefused: "PAM_AUTH_ERR",
    e.NoReader: "PAM_AUTH_ERR",
    e.NoCard: "PAM_AUTH_ERR",
    e.CardRemoved: "PAM_AUTH_ERR",
    e.CardBusy: "PAM_AUTH_ERR",
    e.SeveralCards: "PAM_AUTH_ERR",
    e.UnsupportedCard: "PAM_AUTH_ERR",
    e.NoAuthenticationCertificate: "PAM_AUTH_ERR",
    e.SeveralCertificates: "PAM_AUTH_ERR",
    e.CardMisbehaved: "PAM_AUTH_ERR",
    e.RevocationUnknown: "PAM_AUTH_ERR",
    # It is there, and does not say enough.
    e.ContactlessNotEnough: "PAM_CRED_INSUFFICIENT",
    e.WrongPurpose: "PAM_CRED_INSUFFICIENT",
    e.WrongPin: "PAM_AUTH_ERR",
    e.PinMalformed: "PAM_AUTH_ERR",
    e.PinEntryCancelled: "PAM_AUTH_ERR",
    e.LastAttempt: "PAM_MAXTRIES",
    e.PinBlocked: "PAM_MAXTRIES",
    e.WrongPuk: "PAM_AUTH_ERR",
    e.PukMalformed: "PAM_AUTH_ERR",
    e.LastPukAttempt: "PAM_MAXTRIES",
    e.PukBlocked: "PAM_MAXTRIES",
    e.NewPinsDiffer: "PAM_AUTH_ERR",
    e.CertificateMalformed: "PAM_AUTH_ERR",
    e.CertificateExpired: "PAM_CRED_EXPIRED",
    e.CertificateNotYetValid: "PAM_CRED_UNAVAIL",
    e.UntrustedIssuer: "PAM_AUTH_ERR",
    e.CertificateRevoked: "PAM_PERM_DENIED",
    e.ChallengeUnknown: "PAM_AUTH_ERR",
    e.ChallengeExpired: "PAM_AUTH_ERR",
    e.BadSignature: "PAM_AUTH_ERR",
    e.ProviderTokenRefused: "PAM_AUTH_ERR",
    e.ProviderIdentityRefused: "PAM_AUTH_ERR",
    e.ProviderLevelTooLow: "PAM_CRED_INSUFFICIENT",
    e.ProviderLoginDeclined: "PAM_AUTH_ERR",
    # The holder or the program that asks may not.
    e.HolderNotAllowed: "PAM_PERM_DENIED",
    e.PeerNotAllowed: "PAM_PERM_DENIED",
    e.TooManyRequests: "PAM_PERM_DENIED",
    # For the administrator.
    e.RequestMalformed: "PAM_SYSTEM_ERR",
    e.ConfigurationError: "PAM_SYSTEM_ERR",
    e.TrustStoreUnusable: "PAM_SYSTEM_ERR",
    e.ModuleUnusable: "PAM_SYSTEM_ERR",
    e.ModuleCannotLogIn: "PAM_SYSTEM_ERR",
    e.DaemonUnreachable: "PAM_SYSTEM_ERR",
    e.StoreUnavailable: "PAM_AUTH_ERR",
    e.ProviderUnavailable: "PAM_AUTH_ERR",
}

"""The command line's table: every error's exit code. 0 only for yes, 1 only for the unforeseen.

The tens are families, so a script may test for a family: 10 card unavailable, 20 card
misbehaved, 30 PIN, 40 certificate, 50 proof, 60 right to be here, 70 installation.
"""

from __future__ import annotations

from collections.abc import Mapping

from cps_auth import errors as e

YES = 0
UNFORESEEN = 1
USAGE = 2
RESULT_LOST = 3
"""Standard output did not take the result: a full disk, a pipe that nobody reads."""
JOURNAL_ALTERED = 4
"""The audit journal is no longer as it was written."""
POSTURE_INCOMPLETE = 5
"""A security measure of this PC is absent, or cannot be told."""
INTERRUPTED = 130

EXIT_CODES: Mapping[type[e.CpsAuthError], int] = {
    e.ReaderServiceLost: 10,
    e.NoReader: 11,
    e.NoCard: 12,
    e.CardRemoved: 13,
    e.CardBusy: 14,
    e.SeveralCards: 15,
    e.UnsupportedCard: 16,
    e.ContactlessNotEnough: 17,
    e.ReaderServiceRefused: 18,
    e.CardMisbehaved: 20,
    e.NoAuthenticationCertificate: 21,
    e.SeveralCertificates: 22,
    e.WrongPin: 30,
    e.PinMalformed: 31,
    e.LastAttempt: 32,
    e.PinBlocked: 33,
    e.PinEntryCancelled: 34,
    e.WrongPuk: 35,
    e.PukMalformed: 36,
    e.LastPukAttempt: 37,
    e.PukBlocked: 38,
    e.NewPinsDiffer: 39,
    e.CertificateMalformed: 40,
    e.CertificateExpired: 41,
    e.CertificateNotYetValid: 42,
    e.UntrustedIssuer: 43,
    e.WrongPurpose: 44,
    e.CertificateRevoked: 45,
    e.RevocationUnknown: 46,
    e.ChallengeUnknown: 50,
    e.ChallengeExpired: 51,
    e.BadSignature: 52,
    e.ProviderTokenRefused: 53,
    e.ProviderIdentityRefused: 54,
    e.ProviderLevelTooLow: 55,
    e.ProviderLoginDeclined: 56,
    e.HolderNotAllowed: 60,
    e.PeerNotAllowed: 61,
    e.TooManyRequests: 62,
    e.RequestMalformed: 63,
    e.ConfigurationError: 70,
    e.TrustStoreUnusable: 71,
    e.ModuleUnusable: 72,
    e.DaemonUnreachable: 73,
    e.StoreUnavailable: 74,
    e.ModuleCannotLogIn: 75,
    e.ProviderUnavailable: 76,
}

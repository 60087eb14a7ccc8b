"""Every error of cps-auth, as one tree, split by what the person at the reader can do about it.

Data is on the exception, never a PIN or a name; words are in `cps_auth.wording`; each surface has
one table: `cps_auth.exit_codes`, `flask.http_errors`, `pam_helper.daemon.pam_results`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from cps_auth.errors.card_certificate import (
    NoAuthenticationCertificate as NoAuthenticationCertificate,
)
from cps_auth.errors.card_certificate import SeveralCertificates as SeveralCertificates
from cps_auth.errors.module import ModuleCannotLogIn as ModuleCannotLogIn
from cps_auth.errors.module import ModuleUnusable as ModuleUnusable
from cps_auth.errors.provider import ProviderIdentityRefused as ProviderIdentityRefused
from cps_auth.errors.provider import ProviderLevelTooLow as ProviderLevelTooLow
from cps_auth.errors.provider import ProviderLoginDeclined as ProviderLoginDeclined
from cps_auth.errors.provider import ProviderTokenRefused as ProviderTokenRefused
from cps_auth.errors.provider import ProviderUnavailable as ProviderUnavailable
from cps_auth.errors.root import CardUnavailable as CardUnavailable
from cps_auth.errors.root import CertificateRefused as CertificateRefused
from cps_auth.errors.root import CpsAuthError as CpsAuthError
from cps_auth.errors.root import InstallationError as InstallationError
from cps_auth.errors.root import PinRefused as PinRefused
from cps_auth.errors.root import ProofRefused as ProofRefused
from cps_auth.errors.root import ReaderServiceUnavailable as ReaderServiceUnavailable
from cps_auth.errors.root import RequestRefused as RequestRefused
from cps_auth.errors.root import leaves as leaves
from cps_auth.errors.unblocking import LastPukAttempt as LastPukAttempt
from cps_auth.errors.unblocking import NewPinsDiffer as NewPinsDiffer
from cps_auth.errors.unblocking import PukBlocked as PukBlocked
from cps_auth.errors.unblocking import PukMalformed as PukMalformed
from cps_auth.errors.unblocking import WrongPuk as WrongPuk


class ReaderServiceLost(ReaderServiceUnavailable):
    """The PC/SC service is not running, died, or does not answer."""

    code = "reader-service-lost"
    cause: str = ""  # stable: not-running, no-answer, too-many; empty: not known


class ReaderServiceRefused(ReaderServiceUnavailable):
    """The PC/SC service runs, and polkit does not let this program use it."""

    code = "reader-service-refused"


class NoReader(CardUnavailable):
    """The service runs, and no reader (or not the named one) is attached."""

    code = "no-reader"
    reader: str | None = None
    devices: tuple[str, ...] = ()  # readers on USB that pcscd has no driver for


class NoCard(CardUnavailable):
    """There is a reader, and no card in it."""

    code = "no-card"


class CardRemoved(CardUnavailable):
    """The card left the reader, or was swapped, while it was being used."""

    code = "card-removed"


class CardBusy(CardUnavailable):
    """Another program holds the card."""

    code = "card-busy"
    held_by: tuple[str, ...] = ()  # names of the programs that may, as far as the system tells


class SeveralCards(CardUnavailable):
    """More than one usable card is present and none was named."""

    code = "several-cards"
    readers: tuple[str, ...]  # names of the readers that hold one


class UnsupportedCard(CardUnavailable):
    """The card is not a CPS that this driver knows."""

    code = "unsupported-card"
    atr_hex: str = ""  # its answer to reset, upper-case hexadecimal
    cause: str = ""  # stable: module, a CPS that the PKCS#11 module does not know


class ContactlessNotEnough(CardUnavailable):
    """The card answers without contact: its key signs without a PIN, so it proves nobody."""

    code = "contactless-not-enough"


class CardMisbehaved(CpsAuthError):
    """The card answered something that the standards do not allow at this point."""

    code = "card-misbehaved"
    what: str  # the operation, in technical words
    status_word_hex: str | None = None  # None when there was no status word
    cause: str = ""  # stable: mute, unpowered, no-answer, module; empty for any other answer


class WrongPin(PinRefused):
    """The card compared the PIN and said no: an attempt was spent."""

    code = "wrong-pin"
    attempts_left: int | None  # attempts before the card blocks, None when the card did not say


class PinMalformed(PinRefused):
    """Not four digits. It never reached the card: no attempt was spent."""

    code = "pin-malformed"


class LastAttempt(PinRefused):
    """One attempt left, or unknown, and the caller did not say to use it. Nothing was sent."""

    code = "last-attempt"
    attempts_left: int | None = 1  # 1, or None when the card did not say


class PinBlocked(PinRefused):
    """No attempt is left. Nothing was sent, or the card refused to compare."""

    code = "pin-blocked"


class PinEntryCancelled(PinRefused):
    """The person gave up, or did not answer in time."""

    code = "pin-entry-cancelled"


class CertificateMalformed(CertificateRefused):
    """Not a certificate, or one that breaks the rules of X.509 or of the CPS profile."""

    code = "certificate-malformed"
    what: str  # what could not be read, in technical words


class CertificateExpired(CertificateRefused):
    """Its validity is over."""

    code = "certificate-expired"
    not_after: datetime  # end of validity, aware UTC


class CertificateNotYetValid(CertificateRefused):
    """Its validity has not begun; often a PC whose clock is wrong."""

    code = "certificate-not-yet-valid"
    not_before: datetime  # start of validity, aware UTC


class UntrustedIssuer(CertificateRefused):
    """No chain of valid CA certificates leads from it to a trusted anchor."""

    code = "untrusted-issuer"
    reason: StrEnum  # `cps_auth.pki.chain.explain.ChainFault`
    trust: str  # name of the trust store that was asked


class WrongPurpose(CertificateRefused):
    """Genuine, and not made for logging a person in here."""

    code = "wrong-purpose"
    reason: StrEnum  # `cps_auth.pki.certificate.purpose.PurposeMismatch`


class CertificateRevoked(CertificateRefused):
    """On the issuer's revocation list (mise en opposition)."""

    code = "certificate-revoked"
    revoked_at: datetime  # since when, aware UTC
    reason: str  # RFC 5280 section 5.3.1 reason, or "unspecified"
    source: str = ""  # what says so: "crl" or "ocsp"
    issuer: str = ""  # common name of the authority


class RevocationUnknown(CertificateRefused):
    """Revocation status unknown. Distinct from revoked; refused by default."""

    code = "revocation-unknown"
    why: StrEnum  # `CrlProblem` or `OcspProblem` of `cps_auth.pki.revocation`
    valid_until: datetime | None = None  # end of the newest evidence, aware UTC
    issuer: str = ""  # common name of the authority whose list is missing


class ChallengeUnknown(ProofRefused):
    """Never issued, issued to another session, or used already."""

    code = "challenge-unknown"
    reason: str = ""  # stable reason code, for the log


class ChallengeExpired(ProofRefused):
    """Issued, and answered too late."""

    code = "challenge-expired"


class BadSignature(ProofRefused):
    """The signature over the challenge was not made by the judged certificate's key."""

    code = "bad-signature"
    reason: str = ""  # stable reason code, see `cps_auth.login.proof`


class HolderNotAllowed(CpsAuthError):
    """Genuine card and holder, and not allowed here: no account, or another's."""

    code = "holder-not-allowed"
    reason: str = "no-account"  # stable reason code given by the account mapping


class PeerNotAllowed(RequestRefused):
    """The asking process or machine has no right to ask this."""

    code = "peer-not-allowed"
    reason: str = ""  # stable reason code, for the log


class TooManyRequests(RequestRefused):
    """Asked too often."""

    code = "too-many-requests"
    retry_after_s: float  # seconds after which asking again makes sense


class RequestMalformed(RequestRefused):
    """The request is not one of the protocol's."""

    code = "request-malformed"
    reason: str = ""  # stable reason code, for the log


class ConfigurationError(InstallationError):
    """A setting is missing, unknown, unsafe or contradictory."""

    code = "configuration-error"
    what: str  # the setting and what is wrong with it, in English
    cause: str = ""  # stable, see `cps_auth.wording.causes`; empty: any other


class TrustStoreUnusable(InstallationError):
    """The certificates of the CAs are missing, unreadable or not the pinned ones."""

    code = "trust-store-unusable"
    what: str  # what was looked for and where


class DaemonUnreachable(InstallationError):
    """The card daemon does not answer."""

    code = "daemon-unreachable"


class StoreUnavailable(InstallationError):
    """The store of challenges and sessions does not answer: nobody is logged in."""

    code = "store-unavailable"
    reason: str = ""  # what the database said, for the log

"""The login, in numbered steps. Nothing else in the product decides one.

    1  a card is present and of an accepted kind        (no PIN attempt is at risk
    2  its authentication certificate is read            in steps 1 to 6)
    3  a chain leads to a trusted anchor, now
    4  its purpose is logging a person in
    5  it is not revoked, with evidence
    6  this holder may do this here
    7  the PIN has attempts left
    8  PIN and signature over a fresh challenge
    9  the signature verifies with the judged certificate's key

Steps 2 to 5 are `cps_auth.pki.judge`; 7 and 8 are one operation of the card. A proof made
elsewhere (a browser) passes steps 2 to 5, 9, then 6: the application is asked about nobody who
has proven nothing. One whose proof was a TLS handshake, which a trusted proxy verified, passes
steps 2 to 6. Whom Pro Santé Connect named passes step 6: all others were its own, and there is no
certificate to judge here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from cps_auth.card.port import Card
from cps_auth.errors import ChallengeExpired, ContactlessNotEnough
from cps_auth.login.challenge import CLOCK_STEP_BACK, check_fresh, issue_challenge
from cps_auth.login.pro_sante_connect.identity import PscIdentity
from cps_auth.login.proof import check_signature
from cps_auth.model import (
    CardIdentity,
    Challenge,
    Practitioner,
    ProofKind,
    TlsProof,
    UnverifiedProof,
    VerifiedHolder,
)
from cps_auth.pki.judge import Judge, JudgedCertificate

AccountCheck = Callable[[Practitioner], None]
"""Step 6: returns if this holder may log in here, raises HolderNotAllowed otherwise."""

TLS_PROOF_LIFETIME = timedelta(seconds=60)
"""A browser needs well under a second to come back from the host that asks for certificates."""


def show_holder(card: Card, *, judge: Judge, at: datetime) -> JudgedCertificate:
    """Read and judge the card's certificate: steps 1 to 5, no PIN, no login.

    Args:
        card: an open card.
        judge: trust, revocation and accepted card types.
        at: now, aware UTC.

    Raises:
        ContactlessNotEnough: step 1.
        CardRemoved, CardMisbehaved, ReaderServiceLost: the card could not be read.
        CertificateRefused: any of its leaves; says which step said no.
    """
    if card.description.kind.is_contactless:
        raise ContactlessNotEnough
    return judge.judge(card.read_authentication_certificate(), at=at)


@dataclass(frozen=True, slots=True)
class Admission:
    """Steps 1 to 6 passed; nobody is logged in. Made only by `admit`; a test holds that."""

    judged: JudgedCertificate
    card_serial: str


def admit(card: Card, *, judge: Judge, allow: AccountCheck, at: datetime) -> Admission:
    """Do all that can be done before a PIN is asked for: steps 1 to 6.

    Args:
        card: an open card.
        judge: trust, revocation and accepted card types.
        allow: the account mapping.
        at: now, aware UTC.

    Raises:
        ContactlessNotEnough: step 1.
        CardRemoved, CardMisbehaved, ReaderServiceLost: the card could not be read.
        CertificateRefused: any leaf; steps 3 to 5.
        HolderNotAllowed: step 6.
    """
    judged = show_holder(card, judge=judge, at=at)  # 1 to 5
    allow(judged.certificate.practitioner)  # 6
    return Admission(judged, card.description.serial)


def prove(
    card: Card,
    pin: bytearray | None,
    admission: Admission,
    *,
    origin: str,
    clock: Callable[[], datetime],
    last_attempt_allowed: bool = False,
) -> VerifiedHolder:
    """Finish a login that was admitted: steps 7 to 9.

    Args:
        card: the card that was admitted, still open. Another one fails step 9.
        pin: ASCII digits; its owner wipes it afterwards. None: typed on the reader's keypad.
        admission: what `admit` returned just now.
        origin: the name that this surface signs under, from configuration.
        clock: tells the time, aware UTC; asked before and after the card's slow work.
        last_attempt_allowed: the person was told that one attempt is left, and said yes.

    Returns:
        The verified holder.

    Raises:
        PinRefused: any leaf; steps 7 and 8.
        CardRemoved, CardBusy, CardMisbehaved, ReaderServiceLost: the card left or failed.
        BadSignature, ChallengeExpired: step 9.
    """
    challenge = issue_challenge(origin, at=clock())
    signature = card.verify_pin_and_sign(  # 7, 8
        pin, challenge, last_attempt_allowed=last_attempt_allowed
    )
    at, judged = clock(), admission.judged
    check_fresh(challenge, at=at)
    check_signature(judged.certificate.x509.public_key(), challenge, signature)  # 9
    return _holder(judged, admission.card_serial, ProofKind.CHALLENGE, at=at)


def log_in(
    card: Card,
    pin: bytearray | None,
    *,
    origin: str,
    judge: Judge,
    allow: AccountCheck,
    clock: Callable[[], datetime],
    last_attempt_allowed: bool = False,
) -> VerifiedHolder:
    """Log in the holder of a card in a reader of this machine: all nine steps.

    Args:
        card: an open card.
        pin, origin, clock, last_attempt_allowed: as in `prove`.
        judge, allow: as in `admit`.

    Returns:
        The verified holder.

    Raises:
        CardUnavailable, CardMisbehaved: any leaf; the card left or failed.
        CertificateRefused: any leaf; steps 3 to 5.
        HolderNotAllowed: step 6.
        PinRefused: any leaf; steps 7 and 8.
        BadSignature, ChallengeExpired: step 9.
    """
    admission = admit(card, judge=judge, allow=allow, at=clock())
    return prove(
        card,
        pin,
        admission,
        origin=origin,
        clock=clock,
        last_attempt_allowed=last_attempt_allowed,
    )


def verify_proof(
    proof: UnverifiedProof,
    challenge: Challenge,
    *,
    judge: Judge,
    allow: AccountCheck,
    at: datetime,
) -> VerifiedHolder:
    """Log in a holder whose card is elsewhere: steps 2 to 5, 9 and 6 on what was sent.

    Args:
        proof: certificate and signature as they came.
        challenge: taken from the store just now, so that nobody can use it again.
        judge, allow: as in `log_in`.
        at: now, aware UTC.

    Returns:
        The verified holder; its card serial is the certificate's gipCardID.

    Raises:
        ChallengeExpired: the answer came too late.
        CertificateRefused: any leaf; steps 3 to 5.
        HolderNotAllowed: step 6.
        BadSignature: step 9.
    """
    check_fresh(challenge, at=at)
    judged = judge.judge(proof.unverified_certificate_der, at=at)  # 2 to 5
    check_signature(judged.certificate.x509.public_key(), challenge, proof.signature)  # 9
    practitioner = judged.certificate.practitioner
    allow(practitioner)  # 6
    return _holder(judged, practitioner.card_number or "", ProofKind.CHALLENGE, at=at)


def accept_tls_proof(
    proof: TlsProof, *, judge: Judge, allow: AccountCheck, at: datetime
) -> VerifiedHolder:
    """Log in a holder whose key a trusted proxy saw in a TLS handshake: steps 2 to 6.

    Steps 8 and 9 were the handshake's own. The verdict of the proxy on the certificate counts
    for nothing here: it is judged in full. The holder says `ProofKind.TLS`.

    Args:
        proof: made from what a trusted peer reported, and from nothing else.
        judge, allow: as in `log_in`.
        at: now, aware UTC.

    Returns:
        The verified holder; its card serial is the certificate's gipCardID.

    Raises:
        ChallengeExpired: it was reported too long ago, or well after `at`.
        CertificateRefused: any leaf; steps 3 to 5.
        HolderNotAllowed: step 6.
    """
    if not -CLOCK_STEP_BACK <= at - proof.reported_at <= TLS_PROOF_LIFETIME:
        raise ChallengeExpired
    judged = judge.judge(proof.unverified_certificate_der, at=at)
    allow(judged.certificate.practitioner)
    serial = judged.certificate.practitioner.card_number or ""
    return _holder(judged, serial, ProofKind.TLS, at=at)


def accept_psc_identity(
    identity: PscIdentity, *, allow: AccountCheck, at: datetime
) -> VerifiedHolder:
    """Log in a holder whom Pro Santé Connect named: step 6 on a verified answer.

    Args:
        identity: of answers that were verified just now.
        allow: as in `log_in`.
        at: now, aware UTC.

    Returns:
        The verified holder, `ProofKind.PROVIDER`; nothing of a card or certificate is in it.

    Raises:
        HolderNotAllowed: step 6.
    """
    allow(identity.practitioner)
    return VerifiedHolder(
        practitioner=identity.practitioner,
        card=None,
        certificate_serial_hex=None,
        certificate_not_after=None,
        trust=identity.login.issuer,
        revocation=(),
        verified_at=at,
        proof=ProofKind.PROVIDER,
        psc=identity.login,
    )


def _holder(
    judged: JudgedCertificate, card_serial: str, proof: ProofKind, *, at: datetime
) -> VerifiedHolder:
    """The one place where a login with a card becomes true."""
    return VerifiedHolder(
        practitioner=judged.certificate.practitioner,
        card=CardIdentity(card_serial, judged.certificate.sha256_hex),
        certificate_serial_hex=judged.certificate.serial_hex,
        certificate_not_after=judged.certificate.not_after,
        trust=judged.trust,
        revocation=judged.revocation,
        verified_at=at,
        proof=proof,
    )

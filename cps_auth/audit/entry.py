"""One entry of the audit journal: the same form on a practice's PC and in a web application.

Never a PIN, a certificate, a nonce or a session identifier, and never anything about a patient. A
practitioner is named by their national identifier.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

from cps_auth.model import RevocationEvidence, VerifiedHolder


class AuditEvent(StrEnum):
    """The kinds of audited events."""

    LOGIN = "login"
    LOGIN_REFUSED = "login-refused"
    ACCESS_REFUSED = "access-refused"
    SESSION_ENDED = "session-ended"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    CODE_ISSUED = "one-time-code-issued"
    CODE_USED = "one-time-code-used"
    PIN_UNBLOCKED = "pin-unblocked"
    ACCOUNT_CHANGED = "account-changed"
    SETTINGS_CHANGED = "settings-changed"
    JOURNAL_SEALED = "journal-sealed"  # from here on, with another key
    JOURNAL_PRUNED = "journal-pruned"  # a file older than the journal is kept was deleted
    JOURNAL_TORN = "journal-torn"  # a line that was cut short by a power failure
    JOURNAL_GAP = "journal-gap"  # entries that no disk would take


class Evidence(msgspec.Struct, frozen=True, omit_defaults=True):
    """One piece of evidence that a certificate was not revoked.

    Attributes:
        source: "crl" or "ocsp".
        issuer: common name of the authority.
        number: CRLNumber.
        age_s: how old it was when it was judged.
        past_due: whether it was taken under a grace period.
    """

    source: str
    issuer: str
    number: int | None = None
    age_s: int = 0
    past_due: bool = False


class AuditEntry(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """The record of one event; absent is what is not known.

    Attributes:
        event: what happened.
        surface: "pc" or "web".
        outcome: stable code of the error that refused it, empty for yes.
        holder: PS_IdNat.
        account: Unix account, or the application's own name of the user.
        card: serial number of the card.
        certificate: SHA-256 of the authentication certificate, lower case.
        evidence: of the certificate's not being revoked.
        method: how it was tried: a login method, a PAM service.
        peer: address at the other end, or the seat.
        reason: why, a stable code.
        detail: technical words, for the administrator.
    """

    event: AuditEvent
    surface: str
    outcome: str = ""
    holder: str | None = None
    account: str | None = None
    card: str | None = None
    certificate: str | None = None
    evidence: tuple[Evidence, ...] = ()
    method: str | None = None
    peer: str | None = None
    reason: str | None = None
    detail: str | None = None


class Line(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of the journal: an entry and its place in the chain.

    Attributes:
        n: 1 for the first entry of this journal, then one more each.
        at: when it was written, aware UTC.
        host: whose journal it is.
        previous: digest of the line before, see `cps_auth.audit.chain`.
        entry: what happened.
    """

    n: int
    at: datetime
    host: str
    previous: str
    entry: AuditEntry


def entry_of_login(
    holder: VerifiedHolder,
    surface: str,
    *,
    account: str | None = None,
    method: str | None = None,
    peer: str | None = None,
) -> AuditEntry:
    """Make the entry of a login that succeeded.

    Args:
        holder: who was verified.
        surface: "pc" or "web".
        account, method, peer: see `AuditEntry`.
    """
    return AuditEntry(
        event=AuditEvent.LOGIN,
        surface=surface,
        holder=holder.practitioner.ps_idnat,
        account=account,
        card=holder.card.serial if holder.card else None,
        certificate=holder.card.certificate_sha256_hex if holder.card else None,
        evidence=tuple(map(_evidence, holder.revocation)),
        method=method,
        peer=peer,
    )


def _evidence(found: RevocationEvidence) -> Evidence:
    return Evidence(
        source=found.source,
        issuer=found.issuer,
        number=found.crl_number,
        age_s=found.age_s or 0,
        past_due=found.past_due,
    )

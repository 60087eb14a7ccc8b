"""The status of the authorities and their lists, without judging anybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography.hazmat.primitives import hashes

from cps_auth.pki.certificate.names import shown_name
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.chain.trust_store import TrustStore
from cps_auth.pki.revocation.crl import Crl
from cps_auth.pki.revocation.crl_header import CRL_PROBLEMS, CrlHeader, CrlProblem
from cps_auth.pki.revocation.crl_lookup import number_key
from cps_auth.pki.revocation.crl_store import CrlSnapshot, CrlStore

ENDS_SOON = timedelta(days=3)
"""How long before its end a CRL is told: one that is fetched each day never comes so close."""


@dataclass(frozen=True)
class AuthorityStatus:
    """One authority of a trust store."""

    name: str
    role: str  # "anchor" or "intermediate"
    sha256: str
    not_after: datetime
    is_valid: bool


@dataclass(frozen=True)
class CrlStatus:
    """The newest CRL of one authority.

    Attributes:
        issuer: common name.
        doubt: why it is no evidence (a stable code), None when it is.
        number, this_update, next_update, age_s: of the CRL, None without one.
        entries: how many it has, None unless its signature was verified.
        ends_soon: whether it ends within ENDS_SOON, or half its life where that is shorter.
    """

    issuer: str
    doubt: CrlProblem | None
    number: int | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None
    entries: int | None = None
    age_s: int | None = None
    ends_soon: bool = False


def authorities_status(trust: TrustStore, *, at: datetime) -> list[AuthorityStatus]:
    """Return every authority of a trust store, anchors first."""
    roles = [(ca, "anchor") for ca in trust.anchors]
    roles += [(ca, "intermediate") for ca in trust.intermediates]
    return [
        AuthorityStatus(
            name=shown_name(ca.subject),
            role=role,
            sha256=ca.fingerprint(hashes.SHA256()).hex(),
            not_after=ca.not_valid_after_utc,
            is_valid=ca.not_valid_before_utc <= at <= ca.not_valid_after_utc,
        )
        for ca, role in roles
    ]


def crls_status(trust: TrustStore, crls: CrlStore, *, at: datetime) -> list[CrlStatus]:
    """Return how things stand with the CRL of every authority."""
    snapshot = crls.current()
    return [
        _crl_status(Issuer.of(authority), snapshot, at)
        for authority in (*trust.anchors, *trust.intermediates)
    ]


def _crl_status(issuer: Issuer, crls: CrlSnapshot, at: datetime) -> CrlStatus:
    problems = {
        crl: crl.problem_under(issuer) or _date_problem(crl, at) or _rollback(crl, issuer, crls)
        for crl in crls.by_issuer.get(issuer.name_key, ())
        if crl.header.base_number is None
    }
    if not problems:
        return CrlStatus(issuer.shown_name, crls.problem or CrlProblem.NO_CRL)
    crl, problem = max(
        problems.items(),
        key=lambda pair: (
            len(CRL_PROBLEMS) if pair[1] is None else CRL_PROBLEMS.index(pair[1]),
            pair[0].header.number or 0,
        ),
    )
    header = crl.header
    return CrlStatus(
        issuer=issuer.shown_name,
        doubt=problem,
        number=header.number,
        this_update=header.this_update,
        next_update=header.next_update,
        entries=crl.entry_count,
        age_s=int((at - header.this_update).total_seconds()),
        ends_soon=_ends_soon(header, at),
    )


def _ends_soon(header: CrlHeader, at: datetime) -> bool:
    if header.next_update is None:
        return False
    life = header.next_update - header.this_update
    return header.next_update - at < min(ENDS_SOON, life / 2)


def _date_problem(crl: Crl, at: datetime) -> CrlProblem | None:
    if at < crl.header.this_update:
        return CrlProblem.NOT_YET_VALID
    late = crl.header.next_update is not None and at > crl.header.next_update
    return CrlProblem.STALE if late else None


def _rollback(crl: Crl, issuer: Issuer, crls: CrlSnapshot) -> CrlProblem | None:
    try:
        is_old = crls.numbers.is_rollback(number_key(crl, issuer), crl.header.number)
    except ValueError:
        return CrlProblem.NUMBERS_UNREADABLE
    return CrlProblem.ROLLBACK if is_old else None

"""Says how things stand with the authorities and their lists, without judging anybody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cps_auth.pki.certificate.names import shown_name
from cps_auth.pki.chain.signatures import signer_of
from cps_auth.pki.chain.trust_store import TrustStore
from cps_auth.pki.revocation.crl import Crl, CrlStore, Lists
from cps_auth.pki.revocation.crl_header import Doubt
from cps_auth.pki.revocation.crl_lookup import number_key


@dataclass(frozen=True)
class AuthorityStatus:
    """One authority of a trust store."""

    name: str
    role: str  # "anchor" or "intermediate"
    sha256: str
    not_after: datetime
    is_valid: bool


@dataclass(frozen=True)
class ListStatus:
    """The newest list of one authority.

    Attributes:
        issuer: common name.
        doubt: why it is no evidence (a stable code), None when it is.
        number, this_update, next_update, age_s: of the list, None without one.
        entries: how many it has, None unless its signature was verified.
    """

    issuer: str
    doubt: str | None
    number: int | None = None
    this_update: datetime | None = None
    next_update: datetime | None = None
    entries: int | None = None
    age_s: int | None = None


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


def lists_status(trust: TrustStore, crls: CrlStore, *, at: datetime) -> list[ListStatus]:
    """Return how things stand with the list of every authority."""
    return [
        _list_status(authority, crls, at) for authority in (*trust.anchors, *trust.intermediates)
    ]


def _list_status(authority: x509.Certificate, crls: CrlStore, at: datetime) -> ListStatus:
    name, lists = shown_name(authority.subject), crls.current()
    doubts = {
        crl: crl.doubt_under(authority) or _date_doubt(crl, at) or _rollback(crl, authority, lists)
        for crl in lists.by_issuer.get(signer_of(authority).name_key, ())
        if crl.form.base_number is None
    }
    if not doubts:
        missing = Doubt.MALFORMED if lists.has_malformed else Doubt.NO_CRL
        return ListStatus(name, missing.value)
    order = list(Doubt)
    crl, doubt = max(
        doubts.items(),
        key=lambda pair: (
            len(order) if pair[1] is None else order.index(pair[1]),
            pair[0].form.number or 0,
        ),
    )
    form = crl.form
    return ListStatus(
        issuer=name,
        doubt=doubt.value if doubt else None,
        number=form.number,
        this_update=form.this_update,
        next_update=form.next_update,
        entries=crl.entry_count,
        age_s=int((at - form.this_update).total_seconds()),
    )


def _date_doubt(crl: Crl, at: datetime) -> Doubt | None:
    if at < crl.form.this_update:
        return Doubt.NOT_YET_VALID
    late = crl.form.next_update is not None and at > crl.form.next_update
    return Doubt.STALE if late else None


def _rollback(crl: Crl, authority: x509.Certificate, lists: Lists) -> Doubt | None:
    try:
        highest = lists.numbers.highest(number_key(crl, signer_of(authority)))
    except ValueError:
        return Doubt.NUMBERS_UNREADABLE
    number = -1 if crl.form.number is None else crl.form.number
    return Doubt.ROLLBACK if highest is not None and number < highest else None

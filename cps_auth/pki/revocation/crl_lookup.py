"""Finds what the lists of an issuer say about one certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from cryptography import x509

from cps_auth.pki.chain.signatures import Signer, signer_of
from cps_auth.pki.revocation.crl import Crl, Lists
from cps_auth.pki.revocation.crl_entries import REMOVED
from cps_auth.pki.revocation.crl_header import Doubt, scope_doubt
from cps_auth.pki.revocation.crl_numbers import ScopedKey

OtherSigners = Callable[[x509.Certificate], Iterable[x509.Certificate]]
"""Other certificates, judged already, that may sign the lists of an issuer."""


def nobody_else(_issuer: x509.Certificate) -> tuple[x509.Certificate, ...]:
    """Return nobody: an issuer signs its own lists."""
    return ()


@dataclass(frozen=True)
class ListEvidence:
    """What the newest lists that speak about a certificate say, delta lists applied.

    Attributes:
        revoked: since when and why, None when it is not.
        asked: complete lists, and delta lists whether they fit or not.
        signed_by_issuer: whether its issuer's own key made all of them; another signer's
            dates have to be looked at again.
    """

    number: int | None
    issuer: str
    this_update: datetime
    next_update: datetime
    revoked: tuple[datetime, str] | None
    asked: tuple[Crl, ...] = ()
    signed_by_issuer: bool = True


class NoEvidence(Exception):
    """No list is evidence; `doubt` says why the closest one is not."""

    def __init__(self, doubt: Doubt) -> None:
        super().__init__(doubt.value)
        self.doubt = doubt


def find_evidence(
    child: x509.Certificate,
    issuer: x509.Certificate,
    lists: Lists,
    *,
    at: datetime,
    other_signers: OtherSigners = nobody_else,
) -> ListEvidence:
    """Return what the lists say about a certificate, even when they are out of date.

    Lists of several scopes (for all, for a distribution point) or keys are all asked: one that
    revokes is enough, and of others the one that is good for longest is evidence.

    Args:
        child, issuer: neighbours in a verified chain.
        lists: where to look.
        at: the moment of judgement, aware UTC.
        other_signers: see `OtherSigners`.

    Raises:
        NoEvidence: no complete list of this issuer speaks about this certificate.

    Source: RFC 5280 section 6.3.3.
    """
    signer = signer_of(issuer)
    complete, deltas, doubts = [], [], [Doubt.NO_CRL]
    for crl in lists.by_issuer.get(signer.name_key, ()):
        doubt = _doubt(crl, child, issuer, lists, at, other_signers)
        if doubt is not None:
            doubts.append(doubt)
        elif crl.form.base_number is None:
            complete.append(crl)
        else:
            deltas.append(crl)
    if not complete:
        doubts += [Doubt.MALFORMED] * lists.has_malformed + [Doubt.DELTA] * bool(deltas)
        raise NoEvidence(max(doubts, key=_CLOSENESS.__getitem__))
    newest = _newest_of_each(complete)
    found = [_combined(crl, deltas, child.serial_number, at) for crl in newest]
    revoking = [evidence for evidence in found if evidence.revoked is not None]
    evidence = max(revoking or found, key=_usefulness)
    asked = (*newest, *deltas)
    by_issuer = all(crl.doubt_under(issuer) is None for crl in asked)
    return replace(evidence, asked=asked, signed_by_issuer=by_issuer)


def _usefulness(evidence: ListEvidence) -> tuple[datetime, datetime, int]:
    """Order evidence by how long it is good; of equals the same one every time it is asked."""
    number = -1 if evidence.number is None else evidence.number
    return evidence.next_update, evidence.this_update, number


def _newest_of_each(complete: Sequence[Crl]) -> Sequence[Crl]:
    """Return the newest list of each scope and key: only within these can numbers be compared."""
    if len(complete) == 1:
        return complete
    newest: dict[tuple[str, str | None], Crl] = {}
    for crl in sorted(complete, key=_age_order):
        newest[crl.scope, _signer(crl)] = crl
    return tuple(newest.values())


_CLOSENESS = {doubt: rank for rank, doubt in enumerate(Doubt)}


def _doubt(
    crl: Crl,
    child: x509.Certificate,
    issuer: x509.Certificate,
    lists: Lists,
    at: datetime,
    other_signers: OtherSigners,
) -> Doubt | None:
    doubt = crl.doubt_under(issuer)
    signer = signer_of(issuer)
    if doubt is not None:
        others = [other for other in other_signers(issuer) if crl.doubt_under(other) is None]
        if not others:
            return doubt
        signer = signer_of(others[0])
    if at < crl.form.this_update:
        return Doubt.NOT_YET_VALID
    return scope_doubt(crl.form, child) or _rollback(crl, signer, lists)


def number_key(crl: Crl, signer: Signer) -> ScopedKey:
    """Return within what the numbers of a list rise. Those of delta lists rise apart."""
    scope = crl.scope if crl.form.base_number is None else f"{crl.scope}-delta"
    return signer.key_sha256_hex, scope


def _rollback(crl: Crl, signer: Signer, lists: Lists) -> Doubt | None:
    """Say whether a verified list is older than one that was seen; remember it if not."""
    key = number_key(crl, signer)
    number = -1 if crl.form.number is None else crl.form.number
    try:
        highest = lists.numbers.highest(key)
        if highest is not None and number < highest:
            return Doubt.ROLLBACK
        if number >= 0:
            lists.numbers.saw(key, number)
    except ValueError:
        return Doubt.NUMBERS_UNREADABLE
    return None


def _combined(newest: Crl, deltas: Sequence[Crl], serial: int, at: datetime) -> ListEvidence:
    """Apply the newest delta list that goes with this complete one.

    A delta list that is out of date still says who was revoked, and no longer that others
    are not. Source: RFC 5280 sections 5.2.4 and 6.3.3 (c).
    """
    base = newest.form
    revoked = newest.entries.find(serial)
    fitting = [delta for delta in deltas if _fits(newest, delta)]
    shown = base
    if fitting:
        delta = max(fitting, key=_age_order)
        change = delta.entries.find(serial)
        current = delta.form.next_update is not None and at <= delta.form.next_update
        if change is not None and change[1] != REMOVED:
            revoked = change
        elif change is not None and current:
            revoked = None
        shown = delta.form if current else base
    if shown.next_update is None:
        raise NoEvidence(Doubt.NO_NEXT_UPDATE)
    return ListEvidence(
        shown.number, shown.issuer_name, shown.this_update, shown.next_update, revoked
    )


def _fits(newest: Crl, delta: Crl) -> bool:
    number, base, made = newest.form.number, delta.form.base_number, delta.form.number
    if number is None or base is None or made is None:
        return False
    same = newest.scope == delta.scope and _signer(newest) == _signer(delta)
    return same and base <= number < made


def _signer(crl: Crl) -> str | None:
    return crl.form.authority_key_hex


def _age_order(crl: Crl) -> tuple[int, datetime]:
    return (-1 if crl.form.number is None else crl.form.number, crl.form.this_update)

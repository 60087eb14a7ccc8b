"""Finds what the CRLs of an issuer say about one certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.names import general_name_key
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.revocation.crl import Crl
from cps_auth.pki.revocation.crl_entries import HOLD, REMOVED
from cps_auth.pki.revocation.crl_header import CRL_PROBLEMS, CrlHeader, CrlProblem, point_names
from cps_auth.pki.revocation.crl_store import CrlSnapshot, ScopedKey

CrlSigners = Callable[[Issuer], Iterable[Issuer]]
"""Other certificates of an issuer, judged already, that may sign its CRLs."""

Revoked = tuple[datetime, str]
"""Since when and why."""


def no_other_signers(_issuer: Issuer) -> tuple[Issuer, ...]:
    """Return no delegated CRL signers: an issuer signs its own CRLs."""
    return ()


@dataclass(frozen=True)
class CrlEvidence:
    """The evidence of the newest CRLs that cover a certificate, delta CRLs applied.

    Attributes:
        revoked: None when it is not.
    """

    number: int | None
    issuer: str
    this_update: datetime
    next_update: datetime
    revoked: Revoked | None


class NoEvidence(Exception):
    """No CRL is evidence; `problem` says why the closest one is not."""

    def __init__(self, problem: CrlProblem) -> None:
        super().__init__(problem.value)
        self.problem = problem


def find_evidence(
    child: ParsedCertificate,
    issuer: Issuer,
    crls: CrlSnapshot,
    *,
    at: datetime,
    other_signers: CrlSigners = no_other_signers,
) -> CrlEvidence:
    """Return what the CRLs say about a certificate, even when they are out of date.

    CRLs of several scopes (for all, for a distribution point) or keys are all asked: one that
    revokes is enough, and of others the one that is good for longest is evidence. One that is no
    evidence that a certificate is good may still revoke it.

    Args:
        child, issuer: neighbours in a verified chain.
        crls: where to look.
        at: the moment of judgement, aware UTC.
        other_signers: see `CrlSigners`.

    Raises:
        NoEvidence: no complete CRL of this issuer speaks about this certificate.

    Source: RFC 5280 section 6.3.3.
    """
    complete: list[Crl] = []
    deltas: list[Crl] = []
    passed_over: list[Crl] = []
    problems = [CrlProblem.NO_CRL]
    for crl in crls.by_issuer.get(issuer.name_key, ()):
        signer = _signer(crl, issuer, other_signers)
        if isinstance(signer, CrlProblem):
            problems.append(signer)
        elif (problem := _use_problem(crl, signer, child, crls, at)) is not None:
            problems.append(problem)
            passed_over.append(crl)
        else:
            (complete if crl.header.base_number is None else deltas).append(crl)
    newest = _newest_of_each(complete)
    deltas_of = {crl: _newest_delta_of(crl, deltas) for crl in newest}
    serial = child.x509.serial_number
    found = [_combined(crl, delta, serial, at) for crl, delta in deltas_of.items()]
    revoking = [evidence for evidence in found if evidence.revoked is not None]
    if not revoking:
        used = [*newest, *filter(None, deltas_of.values())]
        unused = [crl for crl in (*passed_over, *complete, *deltas) if crl not in used]
        revoking = [*_revoked_besides(unused, used, serial)]
    if not revoking and not found:
        problems += [crls.problem] if crls.problem else []
        problems += [CrlProblem.DELTA] if deltas else []
        raise NoEvidence(max(problems, key=CRL_PROBLEMS.index))
    return max(revoking or found, key=_usefulness)


def _signer(crl: Crl, issuer: Issuer, other_signers: CrlSigners) -> Issuer | CrlProblem:
    """Return who signed a CRL, or why its issuer did not. RFC 5280 section 6.3.3 (f), (g)."""
    problem = crl.signature_problem(issuer)
    if problem is None:
        return issuer
    others = (other for other in other_signers(issuer) if crl.signature_problem(other) is None)
    return next(others, problem)


def _use_problem(
    crl: Crl, signer: Issuer, child: ParsedCertificate, crls: CrlSnapshot, at: datetime
) -> CrlProblem | None:
    """Return why a signed CRL is no evidence that a certificate is good; note its number."""
    header = crl.header
    if header.problem is not None:
        return header.problem
    if at < header.this_update:
        return CrlProblem.NOT_YET_VALID
    problem = _scope_problem(header, child)
    if problem is not None:
        return problem
    try:
        is_newest = crls.numbers.accept(number_key(crl, signer), header.number)
    except ValueError:
        return CrlProblem.NUMBERS_UNREADABLE
    return None if is_newest else CrlProblem.ROLLBACK


def _scope_problem(header: CrlHeader, child: ParsedCertificate) -> CrlProblem | None:
    """Return why a CRL does not speak about this certificate, None when it does.

    Source: RFC 5280 section 6.3.3 (b) (2).
    """
    if header.only is not None:
        basic = child.extensions.known.get(x509.BasicConstraints)
        if (header.only == "ca") is not (basic is not None and basic.ca):
            return CrlProblem.PARTIAL
    if header.points is not None and not header.points & _asked_points(child):
        return CrlProblem.OTHER_DISTRIBUTION_POINT
    return None


def _asked_points(child: ParsedCertificate) -> frozenset[str]:
    """Return where the CRL about a certificate is, as the certificate says."""
    points = child.extensions.known.get(x509.CRLDistributionPoints)
    issuer = child.x509.issuer
    if points is None:  # any CRL of its issuer: RFC 5280 section 6.3.3, last paragraph
        return frozenset({general_name_key(x509.DirectoryName(issuer))})
    names: set[str] = set()
    for point in points:
        if point.full_name is not None or point.relative_name is not None:
            names |= point_names(point.full_name, point.relative_name, issuer)
        else:
            names |= frozenset(map(general_name_key, point.crl_issuer or ()))
    return frozenset(names)


def number_key(crl: Crl, signer: Issuer) -> ScopedKey:
    """Return within what the numbers of a CRL rise. Those of delta CRLs rise apart."""
    scope = crl.header.scope
    return signer.key_sha256_hex, scope if crl.header.base_number is None else f"{scope}-delta"


def _newest_of_each(complete: Sequence[Crl]) -> Sequence[Crl]:
    """Return the newest CRL of each scope and key: only within these can numbers be compared."""
    if len(complete) == 1:
        return complete
    newest: dict[ScopedKey, Crl] = {}
    for crl in sorted(complete, key=_age_order):
        newest[_claimed_key(crl)] = crl
    return tuple(newest.values())


def _newest_delta_of(complete: Crl, deltas: Sequence[Crl]) -> Crl | None:
    """Return the newest delta CRL that goes with a complete one. RFC 5280 section 5.2.4."""
    return max((d for d in deltas if _fits(d, complete)), key=_age_order, default=None)


def _fits(delta: Crl, complete: Crl) -> bool:
    number, base, made = complete.header.number, delta.header.base_number, delta.header.number
    if number is None or base is None or made is None:
        return False
    return _claimed_key(complete) == _claimed_key(delta) and base <= number < made


def _combined(complete: Crl, delta: Crl | None, serial: int, at: datetime) -> CrlEvidence:
    """Apply a delta CRL to a complete one.

    A delta CRL that is out of date still says who was revoked, and no longer that others
    are not. Source: RFC 5280 section 6.3.3 (c), (i), (k).
    """
    revoked = complete.find(serial)
    shown = complete.header
    if delta is not None:
        change = delta.find(serial)
        is_current = delta.header.next_update is not None and at <= delta.header.next_update
        if change is not None and change[1] != REMOVED:
            revoked = change
        elif change is not None and is_current:
            revoked = None
        shown = delta.header if is_current else complete.header
    return _evidence(shown, revoked)


def _evidence(header: CrlHeader, revoked: Revoked | None) -> CrlEvidence:
    until = header.next_update or header.this_update
    return CrlEvidence(header.number, header.issuer_name, header.this_update, until, revoked)


def _revoked_besides(
    unused: Sequence[Crl], used: Sequence[Crl], serial: int
) -> Iterator[CrlEvidence]:
    """Yield what revokes a certificate among signed CRLs that are no evidence that one is good.

    Revoked is for ever, but for a hold that a later CRL has ended (RFC 5280 section 5.3.1).
    """
    for crl in unused:
        entry = crl.find(serial)
        if entry is None or entry[1] == REMOVED:
            continue
        if entry[1] != HOLD or not any(_is_later(other, crl) for other in used):
            yield _evidence(crl.header, entry)


def _is_later(crl: Crl, than: Crl) -> bool:
    """Return whether a CRL replaces another: by number, where both have one, else by date."""
    if _claimed_key(crl) != _claimed_key(than):
        return False
    ours, theirs = crl.header, than.header
    if ours.number is not None and theirs.number is not None:
        return ours.number > theirs.number
    return ours.this_update > theirs.this_update


def _usefulness(evidence: CrlEvidence) -> tuple[datetime, datetime, int]:
    """Order evidence by how long it is good; of equals the same one every time it is asked."""
    number = -1 if evidence.number is None else evidence.number
    return evidence.next_update, evidence.this_update, number


def _claimed_key(crl: Crl) -> tuple[str, str]:
    return crl.header.authority_key_hex or "", crl.header.scope


def _age_order(crl: Crl) -> tuple[int, datetime]:
    return (-1 if crl.header.number is None else crl.header.number, crl.header.this_update)

"""Checks the revocation of a chain: the evidence that none of its certificates is revoked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from cryptography import x509

from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.model import RevocationEvidence
from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.parse import CpsCertificate
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.chain.verify import Chain
from cps_auth.pki.revocation.crl_header import CrlProblem
from cps_auth.pki.revocation.crl_lookup import (
    CrlEvidence,
    CrlSigners,
    NoEvidence,
    Revoked,
    find_evidence,
    no_other_signers,
)
from cps_auth.pki.revocation.crl_store import CrlSnapshot, CrlStore
from cps_auth.pki.revocation.ocsp import (
    OcspEvidence,
    OcspProblem,
    OcspRefused,
    OcspSource,
    judge_answer,
)
from cps_auth.pki.revocation.policy import REQUIRE, RevocationPolicy


def check_revocation(
    chain: Chain,
    crls: CrlStore,
    *,
    at: datetime,
    policy: RevocationPolicy = REQUIRE,
    ocsp: OcspSource | None = None,
    other_signers: CrlSigners = no_other_signers,
) -> tuple[RevocationEvidence, ...]:
    """Return the evidence that no certificate of a verified chain is revoked.

    CRLs are asked first, because they are here; OCSP when they are no current evidence.

    Args:
        chain: as `verify_chain` returned it.
        crls: where CRLs are looked for.
        at: the moment of judgement, aware UTC.
        policy: how old evidence may be.
        ocsp: who is asked besides, if anybody.
        other_signers: other certificates that may sign the CRLs of an issuer.

    Returns:
        One piece of evidence per certificate below the anchor, leaf first.

    Raises:
        CertificateRevoked: the leaf or an intermediate is on a CRL of its issuer, even when that
            is stale by now, or a responder says so.
        RevocationUnknown: no usable evidence; `why` is one of
            `cps_auth.pki.revocation.crl_header.CrlProblem`
            or `cps_auth.pki.revocation.ocsp.OcspProblem`.

    Source: RFC 5280 section 6.3, without indirect CRLs and CRLs of some reasons; RFC 6960.
    """
    if at.tzinfo is None:
        raise ValueError("at: a naive datetime")
    check = _Check(chain.leaf, crls.current(), at, policy, ocsp, other_signers)
    return tuple(check.evidence(child, issuer) for child, issuer in chain.links())


@dataclass(frozen=True)
class _Check:
    """One judgement's question, asked of each certificate of its chain."""

    leaf: CpsCertificate
    crls: CrlSnapshot
    at: datetime
    policy: RevocationPolicy
    ocsp: OcspSource | None
    other_signers: CrlSigners

    def evidence(self, child: ParsedCertificate, issuer: Issuer) -> RevocationEvidence:
        why: StrEnum = CrlProblem.STALE
        listed: CrlEvidence | None = None
        try:
            listed = self._ask_crls(child, issuer)
        except NoEvidence as no_evidence:
            why = no_evidence.problem
        if listed is not None and self.at <= listed.next_update:
            return self._evidence(listed, issuer)
        try:
            answered = self._ask_responders(child, issuer)
        except OcspRefused as refused:
            answered = None
            why = refused.problem if why is CrlProblem.NO_CRL else why
        if answered is not None:
            return self._evidence(answered, issuer)
        if listed is not None and self.at - listed.next_update <= self.policy.grace_period:
            return self._evidence(listed, issuer)
        until = listed.next_update if listed else None
        raise RevocationUnknown(self.leaf.sha256_hex, why, until, issuer.shown_name)

    def _ask_crls(self, child: ParsedCertificate, issuer: Issuer) -> CrlEvidence:
        signers = self.other_signers
        listed = find_evidence(child, issuer, self.crls, at=self.at, other_signers=signers)
        if listed.revoked is not None:
            raise self._revoked(listed.revoked, "crl", issuer)
        return listed

    def _ask_responders(self, child: ParsedCertificate, issuer: Issuer) -> OcspEvidence | None:
        """Return the first answer that is evidence, None when nobody answered."""
        refused: OcspRefused | None = None
        for answer in self.ocsp.answers(child.x509, issuer.x509) if self.ocsp else ():
            try:
                found = judge_answer(answer, child.x509, issuer, at=self.at, policy=self.policy)
                self._check_responder(found, issuer)
            except OcspRefused as problem:
                refused = problem
                continue
            if found.revoked is not None:
                raise self._revoked(found.revoked, "ocsp", issuer)
            return found
        if refused is not None:
            raise refused
        return None

    def _check_responder(self, found: OcspEvidence, issuer: Issuer) -> None:
        """Refuse what a revoked responder says, and "good" from one that may be revoked.

        Source: RFC 6960 section 4.2.2.2.1.
        """
        responder = found.responder
        if responder is None or responder.extensions.known.get(x509.OCSPNoCheck) is not None:
            return
        try:
            listed = find_evidence(responder, issuer, self.crls, at=self.at)
        except NoEvidence:
            listed = None
        if listed is not None and listed.revoked is not None:
            raise OcspRefused(OcspProblem.UNAUTHORISED)
        if found.revoked is None and (listed is None or self.at > listed.next_update):
            raise OcspRefused(OcspProblem.RESPONDER_UNCHECKED)

    def _evidence(self, found: CrlEvidence | OcspEvidence, issuer: Issuer) -> RevocationEvidence:
        source, number = ("crl", found.number) if isinstance(found, CrlEvidence) else ("ocsp", None)
        since, until = found.this_update, found.next_update
        age_s, past_due = int((self.at - since).total_seconds()), self.at > until
        name = issuer.shown_name
        return RevocationEvidence(source, name, number, since, until, age_s, past_due)

    def _revoked(self, revoked: Revoked, source: str, issuer: Issuer) -> CertificateRevoked:
        return CertificateRevoked(self.leaf.sha256_hex, *revoked, source, issuer.shown_name)

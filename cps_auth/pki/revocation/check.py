"""Is any certificate of the chain revoked, and what says that it is not?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.model import RevocationEvidence
from cps_auth.pki.certificate.parse import fingerprint_hex
from cps_auth.pki.chain.signatures import signer_of
from cps_auth.pki.revocation.crl import CrlStore, Lists
from cps_auth.pki.revocation.crl_header import Doubt
from cps_auth.pki.revocation.crl_lookup import (
    ListEvidence,
    NoEvidence,
    OtherSigners,
    find_evidence,
    nobody_else,
)
from cps_auth.pki.revocation.evidence_memory import EvidenceMemory
from cps_auth.pki.revocation.ocsp import (
    OcspDoubt,
    OcspEvidence,
    OcspRefused,
    OcspSource,
    judge_answer,
    needs_no_check,
)
from cps_auth.pki.revocation.policy import REQUIRE, RevocationPolicy


def check_revocation(
    chain: Sequence[x509.Certificate],
    crls: CrlStore,
    *,
    at: datetime,
    policy: RevocationPolicy = REQUIRE,
    ocsp: OcspSource | None = None,
    other_signers: OtherSigners = nobody_else,
    memory: EvidenceMemory | None = None,
    leaf_der: bytes | None = None,
) -> tuple[RevocationEvidence, ...]:
    """Return the evidence that no certificate of a verified chain is revoked.

    Lists are asked first, because they are here; OCSP when they are no current evidence.

    Args:
        chain: leaf first, anchor last, as `verify_chain` returned it.
        crls: where lists are looked for.
        at: the moment of judgement, aware UTC.
        policy: how old evidence may be.
        ocsp: who is asked besides, if anybody.
        other_signers: other certificates that may sign the lists of an issuer.
        memory: of a caller who asks again and again with the same signers.
        leaf_der: the leaf as it came, whose fingerprint is shown in errors.

    Returns:
        One piece of evidence per certificate below the anchor, leaf first.

    Raises:
        CertificateRevoked: the leaf or an intermediate is on the newest list of its issuer,
            even when that list is stale by now, or a responder says so.
        RevocationUnknown: no usable evidence; `why` is one of
            `cps_auth.pki.revocation.crl_header.Doubt`
            or `cps_auth.pki.revocation.ocsp.OcspDoubt`.

    Source: RFC 5280 section 6.3, without indirect lists and lists of some reasons; RFC 6960.
    """
    if at.tzinfo is None:
        raise ValueError("at: a naive datetime")
    lists = crls.current()
    memory = EvidenceMemory() if memory is None else memory
    questions: _Questions | None = None
    found = []
    for child, issuer in pairwise(chain):
        kept = memory.find(child, issuer, lists, at)
        if kept is not None:
            found.append(_from_lists(kept, issuer, at))
            continue
        if questions is None:
            der = chain[0].public_bytes(Encoding.DER) if leaf_der is None else leaf_der
            questions = _Questions(der, lists, at, policy, other_signers, memory)
        found.append(questions.answer(child, issuer, ocsp))
    return tuple(found)


def _from_lists(lists: ListEvidence, issuer: x509.Certificate, at: datetime) -> RevocationEvidence:
    name, number = signer_of(issuer).shown_name, lists.number
    return _evidence("crl", name, number, lists.this_update, lists.next_update, at)


def _evidence(
    source: str,
    issuer_name: str,
    number: int | None,
    this_update: datetime,
    next_update: datetime,
    at: datetime,
) -> RevocationEvidence:
    age_s = int((at - this_update).total_seconds())
    past_due = at > next_update
    return RevocationEvidence(
        source, issuer_name, number, this_update, next_update, age_s, past_due
    )


class _Questions:
    """Whether certificates of one chain are revoked that nothing is remembered of."""

    def __init__(
        self,
        leaf_der: bytes,
        lists: Lists,
        at: datetime,
        policy: RevocationPolicy,
        other_signers: OtherSigners,
        memory: EvidenceMemory,
    ) -> None:
        self._leaf_der = leaf_der
        self._lists, self._at, self._policy = lists, at, policy
        self._other_signers, self._memory = other_signers, memory

    def answer(
        self, child: x509.Certificate, issuer: x509.Certificate, ocsp: OcspSource | None
    ) -> RevocationEvidence:
        lists, why = None, Doubt.STALE.value
        generation = self._lists.numbers.generation
        try:
            lists = self._ask_lists(child, issuer)
        except NoEvidence as no_evidence:
            why = no_evidence.doubt.value
        if lists is not None and self._at <= lists.next_update:
            self._memory.keep(issuer, self._lists, generation, self._at, lists)
            return _from_lists(lists, issuer, self._at)
        try:
            answered = None if ocsp is None else self._ask_responder(child, issuer, ocsp)
        except OcspRefused as refused:
            answered = None
            why = refused.doubt.value if why == Doubt.NO_CRL.value else why
        issuer_name = signer_of(issuer).shown_name
        if answered is not None:
            dates = answered.this_update, answered.next_update
            return _evidence("ocsp", issuer_name, None, *dates, self._at)
        if lists is not None and self._at - lists.next_update <= self._policy.past_due:
            return _from_lists(lists, issuer, self._at)
        until = lists.next_update if lists else None
        raise RevocationUnknown(fingerprint_hex(self._leaf_der), why, until, issuer_name)

    def _ask_lists(self, child: x509.Certificate, issuer: x509.Certificate) -> ListEvidence:
        lists = find_evidence(
            child, issuer, self._lists, at=self._at, other_signers=self._other_signers
        )
        if lists.revoked is not None:
            raise self._revoked(lists.revoked, "crl", issuer)
        return lists

    def _ask_responder(
        self, child: x509.Certificate, issuer: x509.Certificate, ocsp: OcspSource
    ) -> OcspEvidence | None:
        doubt: OcspRefused | None = None
        for answer in ocsp.answers(child, issuer):
            try:
                evidence = judge_answer(answer, child, issuer, at=self._at, policy=self._policy)
                self._check_responder(evidence.responder, issuer)
            except OcspRefused as refused:
                doubt = refused
                continue
            if evidence.revoked is not None:
                raise self._revoked(evidence.revoked, "ocsp", issuer)
            return evidence
        if doubt is not None:
            raise doubt
        return None

    def _check_responder(
        self, responder: x509.Certificate | None, issuer: x509.Certificate
    ) -> None:
        """A responder that may be revoked has to be on no list (RFC 6960, 4.2.2.2.1)."""
        if responder is None or needs_no_check(responder):
            return
        try:
            lists = find_evidence(responder, issuer, self._lists, at=self._at)
        except NoEvidence:
            raise OcspRefused(OcspDoubt.RESPONDER_UNCHECKED) from None
        if lists.revoked is not None:
            raise OcspRefused(OcspDoubt.UNAUTHORISED)
        if self._at > lists.next_update:
            raise OcspRefused(OcspDoubt.RESPONDER_UNCHECKED)

    def _revoked(
        self, since_and_why: tuple[datetime, str], source: str, issuer: x509.Certificate
    ) -> CertificateRevoked:
        name = signer_of(issuer).shown_name
        return CertificateRevoked(fingerprint_hex(self._leaf_der), *since_and_why, source, name)

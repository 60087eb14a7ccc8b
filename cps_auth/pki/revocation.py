"""Is any certificate of the chain revoked, and what says that it is not?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.model import RevocationEvidence
from cps_auth.pki.crl import CrlStore, Lists
from cps_auth.pki.crl_evidence import (
    ListEvidence,
    NoEvidence,
    OtherSigners,
    find_evidence,
    nobody_else,
)
from cps_auth.pki.crl_form import Doubt
from cps_auth.pki.ocsp import (
    OcspDoubt,
    OcspEvidence,
    OcspRefused,
    OcspSource,
    judge_answer,
    needs_no_check,
)
from cps_auth.pki.revocation_policy import REQUIRE, RevocationPolicy
from cps_auth.pki.signatures import signer_of


def check_revocation(
    chain: Sequence[x509.Certificate],
    crls: CrlStore,
    *,
    at: datetime,
    policy: RevocationPolicy = REQUIRE,
    ocsp: OcspSource | None = None,
    other_signers: OtherSigners = nobody_else,
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

    Returns:
        One piece of evidence per certificate below the anchor, leaf first.

    Raises:
        CertificateRevoked: the leaf or an intermediate is on the newest list of its issuer,
            even when that list is stale by now, or a responder says so.
        RevocationUnknown: no usable evidence; `why` is one of `cps_auth.pki.crl_form.Doubt`
            or `cps_auth.pki.ocsp.OcspDoubt`.

    Source: RFC 5280 section 6.3, without indirect lists and lists of some reasons; RFC 6960.
    """
    if at.tzinfo is None:
        raise ValueError("at: a naive datetime")
    lists = crls.current()
    return tuple(
        _Question(chain[0], child, issuer, lists, at, policy, other_signers).answer(ocsp)
        for child, issuer in pairwise(chain)
    )


class _Question:
    """Whether one certificate of a chain is revoked."""

    def __init__(
        self,
        leaf: x509.Certificate,
        child: x509.Certificate,
        issuer: x509.Certificate,
        lists: Lists,
        at: datetime,
        policy: RevocationPolicy,
        other_signers: OtherSigners,
    ) -> None:
        self._leaf, self._child, self._issuer = leaf, child, issuer
        self._lists, self._at, self._policy = lists, at, policy
        self._other_signers = other_signers

    def answer(self, ocsp: OcspSource | None) -> RevocationEvidence:
        lists, why = None, Doubt.STALE.value
        try:
            lists = self._ask_lists()
        except NoEvidence as no_evidence:
            why = no_evidence.doubt.value
        if lists is not None and self._at <= lists.next_update:
            return self._from_lists(lists)
        try:
            answered = None if ocsp is None else self._ask_responder(ocsp)
        except OcspRefused as refused:
            answered = None
            why = refused.doubt.value if why == Doubt.NO_CRL.value else why
        if answered is not None:
            return self._evidence("ocsp", None, answered.this_update, answered.next_update)
        if lists is not None and self._at - lists.next_update <= self._policy.past_due:
            return self._from_lists(lists)
        raise RevocationUnknown(
            self._sha256_hex(),
            why,
            lists.next_update if lists else None,
            signer_of(self._issuer).shown_name,
        )

    def _ask_lists(self) -> ListEvidence:
        lists = find_evidence(
            self._child,
            self._issuer,
            self._lists,
            at=self._at,
            other_signers=self._other_signers,
        )
        if lists.revoked is not None:
            raise self._revoked(lists.revoked, "crl")
        return lists

    def _ask_responder(self, ocsp: OcspSource) -> OcspEvidence | None:
        doubt: OcspRefused | None = None
        for answer in ocsp.answers(self._child, self._issuer):
            try:
                evidence = judge_answer(
                    answer, self._child, self._issuer, at=self._at, policy=self._policy
                )
                self._check_responder(evidence.responder)
            except OcspRefused as refused:
                doubt = refused
                continue
            if evidence.revoked is not None:
                raise self._revoked(evidence.revoked, "ocsp")
            return evidence
        if doubt is not None:
            raise doubt
        return None

    def _check_responder(self, responder: x509.Certificate | None) -> None:
        """A responder that may be revoked has to be on no list (RFC 6960, 4.2.2.2.1)."""
        if responder is None or needs_no_check(responder):
            return
        try:
            lists = find_evidence(responder, self._issuer, self._lists, at=self._at)
        except NoEvidence:
            raise OcspRefused(OcspDoubt.RESPONDER_UNCHECKED) from None
        if lists.revoked is not None:
            raise OcspRefused(OcspDoubt.UNAUTHORISED)
        if self._at > lists.next_update:
            raise OcspRefused(OcspDoubt.RESPONDER_UNCHECKED)

    def _from_lists(self, lists: ListEvidence) -> RevocationEvidence:
        return self._evidence("crl", lists.number, lists.this_update, lists.next_update)

    def _evidence(
        self, source: str, number: int | None, this_update: datetime, next_update: datetime
    ) -> RevocationEvidence:
        return RevocationEvidence(
            source=source,
            issuer=signer_of(self._issuer).shown_name,
            crl_number=number,
            this_update=this_update,
            next_update=next_update,
            age_s=int((self._at - this_update).total_seconds()),
            past_due=self._at > next_update,
        )

    def _revoked(self, since_and_why: tuple[datetime, str], source: str) -> CertificateRevoked:
        issuer = signer_of(self._issuer).shown_name
        return CertificateRevoked(self._sha256_hex(), *since_and_why, source, issuer)

    def _sha256_hex(self) -> str:
        return self._leaf.fingerprint(hashes.SHA256()).hex()

"""Keeps what the lists of an issuer are worth for as long as nothing can say otherwise."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from cryptography import x509

from cps_auth.pki.chain.signatures import signer_of
from cps_auth.pki.revocation.crl import Crl, Lists
from cps_auth.pki.revocation.crl_entries import Entries
from cps_auth.pki.revocation.crl_lookup import ListEvidence

_ISSUERS_MAX = 64


class _Kept(NamedTuple):
    issuer: x509.Certificate
    lists: Lists
    generation: int
    since: datetime
    until: datetime
    entries: tuple[Entries, ...]
    evidence: ListEvidence


class EvidenceMemory:
    """Evidence by issuer, under one judge. Safe to share between threads.

    Only the serial number is looked up then, as only that differs: where no list is about some
    certificates only, what is evidence for one that is on none of them is so for all others
    that are not. It is good for the same lists and the same numbers, from the moment at which it
    was found until the next one at which a list begins or ends to count.
    """

    def __init__(self) -> None:
        # by identity: hashing a certificate costs more than looking for the evidence
        self._kept: dict[int, _Kept] = {}

    def find(
        self, child: x509.Certificate, issuer: x509.Certificate, lists: Lists, at: datetime
    ) -> ListEvidence | None:
        """Return evidence that a certificate is not revoked, None when it has to be looked for."""
        kept = self._kept.get(id(issuer))
        if (
            kept is None
            or kept.issuer is not issuer
            or kept.lists is not lists
            or kept.generation != lists.numbers.generation
            or not kept.since <= at < kept.until
        ):
            return None
        serial = child.serial_number
        for entries in kept.entries:
            if entries.find(serial) is not None:
                return None
        return kept.evidence

    def keep(
        self,
        issuer: x509.Certificate,
        lists: Lists,
        generation: int,
        at: datetime,
        evidence: ListEvidence,
    ) -> None:
        """Keep evidence, if it is that of every certificate on no list.

        Args:
            issuer, lists, at: for which it was found.
            generation: of the numbers, before it was looked for.
            evidence: what was found.
        """
        named = lists.by_issuer.get(signer_of(issuer).name_key, ())
        if evidence.revoked or not evidence.signed_by_issuer or any(map(_is_about_some, named)):
            return
        if len(self._kept) >= _ISSUERS_MAX:
            self._kept.clear()
        self._kept[id(issuer)] = _Kept(
            issuer,
            lists,
            generation,
            at,
            lists.unchanged_until(at),
            tuple(crl.entries for crl in evidence.asked),
            evidence,
        )


def _is_about_some(crl: Crl) -> bool:
    return crl.form.only is not None or crl.form.points is not None

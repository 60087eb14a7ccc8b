"""Keeps what the lists said about a certificate for as long as nothing can say otherwise."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from cps_auth.pki.crl import Lists
from cps_auth.pki.crl_evidence import ListEvidence

_REMEMBERED = 256


@dataclass(frozen=True)
class _Kept:
    child: x509.Certificate
    lists: Lists
    generation: int
    since: datetime
    until: datetime
    evidence: ListEvidence


class EvidenceMemory:
    """Evidence by certificate, under one judge. Safe to share between threads.

    It is good for the same lists and the same numbers only, from the moment at which it was
    found until the next one at which a list begins or ends to count.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        # by identity: hashing a certificate costs more than looking for the evidence
        self._kept: OrderedDict[int, _Kept] = OrderedDict()

    def get(self, child: x509.Certificate, lists: Lists, at: datetime) -> ListEvidence | None:
        """Return what was found earlier, None when it has to be looked for."""
        kept = self._kept.get(id(child))
        if (
            kept is None
            or kept.child is not child
            or kept.lists is not lists
            or kept.generation != lists.numbers.generation
            or not kept.since <= at < kept.until
        ):
            return None
        return kept.evidence

    def keep(
        self, child: x509.Certificate, lists: Lists, at: datetime, evidence: ListEvidence
    ) -> None:
        """Keep evidence that was found now and that revokes nobody."""
        until = lists.unchanged_until(at)
        kept = _Kept(child, lists, lists.numbers.generation, at, until, evidence)
        with self._mutex:
            self._kept[id(child)] = kept
            if len(self._kept) > _REMEMBERED:
                self._kept.popitem(last=False)

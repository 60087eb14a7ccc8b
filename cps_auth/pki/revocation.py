"""Is any certificate of the chain revoked, and what says that it is not?"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from cps_auth.errors import CertificateRevoked, RevocationUnknown
from cps_auth.model import RevocationEvidence
from cps_auth.pki.crl import Crl, CrlStore, Doubt


def check_revocation(
    chain: Sequence[x509.Certificate], crls: CrlStore, *, at: datetime
) -> tuple[RevocationEvidence, ...]:
    """Return the evidence that no certificate of a verified chain is revoked.

    Args:
        chain: leaf first, anchor last, as `verify_chain` returned it.
        crls: where lists are looked for.
        at: the moment of judgement, aware UTC.

    Returns:
        One piece of evidence per certificate below the anchor, leaf first.

    Raises:
        CertificateRevoked: the leaf or an intermediate is on the newest list of its issuer,
            even when that list is stale by now.
        RevocationUnknown: no usable list; `why` is one of `cps_auth.pki.crl.Doubt`.

    Source: RFC 5280 section 6.3, without delta lists, indirect lists and distribution points.
    """
    if at.tzinfo is None:
        raise ValueError("at: a naive datetime")
    sha256_hex = chain[0].fingerprint(hashes.SHA256()).hex()
    return tuple(
        _evidence(child, issuer, crls, at, sha256_hex) for child, issuer in pairwise(chain)
    )


def _evidence(
    child: x509.Certificate,
    issuer: x509.Certificate,
    crls: CrlStore,
    at: datetime,
    sha256_hex: str,
) -> RevocationEvidence:
    crl = _newest(issuer, crls, at, sha256_hex)
    if crl.lists(child.serial_number):
        raise CertificateRevoked(sha256_hex, *crl.entry(child.serial_number))
    if crl.next_update is None or at > crl.next_update:
        raise RevocationUnknown(sha256_hex, Doubt.STALE.value, crl.next_update)
    return RevocationEvidence(
        "crl", _common_name(issuer), crl.number, crl.this_update, crl.next_update
    )


def _newest(issuer: x509.Certificate, crls: CrlStore, at: datetime, sha256_hex: str) -> Crl:
    """Return the list with the highest number of those that the issuer stands behind."""
    named = crls.named(issuer.subject)
    doubts = {crl: crl.doubt_under(issuer) or _too_early(crl, at) for crl in named}
    usable = [crl for crl, doubt in doubts.items() if doubt is None]
    if usable:
        return max(usable, key=_age_order)
    found = {doubt for doubt in doubts.values() if doubt is not None}
    found.add(Doubt.MALFORMED if crls.has_malformed() else Doubt.NO_CRL)
    closest = max(found, key=list(Doubt).index)
    raise RevocationUnknown(sha256_hex, closest.value)


def _too_early(crl: Crl, at: datetime) -> Doubt | None:
    return Doubt.NOT_YET_VALID if at < crl.this_update else None


def _age_order(crl: Crl) -> tuple[int, datetime]:
    return (-1 if crl.number is None else crl.number, crl.this_update)


def _common_name(issuer: x509.Certificate) -> str:
    names = issuer.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[-1].value) if names else issuer.subject.rfc4514_string()

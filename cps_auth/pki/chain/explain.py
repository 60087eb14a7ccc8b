"""Explanation of a broken chain, in stable codes."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.parse import CpsCertificate
from cps_auth.pki.certificate.profiles import CertificateProfile
from cps_auth.pki.certificate.signature import (
    SignedParts,
    has_strong_hash,
    is_signed_with,
    signed_parts,
)
from cps_auth.pki.chain.issuer import (
    ChainFault,
    Issuer,
    identifies,
    is_self_issued,
    is_sound_authority,
    is_strong_key,
    issuer_key,
    leaf_fault,
)

if TYPE_CHECKING:  # which asks here why there is no chain
    from cps_auth.pki.chain.verify import Authorities


def find_fault(
    certificate: CpsCertificate, authorities: Authorities, *, at: datetime
) -> ChainFault:
    """Return the first thing that is wrong on the way from a refused leaf to an anchor.

    Args:
        certificate: one for which there is no chain.
        authorities: of the trust and profile under which there is none.
        at: the moment of judgement, aware UTC.

    Returns:
        INVALID_CHAIN when the verifier knows something that this function does not.
    """
    child: ParsedCertificate = certificate
    parts, between = certificate.signed, 0
    for _ in authorities.issuers if authorities.anchors else ():
        issuer = _find_issuer(child, parts, authorities)
        if isinstance(issuer, ChainFault):
            return issuer
        fault = leaf_fault(child, authorities.profile.keys) if child is certificate else None
        fault = fault or _authority_fault(issuer, between, authorities.profile, at)
        if fault is not None:
            return fault
        if issuer in authorities.anchors:
            return ChainFault.INVALID_CHAIN
        between += 0 if is_self_issued(issuer.x509) else 1
        child, parts = issuer, signed_parts(issuer.x509.public_bytes(Encoding.DER))
    return ChainFault.INVALID_CHAIN if authorities.anchors else ChainFault.UNKNOWN_ISSUER


def _find_issuer(
    child: ParsedCertificate, parts: SignedParts | None, authorities: Authorities
) -> Issuer | ChainFault:
    named = authorities.named(issuer_key(child.x509, parts))
    if not named:
        return ChainFault.UNKNOWN_ISSUER
    if not has_strong_hash(child.x509):
        return ChainFault.WEAK_HASH
    signers = [issuer for issuer in named if is_signed_with(child.x509, parts, issuer.key)]
    if not signers:
        claimed = any(identifies(child, issuer) for issuer in named)
        return ChainFault.BAD_SIGNATURE if claimed else ChainFault.UNKNOWN_ISSUER
    identified = [issuer for issuer in signers if identifies(child, issuer)]
    return identified[0] if identified else ChainFault.KEY_IDENTIFIER_MISMATCH


def _authority_fault(
    issuer: Issuer, between: int, profile: CertificateProfile, at: datetime
) -> ChainFault | None:
    if at > issuer.not_after:
        return ChainFault.CA_EXPIRED
    if at < issuer.not_before:
        return ChainFault.CA_NOT_YET_VALID
    if not is_strong_key(issuer.x509, profile.keys):
        return ChainFault.WEAK_KEY
    if not is_sound_authority(issuer, profile.keys, at=at):
        return ChainFault.CA_EXTENSIONS
    basic = issuer.extensions.known.get(x509.BasicConstraints)
    longest = profile.max_intermediates
    if basic is not None and basic.path_length is not None:
        longest = min(longest, basic.path_length)
    return ChainFault.PATH_TOO_LONG if between > longest else None

"""Says why a chain does not hold, in stable codes."""

from __future__ import annotations

import enum
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.parse import CpsCertificate
from cps_auth.pki.certificate.profiles import CertificateProfile, KeyRules
from cps_auth.pki.certificate.signature import (
    SignedParts,
    has_strong_hash,
    is_signed_with,
    signed_parts,
)
from cps_auth.pki.chain.authorities import Authorities
from cps_auth.pki.chain.issuer import (
    Issuer,
    has_unknown_critical,
    identifies,
    is_self_issued,
    is_sound_authority,
    is_strong_key,
    issuer_key,
)


class ChainFault(enum.StrEnum):
    """Why there is no chain: the reason of UntrustedIssuer."""

    UNKNOWN_ISSUER = "unknown-issuer"
    BAD_SIGNATURE = "bad-signature"
    KEY_IDENTIFIER_MISMATCH = "key-identifier-mismatch"
    CA_EXPIRED = "ca-expired"
    CA_NOT_YET_VALID = "ca-not-yet-valid"
    WEAK_KEY = "weak-key"
    WEAK_HASH = "weak-hash"
    LEAF_IS_CA = "leaf-is-ca"
    LEAF_EXTENSIONS = "leaf-extensions"
    CA_EXTENSIONS = "ca-extensions"
    PATH_TOO_LONG = "path-too-long"
    INVALID_CHAIN = "invalid-chain"


def leaf_fault(leaf: ParsedCertificate, keys: KeyRules) -> ChainFault | None:
    """Return what makes a certificate nobody's card, whoever issued it; None if nothing does.

    Source: RFC 5280 sections 4.2, 4.2.1.3 and 4.2.1.9.
    """
    basic = leaf.extensions.get(x509.BasicConstraints)
    if basic is not None and basic.ca:
        return ChainFault.LEAF_IS_CA
    if not is_strong_key(leaf.x509, keys):
        return ChainFault.WEAK_KEY
    usage = leaf.extensions.get(x509.KeyUsage)
    if usage is None or usage.key_cert_sign or usage.crl_sign or has_unknown_critical(leaf):
        return ChainFault.LEAF_EXTENSIONS
    return None


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
    basic = issuer.extensions.get(x509.BasicConstraints)
    longest = profile.max_intermediates
    if basic is not None and basic.path_length is not None:
        longest = min(longest, basic.path_length)
    return ChainFault.PATH_TOO_LONG if between > longest else None

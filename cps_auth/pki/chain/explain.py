"""Says why a chain does not hold, in stable codes."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.pki.certificate.names import name_key
from cps_auth.pki.certificate.parse import CpsCertificate
from cps_auth.pki.certificate.parts import extension_of
from cps_auth.pki.certificate.profile import CertificateProfile, KeyRules
from cps_auth.pki.chain.authority_paths import has_unknown_critical, is_sound_authority
from cps_auth.pki.chain.issuer_checks import identifies, is_self_issued, is_strong_key
from cps_auth.pki.chain.signatures import (
    has_strong_hash,
    is_signed_with,
    issuer_key,
    signer_of,
)
from cps_auth.pki.chain.trust_store import TrustStore


class Fault(enum.Enum):
    """Why there is no chain; the value is the reason of UntrustedIssuer."""

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


def leaf_fault(leaf: x509.Certificate, keys: KeyRules) -> Fault | None:
    """Return what makes a certificate nobody's card, whoever issued it; None if nothing does."""
    basic = extension_of(leaf, x509.BasicConstraints)
    if basic is not None and basic.ca:
        return Fault.LEAF_IS_CA
    if not is_strong_key(leaf, keys):
        return Fault.WEAK_KEY
    usage = extension_of(leaf, x509.KeyUsage)
    if usage is None or usage.key_cert_sign or usage.crl_sign or has_unknown_critical(leaf):
        return Fault.LEAF_EXTENSIONS
    return None


def find_fault(
    certificate: CpsCertificate,
    trust: TrustStore,
    profile: CertificateProfile,
    *,
    at: datetime,
) -> Fault:
    """Return the first thing that is wrong on the way from a refused leaf to an anchor.

    Args:
        certificate: one for which there is no chain.
        trust, profile: under which there is none.
        at: the moment of judgement, aware UTC.

    Returns:
        INVALID_CHAIN when the verifier knows something that this function does not.
    """
    known = tuple(dict.fromkeys((*trust.anchors, *trust.intermediates)))
    child, child_der, between = certificate.x509, certificate.der, 0
    for _ in known if trust.anchors else ():
        issuer = _find_issuer(child, child_der, known)
        if isinstance(issuer, Fault):
            return issuer
        fault = leaf_fault(child, profile.keys) if child is certificate.x509 else None
        fault = fault or _authority_fault(issuer, between, profile, at)
        if fault is not None:
            return fault
        if issuer in trust.anchors:
            return Fault.INVALID_CHAIN
        between += 0 if is_self_issued(issuer) else 1
        child, child_der = issuer, issuer.public_bytes(Encoding.DER)
    return Fault.INVALID_CHAIN if trust.anchors else Fault.UNKNOWN_ISSUER


def _find_issuer(
    child: x509.Certificate, child_der: bytes, known: Sequence[x509.Certificate]
) -> x509.Certificate | Fault:
    wanted = issuer_key(child, child_der)
    named = [issuer for issuer in known if name_key(issuer.subject) == wanted]
    if not named:
        return Fault.UNKNOWN_ISSUER
    if not has_strong_hash(child):
        return Fault.WEAK_HASH
    signers = [ca for ca in named if is_signed_with(child, child_der, signer_of(ca).key)]
    if not signers:
        claimed = any(identifies(child, issuer) for issuer in named)
        return Fault.BAD_SIGNATURE if claimed else Fault.UNKNOWN_ISSUER
    identified = [issuer for issuer in signers if identifies(child, issuer)]
    return identified[0] if identified else Fault.KEY_IDENTIFIER_MISMATCH


def _authority_fault(
    issuer: x509.Certificate, between: int, profile: CertificateProfile, at: datetime
) -> Fault | None:
    if at > issuer.not_valid_after_utc:
        return Fault.CA_EXPIRED
    if at < issuer.not_valid_before_utc:
        return Fault.CA_NOT_YET_VALID
    if not is_strong_key(issuer, profile.keys):
        return Fault.WEAK_KEY
    if not is_sound_authority(issuer, profile.keys, at=at):
        return Fault.CA_EXTENSIONS
    basic = extension_of(issuer, x509.BasicConstraints)
    longest = profile.max_intermediates
    if basic is not None and basic.path_length is not None:
        longest = min(longest, basic.path_length)
    return Fault.PATH_TOO_LONG if between > longest else None

"""Says why a chain does not hold, in stable codes. It never says that one does."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from datetime import datetime

from cryptography import x509

from cps_auth.pki.links import (
    allows_client_auth,
    extension_of,
    has_strong_hash,
    identifies,
    is_signed_by,
    is_strong_key,
)

MAX_INTERMEDIATES = 1
"""The IGC-Santé has one level between root and card: root, PERSONNES, card."""


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


def find_fault(
    leaf: x509.Certificate,
    anchors: Sequence[x509.Certificate],
    intermediates: Sequence[x509.Certificate],
    *,
    at: datetime,
) -> Fault:
    """Return the first thing that is wrong on the way from a refused leaf to an anchor.

    Args:
        leaf: a certificate for which the verifier found no chain.
        anchors, intermediates: those of the trust store.
        at: the moment of judgement, aware UTC.

    Returns:
        INVALID_CHAIN when the verifier knows something that this function does not.
    """
    if not anchors:
        return Fault.UNKNOWN_ISSUER
    known = (*anchors, *intermediates)
    child = leaf
    for intermediates_between in range(len(known)):
        issuer = _find_issuer(child, known)
        if isinstance(issuer, Fault):
            return issuer
        fault = _leaf_fault(leaf) if child is leaf else None
        fault = fault or _ca_fault(issuer, intermediates_between, at)
        if fault is not None:
            return fault
        if issuer in anchors:
            break
        child = issuer
    return Fault.INVALID_CHAIN


def _find_issuer(
    child: x509.Certificate, known: Sequence[x509.Certificate]
) -> x509.Certificate | Fault:
    named = [issuer for issuer in known if issuer.subject == child.issuer]
    if not named:
        return Fault.UNKNOWN_ISSUER
    if not has_strong_hash(child):
        return Fault.WEAK_HASH
    signers = [issuer for issuer in named if is_signed_by(child, issuer)]
    if not signers:
        claimed = any(identifies(child, issuer) for issuer in named)
        return Fault.BAD_SIGNATURE if claimed else Fault.UNKNOWN_ISSUER
    identified = [issuer for issuer in signers if identifies(child, issuer)]
    return identified[0] if identified else Fault.KEY_IDENTIFIER_MISMATCH


def _leaf_fault(leaf: x509.Certificate) -> Fault | None:
    basic = extension_of(leaf, x509.BasicConstraints)
    if basic is not None and basic.ca:
        return Fault.LEAF_IS_CA
    if not is_strong_key(leaf):
        return Fault.WEAK_KEY
    usage = extension_of(leaf, x509.KeyUsage)
    if usage is None or usage.key_cert_sign or usage.crl_sign:
        return Fault.LEAF_EXTENSIONS
    return None if _has_sound_criticality(leaf, x509.KeyUsage) else Fault.LEAF_EXTENSIONS


def _ca_fault(issuer: x509.Certificate, intermediates_between: int, at: datetime) -> Fault | None:
    if at > issuer.not_valid_after_utc:
        return Fault.CA_EXPIRED
    if at < issuer.not_valid_before_utc:
        return Fault.CA_NOT_YET_VALID
    if not is_strong_key(issuer):
        return Fault.WEAK_KEY
    basic = extension_of(issuer, x509.BasicConstraints)
    if basic is None or not basic.ca or not _may_certify(issuer):
        return Fault.CA_EXTENSIONS
    longest = MAX_INTERMEDIATES if basic.path_length is None else basic.path_length
    return Fault.PATH_TOO_LONG if intermediates_between > longest else None


def _may_certify(issuer: x509.Certificate) -> bool:
    usage = extension_of(issuer, x509.KeyUsage)
    return (
        usage is not None
        and usage.key_cert_sign
        and allows_client_auth(extension_of(issuer, x509.ExtendedKeyUsage))
        and extension_of(issuer, x509.NameConstraints) is None
        and _has_sound_criticality(issuer, x509.KeyUsage, x509.BasicConstraints)
    )


def _has_sound_criticality(
    certificate: x509.Certificate, *critical: type[x509.ExtensionType]
) -> bool:
    """Return whether these are critical, and nothing is critical that nobody understands."""
    return all(
        not isinstance(extension.value, x509.UnrecognizedExtension)
        if extension.critical
        else not isinstance(extension.value, critical)
        for extension in certificate.extensions
    )

"""Builds the chain from a card's certificate to an anchor. Nothing here knows what it is for.

Whether the chain holds is decided by `cryptography`'s verifier, under a policy that states
every rule (it states none by itself), and by the checks that the verifier leaves out: the
size of the leaf's key and the key identifiers along the chain. When it does not hold,
`cps_auth.pki.chain_fault` finds out why.
"""

from __future__ import annotations

from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

from cps_auth.errors import CertificateExpired, CertificateNotYetValid, UntrustedIssuer
from cps_auth.pki.anchors import TrustStore
from cps_auth.pki.certificate import CpsCertificate
from cps_auth.pki.chain_fault import MAX_INTERMEDIATES, find_fault
from cps_auth.pki.links import allows_client_auth, identifies, is_strong_key


def verify_chain(
    certificate: CpsCertificate, trust: TrustStore, *, at: datetime
) -> tuple[x509.Certificate, ...]:
    """Return the chain from the certificate to an anchor of the trust store.

    Args:
        certificate: of the card, parsed.
        trust: anchors and the only intermediates that count.
        at: the moment of judgement, aware UTC.

    Returns:
        Leaf, intermediate, anchor.

    Raises:
        CertificateExpired, CertificateNotYetValid: the leaf's own dates, looked at first.
        UntrustedIssuer: no valid chain; reason is one of `cps_auth.pki.chain_fault.Fault`.

    Source: RFC 5280 section 6.1; dates are inclusive, section 4.1.2.5.
    """
    _require_aware(at)
    leaf = certificate.x509
    if at > leaf.not_valid_after_utc:
        raise CertificateExpired(certificate.sha256_hex, leaf.not_valid_after_utc)
    if at < leaf.not_valid_before_utc:
        raise CertificateNotYetValid(certificate.sha256_hex, leaf.not_valid_before_utc)
    chain = _find_chain(leaf, trust, at)
    if chain is None:
        fault = find_fault(leaf, trust.anchors, trust.intermediates, at=at)
        raise UntrustedIssuer(certificate.sha256_hex, fault.value, trust.name)
    return chain


def _find_chain(
    leaf: x509.Certificate, trust: TrustStore, at: datetime
) -> tuple[x509.Certificate, ...] | None:
    if not trust.anchors:
        return None
    verifier = (
        PolicyBuilder()
        .store(Store(list(trust.anchors)))
        .time(at)
        .max_chain_depth(MAX_INTERMEDIATES)
        .extension_policies(ca_policy=_ca_policy(), ee_policy=_leaf_policy())
        .build_client_verifier()
    )
    try:
        chain = tuple(verifier.verify(leaf, list(trust.intermediates)).chain)
    except verification.VerificationError:
        return None
    if len(chain) < 2 or not all(identifies(child, issuer) for child, issuer in pairwise(chain)):
        return None
    return chain


def _ca_policy() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .require_present(x509.BasicConstraints, Criticality.CRITICAL, _check_ca)
        .require_present(x509.KeyUsage, Criticality.CRITICAL, _check_ca_usage)
        .may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _check_ca_extended_usage)
        # The verifier ignores those on directory names unless they are critical.
        .require_not_present(x509.NameConstraints)
    )


def _leaf_policy() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()  # no subjectAltName needed: only AUTH certificates have one
        .may_be_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_leaf)
        .require_present(x509.KeyUsage, Criticality.CRITICAL, _check_leaf_usage)
        .require_present(x509.AuthorityKeyIdentifier, Criticality.NON_CRITICAL, None)
    )


def _check_ca(
    _policy: verification.Policy, certificate: x509.Certificate, basic: x509.BasicConstraints
) -> None:
    if not basic.ca or not is_strong_key(certificate):
        raise ValueError


def _check_ca_usage(
    _policy: verification.Policy, _certificate: x509.Certificate, usage: x509.KeyUsage
) -> None:
    if not usage.key_cert_sign:
        raise ValueError


def _check_ca_extended_usage(
    _policy: verification.Policy,
    _certificate: x509.Certificate,
    usage: x509.ExtendedKeyUsage | None,
) -> None:
    if not allows_client_auth(usage):
        raise ValueError


def _check_leaf(
    _policy: verification.Policy,
    _certificate: x509.Certificate,
    basic: x509.BasicConstraints | None,
) -> None:
    if basic is not None and basic.ca:
        raise ValueError


def _check_leaf_usage(
    _policy: verification.Policy, certificate: x509.Certificate, usage: x509.KeyUsage
) -> None:
    if usage.key_cert_sign or usage.crl_sign or not is_strong_key(certificate):
        raise ValueError


def _require_aware(at: datetime) -> None:
    if at.tzinfo is None:
        raise ValueError("at: a naive datetime")

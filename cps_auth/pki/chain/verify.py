"""Builds the chain from a holder's certificate to an anchor. It does not ask what it is for.

The authorities' part is `cps_auth.pki.chain.authority_paths`, verified once. The holder's own link
is checked here for every certificate; a test holds it against the whole of `cryptography`'s
verifier. When there is no chain, `cps_auth.pki.chain.explain` finds out why.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509

from cps_auth.errors import CertificateExpired, CertificateNotYetValid, UntrustedIssuer
from cps_auth.pki.certificate.parse import CpsCertificate
from cps_auth.pki.certificate.profile import CertificateProfile
from cps_auth.pki.certificate.profiles import IGC_SANTE_LOGIN
from cps_auth.pki.chain.authority_paths import AuthorityPaths
from cps_auth.pki.chain.explain import find_fault, leaf_fault
from cps_auth.pki.chain.signatures import is_issued_by
from cps_auth.pki.chain.trust_store import TrustStore


def verify_chain(
    certificate: CpsCertificate,
    trust: TrustStore,
    *,
    at: datetime,
    profile: CertificateProfile = IGC_SANTE_LOGIN,
    paths: AuthorityPaths | None = None,
) -> tuple[x509.Certificate, ...]:
    """Return the chain from the certificate to an anchor of the trust store.

    Args:
        certificate: of the card, parsed.
        trust: anchors and the only intermediates that count.
        at: the moment of judgement, aware UTC.
        profile: rules for keys and length.
        paths: of this trust and profile, kept from earlier judgements.

    Returns:
        Leaf, intermediate, anchor.

    Raises:
        CertificateExpired, CertificateNotYetValid: the leaf's own dates, looked at first.
        UntrustedIssuer: no valid chain; reason is one of `cps_auth.pki.chain.explain.Fault`.

    Source: RFC 5280 section 6.1; dates are inclusive, section 4.1.2.5.
    """
    check_dates(certificate, at=at)
    leaf = certificate.x509
    paths = paths or AuthorityPaths(trust, profile)
    if leaf_fault(leaf, profile.keys) is None:
        for issuer in paths.identified_by(leaf):
            path = paths.path(issuer, at=at)
            if path and is_issued_by(leaf, certificate.der, certificate.frame, issuer):
                return (leaf, *path)
    fault = find_fault(certificate, trust, profile, at=at)
    raise UntrustedIssuer(certificate.sha256_hex, fault.value, trust.name)


def check_dates(certificate: CpsCertificate, *, at: datetime) -> None:
    """Return if a certificate's own dates include this moment.

    Raises:
        CertificateExpired, CertificateNotYetValid
    """
    if at.tzinfo is None:
        raise ValueError("at: a naive datetime")
    if at > certificate.not_after:
        raise CertificateExpired(certificate.sha256_hex, certificate.not_after)
    if at < certificate.not_before:
        raise CertificateNotYetValid(certificate.sha256_hex, certificate.not_before)

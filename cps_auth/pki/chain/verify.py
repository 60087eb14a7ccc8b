"""Verifies the chain from a holder's certificate to an anchor. It does not ask what it is for.

The whole path is `cryptography`'s verifier's (`cps_auth.pki.chain.authorities`), the holder's
own link included. What it leaves out is here and in `cps_auth.pki.chain.issuer`. When there is no
chain, `cps_auth.pki.chain.explain` finds out why.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from cryptography import x509

from cps_auth.errors import CertificateExpired, CertificateNotYetValid, UntrustedIssuer
from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.parse import CpsCertificate
from cps_auth.pki.certificate.profiles import IGC_SANTE_LOGIN, CertificateProfile
from cps_auth.pki.chain.authorities import Authorities
from cps_auth.pki.chain.explain import find_fault, leaf_fault
from cps_auth.pki.chain.issuer import Issuer, has_generalized_dates, is_issued_by
from cps_auth.pki.chain.trust_store import TrustStore


class Chain(NamedTuple):
    """A holder's certificate and the authorities above it, the anchor last."""

    leaf: CpsCertificate
    issuers: tuple[Issuer, ...]

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the chain, leaf first, anchor last."""
        return (self.leaf.x509, *(issuer.x509 for issuer in self.issuers))

    def links(self) -> Iterator[tuple[ParsedCertificate, Issuer]]:
        """Yield each certificate below the anchor with its issuer, the leaf's first."""
        yield self.leaf, self.issuers[0]
        yield from pairwise(self.issuers)


def verify_chain(
    certificate: CpsCertificate,
    trust: TrustStore,
    *,
    at: datetime,
    profile: CertificateProfile = IGC_SANTE_LOGIN,
    authorities: Authorities | None = None,
) -> Chain:
    """Return the chain from the certificate to an anchor of the trust store.

    Args:
        certificate: of the card, parsed.
        trust: anchors and the only intermediates that count.
        at: the moment of judgement, aware UTC.
        profile: rules for keys and length.
        authorities: of this trust and profile, kept from earlier judgements.

    Raises:
        CertificateExpired, CertificateNotYetValid: the leaf's own dates, looked at first.
        UntrustedIssuer: no valid chain; reason is one of `cps_auth.pki.chain.explain.ChainFault`.

    Source: RFC 5280 section 6.1; dates are inclusive, section 4.1.2.5.
    """
    check_dates(certificate, at=at)
    authorities = authorities or Authorities(trust, profile)
    if leaf_fault(certificate, profile.keys) is None:
        for issuer in authorities.identified_by(certificate):  # RFC 5280 section 4.2.1.1
            path = authorities.path(issuer, at=at)
            if path and _is_linked(certificate, issuer, authorities, at):
                return Chain(certificate, path)
    fault = find_fault(certificate, authorities, at=at)
    raise UntrustedIssuer(certificate.sha256_hex, fault, trust.name)


def _is_linked(
    leaf: CpsCertificate, issuer: Issuer, authorities: Authorities, at: datetime
) -> bool:
    """Return whether an issuer, whose own path holds, issued a certificate without faults."""
    if leaf.signed is None:
        return False
    if not leaf.is_repaired and authorities.verify_link(leaf.x509, issuer, at=at):
        return True
    return _is_beyond_library(leaf, issuer) and is_issued_by(leaf.x509, leaf.signed, issuer)


def _is_beyond_library(leaf: CpsCertificate, issuer: Issuer) -> bool:
    """Return whether the library's verifier refuses a certificate for what RFC 5280 lets pass.

    That is a copy that was repaired to be read; critical policies, which are processed here; a
    name written in another way (section 7.1); and a date before 2050 as GeneralizedTime, which
    authorities must not write (section 4.1.2.5) and some do.
    """
    return (
        leaf.is_repaired
        or x509.CertificatePolicies in leaf.extensions.critical
        or x509.CertificatePolicies in issuer.extensions.critical
        or (leaf.signed is not None and leaf.signed.issuer_der != issuer.name_der)
        or has_generalized_dates(leaf.der)
    )


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

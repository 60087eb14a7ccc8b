"""Verifies the chain from a holder's certificate to an anchor. It does not ask what it is for.

Whether a path holds is decided by `cryptography`'s verifier, the holder's own link included,
under policies that state every rule (it states none by itself), and by what the verifier leaves
out: key identifiers (RFC 5280 section 4.2.1.1), room under pathLenConstraint (section 4.2.1.9),
key sizes and critical extensions (`cps_auth.pki.chain.issuer`). The authorities' part is verified
once. When there is no chain, `cps_auth.pki.chain.explain` finds out why.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store

from cps_auth.errors import CertificateExpired, CertificateNotYetValid, UntrustedIssuer
from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.parse import CpsCertificate
from cps_auth.pki.certificate.profiles import IGC_SANTE_LOGIN, CertificateProfile
from cps_auth.pki.certificate.signature import signed_parts
from cps_auth.pki.chain.explain import find_fault
from cps_auth.pki.chain.issuer import (
    Issuer,
    authority_policy,
    crl_signer_policy,
    has_generalized_dates,
    has_room,
    identifies,
    is_issued_by,
    is_sound_authority,
    leaf_fault,
    leaf_policy,
)
from cps_auth.pki.chain.trust_store import TrustStore

Path = tuple[Issuer, ...]
"""An authority first, an anchor last; the same one when it is an anchor itself."""


class Chain(NamedTuple):
    """A holder's certificate and the authorities above it, the anchor last."""

    leaf: CpsCertificate
    issuers: tuple[Issuer, ...]

    @property
    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the chain, leaf first, anchor last."""
        return (self.leaf.x509, *(issuer.x509 for issuer in self.issuers))

    def links(self) -> list[tuple[ParsedCertificate, Issuer]]:
        """Return each certificate below the anchor with its issuer, the leaf's first."""
        return [(self.leaf, self.issuers[0]), *pairwise(self.issuers)]


class _Verified(NamedTuple):
    path: Path
    valid_from: datetime
    valid_until: datetime


class Authorities:
    """Authorities of one trust store under one profile. Safe to share between threads.

    Attributes:
        issuers: each once, anchors first.
    """

    def __init__(self, trust: TrustStore, profile: CertificateProfile) -> None:
        self.trust = trust
        self.profile = profile
        known = dict.fromkeys((*trust.anchors, *trust.intermediates))
        self._by_certificate = {authority: Issuer.of(authority) for authority in known}
        self.issuers = tuple(self._by_certificate.values())
        self.anchors = frozenset(self._by_certificate[anchor] for anchor in trust.anchors)
        self._by_name: dict[str, list[Issuer]] = {}
        self._by_key: dict[bytes, list[Issuer]] = {}
        for issuer in self.issuers:
            self._by_name.setdefault(issuer.name_key, []).append(issuer)
            if issuer.key_identifier:
                self._by_key.setdefault(issuer.key_identifier, []).append(issuer)
        self._authority_policy = authority_policy(profile.keys)
        self._leaf_policy = leaf_policy()
        # The library's verifier refuses critical policies, which are processed here.
        self._has_critical_policies = any(
            x509.CertificatePolicies in issuer.extensions.critical for issuer in self.issuers
        )
        self._paths: dict[tuple[Issuer, bool], _Verified] = {}  # at most two each

    def identified_by(self, child: ParsedCertificate) -> Sequence[Issuer]:
        """Return the authorities that a certificate's authority key identifier points at."""
        authority = child.extensions.known.get(x509.AuthorityKeyIdentifier)
        identifier = authority.key_identifier if authority else None
        return self._by_key.get(identifier, ()) if identifier else ()

    def named(self, name_key: str | None) -> Sequence[Issuer]:
        """Return the authorities of this name; nothing else about them is known."""
        return self._by_name.get(name_key, ()) if name_key else ()

    def path(self, issuer: Issuer, *, at: datetime, signs_crls_only: bool = False) -> Path | None:
        """Return the path from an authority of the store to an anchor, None if none holds.

        Args:
            issuer: one of `issuers`.
            at: the moment of judgement, aware UTC.
            signs_crls_only: the authority need not be one that may issue certificates.

        Source: RFC 5280 section 6.1.
        """
        found = self._paths.get((issuer, signs_crls_only))
        if found is None or not found.valid_from <= at <= found.valid_until:
            path = self._find(issuer, at, signs_crls_only=signs_crls_only)
            if path is None:
                return None
            found = _Verified(
                path, max(ca.not_before for ca in path), min(ca.not_after for ca in path)
            )
            self._paths[issuer, signs_crls_only] = found
        return found.path

    def crl_signers(self, issuer: Issuer, *, at: datetime) -> Iterator[Path]:
        """Yield paths of other certificates of an issuer's name, which may sign its CRLs.

        Source: RFC 5280 section 6.3.3 (f).
        """
        for other in self.named(issuer.name_key):
            if other is not issuer:
                path = self.path(other, at=at, signs_crls_only=True)
                if path is not None:
                    yield path

    def verify_link(self, child: x509.Certificate, issuer: Issuer, *, at: datetime) -> bool:
        """Return whether the library's verifier accepts a holder's certificate under an issuer.

        Args:
            child: of a holder, as it came.
            issuer: one whose own path holds.
            at: the moment of judgement, aware UTC.
        """
        return self._verify(child, [issuer.x509], (), 0, self._leaf_policy, at) is not None

    def _find(self, authority: Issuer, at: datetime, *, signs_crls_only: bool) -> Path | None:
        if authority in self.anchors:
            sound = is_sound_authority(authority, self.profile.keys, at=at)
            return (authority,) if sound or signs_crls_only else None
        if self._has_critical_policies and not signs_crls_only:
            path = self._path_by_links(authority, self.profile.max_intermediates, at)
        else:
            target = crl_signer_policy() if signs_crls_only else self._authority_policy
            depth = self.profile.max_intermediates - 1
            trust = self.trust
            path = self._verify(
                authority.x509, trust.anchors, trust.intermediates, depth, target, at
            )
        linked = path is not None and all(identifies(*link) for link in pairwise(path))
        return path if path and linked and has_room(path) else None

    def _verify(
        self,
        child: x509.Certificate,
        anchors: Sequence[x509.Certificate],
        intermediates: Sequence[x509.Certificate],
        depth: int,
        child_policy: ExtensionPolicy,
        at: datetime,
    ) -> Path | None:
        """Return what `cryptography`'s verifier finds above a certificate, itself included if
        it is one of `issuers`; None if it finds nothing."""
        if depth < 0 or not anchors:
            return None
        verifier = (
            PolicyBuilder()
            .store(Store(list(anchors)))
            .time(at)
            .max_chain_depth(depth)
            .extension_policies(ca_policy=self._authority_policy, ee_policy=child_policy)
            .build_client_verifier()
        )
        try:
            found = verifier.verify(child, list(intermediates)).chain
        except verification.VerificationError:
            return None
        known = self._by_certificate
        return tuple(known[certificate] for certificate in found if certificate in known)

    def _path_by_links(self, authority: Issuer, longest: int, at: datetime) -> Path | None:
        """Return a path of at most so many authorities below the anchor, link by link.

        For stores with critical certificate policies, which the verifier takes for unknown.
        """
        if not is_sound_authority(authority, self.profile.keys, at=at):
            return None
        if authority in self.anchors:
            return (authority,)
        if longest < 1:
            return None
        parts = signed_parts(authority.x509.public_bytes(Encoding.DER))
        for issuer in self.identified_by(authority):
            above = self._path_by_links(issuer, longest - 1, at)
            if above and is_issued_by(authority.x509, parts, issuer):
                return (authority, *above)
        return None


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
        UntrustedIssuer: no valid chain; reason is one of `cps_auth.pki.chain.issuer.ChainFault`.

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
    # RFC 5280 section 4.1.1.3: a signature of whole bytes, which the library does not ask for
    if not leaf.der.endswith(b"\0" + leaf.x509.signature):
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

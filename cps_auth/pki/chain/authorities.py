"""The authorities of a trust store, and the paths from them to its anchors, each verified once.

Whether a path holds is decided by `cryptography`'s verifier, under a policy that states every
rule (it states none by itself), and by what the verifier leaves out: key identifiers along
the path (RFC 5280 section 4.2.1.1), and that the path leaves room for the authority below it
(section 4.2.1.9). `cps_auth.pki.chain.verify` joins a holder's certificate to such a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import verification
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.profiles import CertificateProfile
from cps_auth.pki.certificate.signature import signed_parts
from cps_auth.pki.chain.issuer import (
    Issuer,
    allows_client_auth,
    has_room,
    identifies,
    is_issued_by,
    is_sound_authority,
    is_strong_key,
)
from cps_auth.pki.chain.trust_store import TrustStore

Path = tuple[Issuer, ...]
"""An authority first, an anchor last; the same one when it is an anchor itself."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType | None)
_Check = Callable[[x509.Certificate, _Extension], bool]


@dataclass(frozen=True)
class _Verified:
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
        # The library's verifier refuses critical policies, which are processed here.
        self._has_critical_policies = any(
            x509.CertificatePolicies in issuer.extensions.critical for issuer in self.issuers
        )
        self._paths: dict[tuple[Issuer, bool], _Verified] = {}  # at most two each

    def identified_by(self, child: ParsedCertificate) -> Sequence[Issuer]:
        """Return the authorities that a certificate's authority key identifier points at."""
        authority = child.extensions.get(x509.AuthorityKeyIdentifier)
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
        return self._verify(child, [issuer.x509], (), 0, _leaf_policy(), at) is not None

    def _find(self, authority: Issuer, at: datetime, *, signs_crls_only: bool) -> Path | None:
        if authority in self.anchors:
            sound = is_sound_authority(authority, self.profile.keys, at=at)
            return (authority,) if sound or signs_crls_only else None
        if self._has_critical_policies and not signs_crls_only:
            path = self._path_by_links(authority, self.profile.max_intermediates, at)
        else:
            target = _crl_signer_policy() if signs_crls_only else self._authority_policy()
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
            .extension_policies(ca_policy=self._authority_policy(), ee_policy=child_policy)
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

    def _authority_policy(self) -> ExtensionPolicy:
        keys = self.profile.keys
        return (
            ExtensionPolicy.permit_all()
            .require_present(
                x509.BasicConstraints,
                Criticality.AGNOSTIC,
                _refusing(lambda ca, basic: basic.ca and is_strong_key(ca, keys)),
            )
            .require_present(
                x509.KeyUsage,
                Criticality.AGNOSTIC,
                _refusing(lambda _ca, usage: usage.key_cert_sign),
            )
            .may_be_present(
                x509.ExtendedKeyUsage,
                Criticality.AGNOSTIC,
                _refusing(lambda _ca, usage: allows_client_auth(usage)),
            )
            # The verifier ignores those on directory names unless they are critical.
            .require_not_present(x509.NameConstraints)
        )


def _crl_signer_policy() -> ExtensionPolicy:
    return ExtensionPolicy.permit_all().require_present(
        x509.KeyUsage, Criticality.AGNOSTIC, _refusing(lambda _ca, usage: usage.crl_sign)
    )


def _leaf_policy() -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .may_be_present(
            x509.BasicConstraints,
            Criticality.AGNOSTIC,
            _refusing(lambda _leaf, basic: basic is None or not basic.ca),
        )
        .require_present(
            x509.KeyUsage,
            Criticality.AGNOSTIC,
            _refusing(lambda _leaf, usage: not usage.key_cert_sign and not usage.crl_sign),
        )
    )


def _refusing(
    check: _Check[_Extension],
) -> Callable[[verification.Policy, x509.Certificate, _Extension], None]:
    def refuse(
        _policy: verification.Policy, certificate: x509.Certificate, extension: _Extension
    ) -> None:
        if not check(certificate, extension):
            raise ValueError

    return refuse

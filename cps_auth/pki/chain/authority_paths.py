"""The way from an authority of a trust store to an anchor, found once and kept.

Whether it holds is decided by `cryptography`'s verifier, under a policy that states every
rule (it states none by itself), and by what the verifier leaves out: key identifiers along
the path, and that the path leaves room for the authority below it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TypeVar

from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store

from cps_auth.pki.certificate.names import name_key
from cps_auth.pki.certificate.parts import extension_of, extensions_of
from cps_auth.pki.certificate.profile import CertificateProfile, KeyRules
from cps_auth.pki.chain.issuer_checks import (
    allows_client_auth,
    identifies,
    is_self_issued,
    is_strong_key,
)
from cps_auth.pki.chain.signatures import signer_of
from cps_auth.pki.chain.trust_store import TrustStore

Path = tuple[x509.Certificate, ...]
"""An authority first, an anchor last; the same certificate when it is an anchor itself."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType | None)
_Check = Callable[[x509.Certificate, _Extension], bool]


@dataclass(frozen=True)
class _Found:
    path: Path
    valid_from: datetime
    valid_until: datetime


class AuthorityPaths:
    """Authorities of one trust store under one profile. Safe to share between threads."""

    def __init__(self, trust: TrustStore, profile: CertificateProfile) -> None:
        self._trust = trust
        self._profile = profile
        self._known = tuple(dict.fromkeys((*trust.anchors, *trust.intermediates)))
        self._by_name: dict[str, list[x509.Certificate]] = {}
        self._by_key: dict[bytes, list[x509.Certificate]] = {}
        # by identity: the authorities are those of the store, which this object keeps
        self._found: dict[tuple[int, bool], _Found] = {}
        for authority in self._known:
            self._by_name.setdefault(name_key(authority.subject), []).append(authority)
            if identifier := signer_of(authority).key_identifier:
                self._by_key.setdefault(identifier, []).append(authority)

    def identified_by(self, child: x509.Certificate) -> Sequence[x509.Certificate]:
        """Return the authorities that a certificate's authority key identifier points at."""
        authority = extension_of(child, x509.AuthorityKeyIdentifier)
        identifier = authority.key_identifier if authority else None
        return self._by_key.get(identifier, ()) if identifier else ()

    def named(self, name: x509.Name) -> tuple[x509.Certificate, ...]:
        """Return the authorities of this name; nothing else about them is known."""
        return tuple(self._by_name.get(name_key(name), ()))

    def path(
        self, authority: x509.Certificate, *, at: datetime, signs_lists_only: bool = False
    ) -> Path | None:
        """Return the path from an authority of the store to an anchor, None if none holds.

        Args:
            authority: one of those of the trust store.
            at: the moment of judgement, aware UTC.
            signs_lists_only: the authority need not be one that may issue certificates.

        Source: RFC 5280 section 6.1.
        """
        found = self._found.get((id(authority), signs_lists_only))
        if found is None or not found.valid_from <= at <= found.valid_until:
            path = self._find(authority, at, signs_lists_only=signs_lists_only)
            if path is None:
                return None
            found = _Found(
                path,
                max(signer_of(ca).not_before for ca in path),
                min(signer_of(ca).not_after for ca in path),
            )
            self._found[id(authority), signs_lists_only] = found
        return found.path

    def list_signers(self, issuer: x509.Certificate, *, at: datetime) -> Iterator[Path]:
        """Yield paths of other certificates of an issuer's name, which may sign its lists.

        Source: RFC 5280 section 6.3.3 (f).
        """
        for other in self.named(issuer.subject):
            if other != issuer:
                path = self.path(other, at=at, signs_lists_only=True)
                if path is not None:
                    yield path

    def _find(
        self, authority: x509.Certificate, at: datetime, *, signs_lists_only: bool
    ) -> Path | None:
        if authority in self._trust.anchors:
            sound = is_sound_authority(authority, self._profile.keys, at=at)
            return (authority,) if sound or signs_lists_only else None
        depth = self._profile.max_intermediates - 1
        if depth < 0 or not self._trust.anchors:
            return None
        target = _list_signer_policy() if signs_lists_only else _authority_policy(self._profile)
        verifier = (
            PolicyBuilder()
            .store(Store(list(self._trust.anchors)))
            .time(at)
            .max_chain_depth(depth)
            .extension_policies(ca_policy=_authority_policy(self._profile), ee_policy=target)
            .build_client_verifier()
        )
        try:
            path = tuple(verifier.verify(authority, list(self._trust.intermediates)).chain)
        except verification.VerificationError:
            return None
        linked = all(identifies(child, issuer) for child, issuer in pairwise(path))
        return path if linked and has_room(path) else None


def has_room(path: Path) -> bool:
    """Return whether no authority of a path forbids the authorities that are below it.

    Source: RFC 5280 section 4.2.1.9; self-issued ones don't count.
    """
    below = 0
    for authority in path:
        basic = extension_of(authority, x509.BasicConstraints)
        longest = None if basic is None else basic.path_length
        if longest is not None and below > longest:
            return False
        below += 0 if is_self_issued(authority) else 1
    return True


def is_sound_authority(authority: x509.Certificate, keys: KeyRules, *, at: datetime) -> bool:
    """Return whether a certificate is that of a CA which may issue certificates for logins.

    For anchors, which nobody signed but themselves; the verifier states the same rules.
    """
    basic = extension_of(authority, x509.BasicConstraints)
    usage = extension_of(authority, x509.KeyUsage)
    return (
        authority.not_valid_before_utc <= at <= authority.not_valid_after_utc
        and basic is not None
        and basic.ca
        and usage is not None
        and usage.key_cert_sign
        and is_strong_key(authority, keys)
        and allows_client_auth(extension_of(authority, x509.ExtendedKeyUsage))
        and extension_of(authority, x509.NameConstraints) is None
        and not has_unknown_critical(authority)
    )


_KNOWN_CRITICAL = frozenset(
    {
        x509.BasicConstraints,
        x509.KeyUsage,
        x509.ExtendedKeyUsage,
        x509.SubjectAlternativeName,
        x509.CertificatePolicies,
    }
)


def has_unknown_critical(certificate: x509.Certificate) -> bool:
    """Return whether something is critical that is not processed here: RFC 5280, 4.2."""
    return not extensions_of(certificate).critical <= _KNOWN_CRITICAL


def _authority_policy(profile: CertificateProfile) -> ExtensionPolicy:
    return (
        ExtensionPolicy.permit_all()
        .require_present(
            x509.BasicConstraints,
            Criticality.AGNOSTIC,
            _refusing(lambda ca, basic: basic.ca and is_strong_key(ca, profile.keys)),
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


def _list_signer_policy() -> ExtensionPolicy:
    return ExtensionPolicy.permit_all().require_present(
        x509.KeyUsage, Criticality.AGNOSTIC, _refusing(lambda _ca, usage: usage.crl_sign)
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

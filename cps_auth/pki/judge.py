"""Judges a certificate: steps 2 to 5 of a login, in their order."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from cryptography import x509

from cps_auth.errors import (
    CertificateExpired,
    CertificateMalformed,
    CertificateNotYetValid,
    CertificateRefused,
    CertificateRevoked,
    RevocationUnknown,
    UntrustedIssuer,
    WrongPurpose,
)
from cps_auth.model import CardType, RevocationEvidence
from cps_auth.pki.certificate.parse import CpsCertificate, parse_certificate
from cps_auth.pki.certificate.profile import CertificateProfile
from cps_auth.pki.certificate.profiles import IGC_SANTE_LOGIN
from cps_auth.pki.certificate.purpose import ALL_CARD_TYPES, check_login_purpose, purpose_warnings
from cps_auth.pki.chain.authority_paths import AuthorityPaths
from cps_auth.pki.chain.policies import valid_policies
from cps_auth.pki.chain.signatures import signer_of
from cps_auth.pki.chain.trust_store import TrustStore, folder_trust, production_trust
from cps_auth.pki.chain.verify import verify_chain
from cps_auth.pki.revocation.check import check_revocation
from cps_auth.pki.revocation.crl import CrlStore
from cps_auth.pki.revocation.crl_lookup import NoEvidence, find_evidence
from cps_auth.pki.revocation.evidence_memory import EvidenceMemory
from cps_auth.pki.revocation.ocsp import OcspSource
from cps_auth.pki.revocation.policy import REQUIRE, RevocationPolicy

PRODUCTION_CRL_FOLDER = Path("/var/lib/cps-auth/crl")

STEPS: Mapping[type[CertificateRefused], int] = MappingProxyType(
    {
        CertificateMalformed: 2,
        CertificateExpired: 3,
        CertificateNotYetValid: 3,
        UntrustedIssuer: 3,
        WrongPurpose: 4,
        CertificateRevoked: 5,
        RevocationUnknown: 5,
    }
)
"""At which step of a login (`cps_auth.login.verify`) each refusal is made."""

_REMEMBERED = 256
"""Certificates whose signature need not be verified again; a practice has a few cards."""


@dataclass(frozen=True)
class JudgedCertificate:
    """A certificate that may be used to log in, if its holder proves to have its key.

    Attributes:
        certificate: as it was read.
        chain: leaf first, anchor last.
        revocation: evidence, one piece per certificate below the anchor, leaf first.
        trust: name of the trust store that was asked.
        profile: name of the rules that were applied.
        policies: valid along the chain, dotted, sorted.
        warnings: stable codes of what is odd, and was no reason to refuse.
        judged_at: the moment of judgement, aware UTC.
    """

    certificate: CpsCertificate
    chain: tuple[x509.Certificate, ...]
    revocation: tuple[RevocationEvidence, ...]
    trust: str
    profile: str
    policies: tuple[str, ...]
    warnings: tuple[str, ...]
    judged_at: datetime


class _Lasting(NamedTuple):
    """What stays true of a certificate between two dates: steps 2 to 4."""

    certificate: CpsCertificate
    chain: tuple[x509.Certificate, ...]
    policies: tuple[str, ...]
    warnings: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime


class _Memory:
    """Results of steps 2 to 4 by the certificate's bytes, the least used forgotten first."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._found: OrderedDict[bytes, _Lasting] = OrderedDict()

    def get(self, der: bytes, at: datetime) -> _Lasting | None:
        with self._mutex:
            found = self._found.get(der)
            if found is None or not found.valid_from <= at <= found.valid_until:
                return None
            self._found.move_to_end(der)
            return found

    def keep(self, der: bytes, lasting: _Lasting) -> None:
        with self._mutex:
            self._found[der] = lasting
            if len(self._found) > _REMEMBERED:
                self._found.popitem(last=False)


@dataclass(frozen=True)
class Judge:
    """Whom to trust, which lists to ask, and which cards to accept.

    Attributes:
        trust: anchors and intermediates.
        crls: revocation lists.
        card_types: those that may log in, where the profile knows card types.
        profile: what a certificate has to be like; cards of the IGC-Santé by default.
        policy: how old revocation evidence may be.
        ocsp: who is asked when lists are no current evidence; nobody by default.
    """

    trust: TrustStore
    crls: CrlStore
    card_types: frozenset[CardType] = ALL_CARD_TYPES
    profile: CertificateProfile = IGC_SANTE_LOGIN
    policy: RevocationPolicy = REQUIRE
    ocsp: OcspSource | None = None
    _paths: AuthorityPaths = field(init=False, repr=False, compare=False)
    _evidence: EvidenceMemory = field(
        init=False, repr=False, compare=False, default_factory=EvidenceMemory
    )
    _memory: _Memory = field(init=False, repr=False, compare=False, default_factory=_Memory)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_paths", AuthorityPaths(self.trust, self.profile))

    def judge(self, unverified_certificate_der: bytes, *, at: datetime) -> JudgedCertificate:
        """Judge the authentication certificate of a card. It proves nobody's presence.

        Args:
            unverified_certificate_der: as it came from a card or a browser.
            at: the moment of judgement, aware UTC.

        Raises:
            CertificateMalformed: step 2.
            CertificateExpired, CertificateNotYetValid, UntrustedIssuer: step 3.
            WrongPurpose: step 4.
            CertificateRevoked, RevocationUnknown: step 5.
        """
        if at.tzinfo is None:
            raise ValueError("at: a naive datetime")
        lasting = self._memory.get(unverified_certificate_der, at)
        if lasting is None:
            lasting = self._judge_lasting(unverified_certificate_der, at)
            self._memory.keep(unverified_certificate_der, lasting)
        revocation = check_revocation(
            lasting.chain,
            self.crls,
            at=at,
            policy=self.policy,
            ocsp=self.ocsp,
            other_signers=lambda issuer: self._list_signers(issuer, at),
            memory=self._evidence,
            leaf_der=unverified_certificate_der,
        )
        return JudgedCertificate(
            certificate=lasting.certificate,
            chain=lasting.chain,
            revocation=revocation,
            trust=self.trust.name,
            profile=self.profile.name,
            policies=lasting.policies,
            warnings=lasting.warnings,
            judged_at=at,
        )

    def _judge_lasting(self, unverified_certificate_der: bytes, at: datetime) -> _Lasting:
        certificate = parse_certificate(unverified_certificate_der, self.profile)
        chain = verify_chain(
            certificate, self.trust, at=at, profile=self.profile, paths=self._paths
        )
        policies = valid_policies(chain)
        check_login_purpose(
            certificate,
            self.trust,
            card_types=self.card_types,
            profile=self.profile,
            valid_policies=policies,
            issuer_name=signer_of(chain[1]).shown_name,
        )
        valid_from, valid_until = certificate.not_before, certificate.not_after
        for authority in map(signer_of, chain[1:]):
            valid_from = max(valid_from, authority.not_before)
            valid_until = min(valid_until, authority.not_after)
        return _Lasting(
            certificate,
            chain,
            tuple(sorted(policies)),
            purpose_warnings(policies, self.profile),
            valid_from,
            valid_until,
        )

    def _list_signers(self, issuer: x509.Certificate, at: datetime) -> tuple[x509.Certificate, ...]:
        """Return other certificates of an issuer that sign its lists and are not revoked."""
        paths = self._paths.list_signers(issuer, at=at)
        return tuple(path[0] for path in paths if self._is_unrevoked(path, at))

    def _is_unrevoked(self, path: tuple[x509.Certificate, ...], at: datetime) -> bool:
        if len(path) < 2:
            return False  # an anchor signs its own lists under its own name
        try:
            lists = find_evidence(path[0], path[1], self.crls.current(), at=at)
        except NoEvidence:
            return False
        return lists.revoked is None and at <= lists.next_update


def production_judge(
    card_types: frozenset[CardType] = ALL_CARD_TYPES, *, policy: RevocationPolicy = REQUIRE
) -> Judge:
    """Return the judge of real cards: pinned authorities, lists from PRODUCTION_CRL_FOLDER.

    Args:
        card_types: those that may log in.
        policy: how old revocation evidence may be.

    Raises:
        TrustStoreUnusable: see `production_trust`.
    """
    crls = CrlStore.from_folder(PRODUCTION_CRL_FOLDER)
    return Judge(production_trust(), crls, card_types, policy=policy)


def folder_judge(
    folder: Path,
    card_types: frozenset[CardType] = ALL_CARD_TYPES,
    *,
    policy: RevocationPolicy = REQUIRE,
) -> Judge:
    """Return the judge that trusts a folder instead of the pins.

    Args:
        folder: see `folder_trust`; lists are in its crl/, or beside the certificates when
            there is no trust.toml.
        card_types: those that may log in.
        policy: how old revocation evidence may be.

    Raises:
        TrustStoreUnusable: see `folder_trust`.
    """
    crls = CrlStore.from_folder(crl_folder_of(folder))
    return Judge(folder_trust(folder), crls, card_types, policy=policy)


def crl_folder_of(folder: Path) -> Path:
    """Return where the lists of a trust folder are."""
    return folder / "crl" if (folder / "trust.toml").exists() else folder

"""Judges a certificate: steps 2 to 5 of a login, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509

from cps_auth.cache import BoundedCache
from cps_auth.model import CardType, RevocationEvidence
from cps_auth.pki.certificate.parse import CpsCertificate, parse_certificate
from cps_auth.pki.certificate.profiles import IGC_SANTE_LOGIN, CertificateProfile
from cps_auth.pki.certificate.purpose import (
    ALL_CARD_TYPES,
    check_login_purpose,
    purpose_warnings,
    valid_policies,
)
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.chain.trust_store import TrustStore, folder_trust, production_trust
from cps_auth.pki.chain.verify import Authorities, Chain, verify_chain
from cps_auth.pki.revocation.check import check_revocation
from cps_auth.pki.revocation.crl_lookup import NoEvidence, find_evidence
from cps_auth.pki.revocation.crl_store import CrlStore
from cps_auth.pki.revocation.ocsp import OcspSource
from cps_auth.pki.revocation.policy import REQUIRE, RevocationPolicy

PRODUCTION_CRL_FOLDER = Path("/var/lib/cps-auth/crl")

_CACHE_MAX = 256
"""Certificates whose steps 2 to 4 are cached; a practice has a few cards."""


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
    """

    certificate: CpsCertificate
    chain: tuple[x509.Certificate, ...]
    revocation: tuple[RevocationEvidence, ...]
    trust: str
    profile: str
    policies: tuple[str, ...]
    warnings: tuple[str, ...]


class _Lasting(NamedTuple):
    """The lasting result of steps 2 to 4 for a certificate, between two dates."""

    chain: Chain
    policies: tuple[str, ...]
    warnings: tuple[str, ...]
    valid_from: datetime
    valid_until: datetime


class Judge:
    """Judges certificates under one trust store. Safe to share between threads.

    It caches the result of steps 2 to 4 by the whole certificate, and only of those that held;
    nothing else that a card sends is remembered. The least used are forgotten first.

    Attributes:
        trust: anchors and intermediates.
        crls: revocation lists.
        card_types: those that may log in, where the profile knows card types.
        profile: what a certificate has to be like; cards of the IGC-Santé by default.
        policy: how old revocation evidence may be.
        ocsp: who is asked when CRLs are no current evidence; nobody by default.
    """

    def __init__(
        self,
        trust: TrustStore,
        crls: CrlStore,
        card_types: frozenset[CardType] = ALL_CARD_TYPES,
        profile: CertificateProfile = IGC_SANTE_LOGIN,
        policy: RevocationPolicy = REQUIRE,
        ocsp: OcspSource | None = None,
    ) -> None:
        self.trust, self.crls = trust, crls
        self.card_types, self.profile = card_types, profile
        self.policy, self.ocsp = policy, ocsp
        self._authorities = Authorities(trust, profile)
        self._cache = BoundedCache[bytes, _Lasting](_CACHE_MAX)

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
        lasting = self._cache.get(unverified_certificate_der)
        if lasting is None or not lasting.valid_from <= at <= lasting.valid_until:
            lasting = self._judge_lasting(unverified_certificate_der, at)
            self._cache.put(unverified_certificate_der, lasting)
        # Step 5, each time: is any certificate of the chain revoked?
        revocation = check_revocation(
            lasting.chain,
            self.crls,
            at=at,
            policy=self.policy,
            ocsp=self.ocsp,
            other_signers=lambda issuer: self._crl_signers(issuer, at),
        )
        return JudgedCertificate(
            certificate=lasting.chain.leaf,
            chain=lasting.chain.certificates,
            revocation=revocation,
            trust=self.trust.name,
            profile=self.profile.name,
            policies=lasting.policies,
            warnings=lasting.warnings,
        )

    def _judge_lasting(self, unverified_certificate_der: bytes, at: datetime) -> _Lasting:
        # Step 2: can every part that is used be read, and who is named?
        certificate = parse_certificate(unverified_certificate_der, self.profile)
        # Step 3: is it in its dates, and does a chain lead to an anchor?
        chain = verify_chain(
            certificate, self.trust, at=at, profile=self.profile, authorities=self._authorities
        )
        # Step 4: is it for logging in a person, with a card accepted here?
        policies = valid_policies(certificate, chain.issuers)
        check_login_purpose(
            certificate,
            test_cards=self.trust.test_cards,
            card_types=self.card_types,
            profile=self.profile,
            valid_policies=policies,
            issuer_name=chain.issuers[0].shown_name,
        )
        along = (certificate, *chain.issuers)
        return _Lasting(
            chain,
            tuple(sorted(policies)),
            purpose_warnings(policies, self.profile),
            max(each.not_before for each in along),
            min(each.not_after for each in along),
        )

    def _crl_signers(self, issuer: Issuer, at: datetime) -> tuple[Issuer, ...]:
        """Return other certificates of an issuer that sign its CRLs and are not revoked."""
        paths = self._authorities.crl_signers(issuer, at=at)
        return tuple(path[0] for path in paths if self._is_unrevoked(path, at))

    def _is_unrevoked(self, path: tuple[Issuer, ...], at: datetime) -> bool:
        if len(path) < 2:
            return False  # an anchor signs its own CRLs under its own name
        try:
            listed = find_evidence(path[0], path[1], self.crls.current(), at=at)
        except NoEvidence:
            return False
        return listed.revoked is None and at <= listed.next_update


def production_judge(
    card_types: frozenset[CardType] = ALL_CARD_TYPES, *, policy: RevocationPolicy = REQUIRE
) -> Judge:
    """Return the judge of real cards: pinned authorities, CRLs from PRODUCTION_CRL_FOLDER.

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
        folder: see `folder_trust`; CRLs are in its crl/, or beside the certificates when
            there is no trust.toml.
        card_types: those that may log in.
        policy: how old revocation evidence may be.

    Raises:
        TrustStoreUnusable: see `folder_trust`.
    """
    trust = folder_trust(folder)  # first: it says in our words that a folder may not be read
    crls = CrlStore.from_folder(crl_folder_of(folder))
    return Judge(trust, crls, card_types, policy=policy)


def crl_folder_of(folder: Path) -> Path:
    """Return where the CRLs of a trust folder are."""
    return folder / "crl" if (folder / "trust.toml").exists() else folder

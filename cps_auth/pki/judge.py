"""Judges a certificate: steps 2 to 5 of a login, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from cps_auth.model import CardType, RevocationEvidence
from cps_auth.pki.anchors import TrustStore, folder_trust, production_trust
from cps_auth.pki.certificate import CpsCertificate, parse_certificate
from cps_auth.pki.chain import verify_chain
from cps_auth.pki.crl import CrlStore
from cps_auth.pki.purpose import ALL_CARD_TYPES, check_login_purpose
from cps_auth.pki.revocation import check_revocation

PRODUCTION_CRL_FOLDER = Path("/var/lib/cps-auth/crl")


@dataclass(frozen=True)
class JudgedCertificate:
    """A certificate that may be used to log in, if its holder proves to have its key.

    Attributes:
        certificate: as it was read.
        chain: leaf first, anchor last.
        revocation: evidence, one piece per certificate below the anchor, leaf first.
        trust: name of the trust store that was asked.
    """

    certificate: CpsCertificate
    chain: tuple[x509.Certificate, ...]
    revocation: tuple[RevocationEvidence, ...]
    trust: str


@dataclass(frozen=True)
class Judge:
    """Whom to trust, which lists to ask, and which cards to accept."""

    trust: TrustStore
    crls: CrlStore
    card_types: frozenset[CardType] = ALL_CARD_TYPES

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
        certificate = parse_certificate(unverified_certificate_der)
        chain = verify_chain(certificate, self.trust, at=at)
        check_login_purpose(certificate, self.trust, card_types=self.card_types)
        revocation = check_revocation(chain, self.crls, at=at)
        return JudgedCertificate(certificate, chain, revocation, self.trust.name)


def production_judge(card_types: frozenset[CardType] = ALL_CARD_TYPES) -> Judge:
    """Return the judge of real cards: pinned authorities, lists from PRODUCTION_CRL_FOLDER.

    Raises:
        TrustStoreUnusable: see `production_trust`.
    """
    return Judge(production_trust(), CrlStore.from_folder(PRODUCTION_CRL_FOLDER), card_types)


def folder_judge(folder: Path, card_types: frozenset[CardType] = ALL_CARD_TYPES) -> Judge:
    """Return the judge that trusts a folder instead of the pins.

    Args:
        folder: see `folder_trust`; lists are in its crl/, or beside the certificates when
            there is no trust.toml.

    Raises:
        TrustStoreUnusable: see `folder_trust`.
    """
    trust = folder_trust(folder)
    crl_folder = folder / "crl" if (folder / "trust.toml").exists() else folder
    return Judge(trust, CrlStore.from_folder(crl_folder), card_types)

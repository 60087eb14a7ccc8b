"""A fake IGC-Santé: FORT and STANDARD, one certificate pair per persona, CRLs, and a forger.

Real keys, real signatures and real dates; only the names say that it is not the real one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.pki.chain.trust_store import TrustStore
from hardware_mocks.igc import folder as igc_folder
from hardware_mocks.igc.card_certificates import CATEGORY_CARD, CertificateUse, card_request
from hardware_mocks.igc.certificates import (
    Authority,
    CertificateRequest,
    ExtensionItem,
    sign_certificate,
)
from hardware_mocks.igc.crls import Revocation, sign_crl
from hardware_mocks.igc.making import (
    FILES,
    ROOTS,
    card_validity,
    generate_keys,
    issuer_of,
    make_authorities,
    make_card,
)
from hardware_mocks.personas import PERSONAS, CardCredentials, CertificateDefect

TRUST_NAME = "IGC-Santé FICTIVE"
CRL_LIFETIME = timedelta(days=365)
"""Long, for a demo that is kept; the real lists are replaced every day."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate issued for a test."""

    der: bytes
    key: RSAPrivateKey

    @property
    def serial(self) -> int:
        """Return the serial number."""
        return x509.load_der_x509_certificate(self.der).serial_number


@dataclass(frozen=True)
class FakeIgcSante:
    """The whole hierarchy with its keys.

    Attributes:
        made_at: when it was created, aware UTC; everything that should be valid is valid then.
        authorities: by name: fort, fort-personnes, standard, standard-personnes, and
            rogue-fort, rogue-fort-personnes, which bear the names of the first two.
        crls: DER by file name without suffix, as on the real site: ACR-FO, ACI-FO-PP, …
    """

    made_at: datetime
    authorities: Mapping[str, Authority]
    cards: Mapping[str, CardCredentials]
    crls: Mapping[str, bytes] = field(default_factory=dict)

    @classmethod
    def create(
        cls, *, at: datetime | None = None, crl_lifetime: timedelta = CRL_LIFETIME
    ) -> FakeIgcSante:
        """Make new keys, certificates and CRLs; takes a few seconds of every core.

        Args:
            at: the moment around which everything is dated, aware UTC; now when None.
            crl_lifetime: how long after `at` the CRLs are good for.
        """
        made_at = (at or datetime.now(UTC)).astimezone(UTC).replace(microsecond=0)
        ca_keys, card_keys = generate_keys()
        authorities = make_authorities(ca_keys, made_at)
        cards = {
            name: make_card(persona, card_keys[2 * i : 2 * i + 2], authorities, made_at)
            for i, (name, persona) in enumerate(PERSONAS.items())
        }
        igc = cls(made_at, authorities, cards)
        crls = {
            file: igc.crl(name, next_update=made_at + crl_lifetime) for name, file in FILES.items()
        }
        return cls(made_at, authorities, cards, crls)

    @classmethod
    def load(cls, folder: Path) -> FakeIgcSante:
        """Return what `write` wrote; the keys are not checked again, only that they fit.

        Raises:
            OSError, ValueError, KeyError: the folder is not one that `write` wrote.
        """
        return cls(
            igc_folder.read_made_at(folder),
            igc_folder.read_authorities(folder),
            igc_folder.read_cards(folder),
            igc_folder.read_crls(folder),
        )

    def write(self, folder: Path) -> None:
        """Write everything into `folder`, which `--trust` then takes (see `igc_folder`)."""
        igc_folder.write_trust(folder, TRUST_NAME)
        igc_folder.write_made_at(folder, self.made_at)
        igc_folder.write_public(folder, "anchors", "cer", self._named(self._roots()))
        igc_folder.write_public(folder, "intermediates", "cer", self._named(self._issuers()))
        igc_folder.write_public(folder, "crl", "crl", self.crls)
        igc_folder.write_authorities(folder, self.authorities)
        igc_folder.write_cards(folder, self.cards)

    def credentials(self, persona_name: str) -> CardCredentials:
        """Return the key pairs and certificates of a persona's card."""
        return self.cards[persona_name]

    def trust_store(self, *, test_cards: bool = False) -> TrustStore:
        """Return the trust store of the genuine (if fake) roots; the forger is not in it."""
        return TrustStore(
            name=TRUST_NAME,
            anchors=tuple(self.authorities[name].certificate for name in self._roots()),
            intermediates=tuple(self.authorities[name].certificate for name in self._issuers()),
            test_cards=test_cards,
        )

    def request(
        self,
        persona: str = "doctor",
        use: CertificateUse = CertificateUse.AUTHENTICATION,
        *,
        category: int = CATEGORY_CARD,
    ) -> CertificateRequest:
        """Return a sound request for a persona, with a new serial; tests spoil it and `issue`."""
        person = PERSONAS[persona]
        issuer = issuer_of(person)
        not_before, not_after = card_validity(self.made_at)
        return card_request(
            person,
            use,
            self.cards[persona].authentication_key,
            self.authorities[issuer],
            not_before=not_before,
            not_after=not_after,
            issuer_file=FILES[issuer],
            category=category,
        )

    def issue(
        self,
        request: CertificateRequest,
        by: str = "fort-personnes",
        *,
        signing_key: RSAPrivateKey | None = None,
    ) -> bytes:
        """Return the certificate as DER, issued in the name of `by`, whatever it says.

        Args:
            signing_key: signs in place of the issuer's own key: a forgery.
        """
        issuer = self.authorities[by]
        key = signing_key or issuer.key
        return sign_certificate(request, issuer.certificate.subject, key).public_bytes(Encoding.DER)

    def issue_leaf(
        self, persona: str = "doctor", *, by: str | None = None, **changes: Any
    ) -> IssuedCertificate:
        """Return a new certificate for a persona's key, with fields of the request replaced.

        Args:
            by: name of the authority; the one that certifies such cards when None.
            changes: fields of `CertificateRequest`, such as not_after=… or subject=….
        """
        request = replace(self.request(persona), **changes)
        issuer = by or issuer_of(PERSONAS[persona])
        return IssuedCertificate(
            self.issue(request, issuer), self.cards[persona].authentication_key
        )

    def crl(
        self,
        by: str = "fort-personnes",
        *,
        revoked: Iterable[Revocation] | None = None,
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        number: int | None = 1,
        signing_key: RSAPrivateKey | None = None,
        extra: Iterable[ExtensionItem] = (),
    ) -> bytes:
        """Return a CRL of `by` as DER; without `revoked`, the one with the revoked personas."""
        issuer = self.authorities[by]
        return sign_crl(
            issuer,
            self._revoked_by(issuer) if revoked is None else revoked,
            this_update=this_update or self.made_at - timedelta(hours=1),
            next_update=next_update or self.made_at + CRL_LIFETIME,
            number=number,
            signing_key=signing_key,
            extra=extra,
        )

    def _revoked_by(self, issuer: Authority) -> Iterable[Revocation]:
        for name, persona in PERSONAS.items():
            if persona.defect is not CertificateDefect.REVOKED:
                continue
            card = self.cards[name]
            for der in (card.authentication_certificate_der, card.signature_certificate_der):
                certificate = x509.load_der_x509_certificate(der)
                if certificate.issuer == issuer.certificate.subject:
                    yield Revocation(certificate.serial_number, self.made_at - timedelta(days=2))

    def _roots(self) -> tuple[str, ...]:
        return tuple(ROOTS)

    def _issuers(self) -> tuple[str, ...]:
        return tuple(f"{root}-personnes" for root in ROOTS)

    def _named(self, names: Iterable[str]) -> dict[str, bytes]:
        return {FILES[name]: self.authorities[name].der for name in names}

"""A fake IGC-Santé: FORT and STANDARD, one certificate pair per persona, CRLs, and a forger.

Real keys, real signatures and real dates; only the names say that it is not the real one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.model import CardType
from cps_auth.pki.anchors import TrustStore
from hardware_mocks import igc_folder
from hardware_mocks.igc_certificates import (
    CATEGORY_CARD,
    CATEGORY_TEST_CARD,
    Authority,
    CertificateRequest,
    CertificateUse,
    ExtensionItem,
    Revocation,
    ca_request,
    card_request,
    sign_certificate,
    sign_crl,
)
from hardware_mocks.personas import PERSONAS, CardCredentials, CertificateDefect, Persona

TRUST_NAME = "IGC-Santé FICTIVE"
CA_KEY_BITS = 4096
CARD_KEY_BITS = 2048
CA_LIFETIME = timedelta(days=20 * 365)
CARD_LIFETIME = timedelta(days=3 * 365)
CRL_LIFETIME = timedelta(days=365)
"""Long, for a demo that is kept; the real lists are replaced every day."""

_ROOTS = {"fort": "FORT", "standard": "STANDARD"}
_FORGER = "rogue-fort"
_FILES = {
    "fort": "ACR-FO",
    "fort-personnes": "ACI-FO-PP",
    "standard": "ACR-ST",
    "standard-personnes": "ACI-ST-PP",
}
"""Names of the real certificates and CRLs on the site of the IGC-Santé."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """What a test asked for."""

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
        ca_keys, card_keys = _generate_keys()
        authorities = _make_authorities(ca_keys, made_at)
        cards = {
            name: _make_card(persona, card_keys[2 * i : 2 * i + 2], authorities, made_at)
            for i, (name, persona) in enumerate(PERSONAS.items())
        }
        igc = cls(made_at, authorities, cards)
        crls = {
            file: igc.crl(name, next_update=made_at + crl_lifetime) for name, file in _FILES.items()
        }
        return cls(made_at, authorities, cards, crls)

    @classmethod
    def load(cls, folder: Path) -> FakeIgcSante:
        """Return what `write` wrote; the keys are not checked again."""
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
        issuer = _issuer_of(person)
        return card_request(
            person,
            use,
            self.cards[persona].authentication_key,
            self.authorities[issuer],
            not_before=self.made_at - timedelta(days=30),
            not_after=self.made_at - timedelta(days=30) + CARD_LIFETIME,
            issuer_file=_FILES[issuer],
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
        self, persona: str = "doctor", *, by: str = "fort-personnes", **changes: Any
    ) -> IssuedCertificate:
        """Return a new certificate for a persona's key, with fields of the request replaced.

        Args:
            changes: fields of `CertificateRequest`, such as not_after=… or subject=….
        """
        request = replace(self.request(persona), **changes)
        return IssuedCertificate(self.issue(request, by), self.cards[persona].authentication_key)

    def crl(
        self,
        by: str = "fort-personnes",
        *,
        revoked: Iterable[Revocation] | None = None,
        this_update: datetime | None = None,
        next_update: datetime | None = None,
        number: int = 1,
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
        return tuple(_ROOTS)

    def _issuers(self) -> tuple[str, ...]:
        return tuple(f"{root}-personnes" for root in _ROOTS)

    def _named(self, names: Iterable[str]) -> dict[str, bytes]:
        return {_FILES[name]: self.authorities[name].der for name in names}


def _generate_keys() -> tuple[list[RSAPrivateKey], list[RSAPrivateKey]]:
    sizes = [CA_KEY_BITS] * 6 + [CARD_KEY_BITS] * (2 * len(PERSONAS))
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        keys = list(threads.map(lambda bits: generate_private_key(65537, bits), sizes))
    return keys[:6], keys[6:]


def _make_authorities(keys: list[RSAPrivateKey], made_at: datetime) -> dict[str, Authority]:
    made: dict[str, Authority] = {}
    roots = (*_ROOTS.items(), (_FORGER, "FORT"))
    for i, (name, gamme) in enumerate(roots):
        root, issuer = _make_branch(name, gamme, keys[2 * i], keys[2 * i + 1], made_at)
        made |= {name: root, f"{name}-personnes": issuer}
    return made


def _make_branch(
    name: str, gamme: str, root_key: RSAPrivateKey, issuer_key: RSAPrivateKey, made_at: datetime
) -> tuple[Authority, Authority]:
    not_before = made_at - timedelta(days=5 * 365)
    root_name = f"FICTIVE AC RACINE IGC-SANTE {gamme}"
    common: dict[str, Any] = {
        "not_before": not_before,
        "issuer_key": root_key,
        "issuer_common_name": root_name,
    }
    root = ca_request(root_name, root_key, not_after=not_before + CA_LIFETIME, **common)
    issuer = ca_request(
        f"FICTIVE AC IGC-SANTE {gamme} PERSONNES",
        issuer_key,
        not_after=not_before + CA_LIFETIME - timedelta(days=1),
        path_length=0,
        crl_file=_FILES[name.removeprefix("rogue-")],
        **common,
    )
    return (
        Authority(sign_certificate(root, root.subject, root_key), root_key),
        Authority(sign_certificate(issuer, root.subject, root_key), issuer_key),
    )


def _issuer_of(persona: Persona) -> str:
    return "fort-personnes" if persona.card_type in _FORT_CARDS else "standard-personnes"


_FORT_CARDS = (CardType.CPS, CardType.CPF)


def _make_card(
    persona: Persona,
    keys: list[RSAPrivateKey],
    authorities: Mapping[str, Authority],
    made_at: datetime,
) -> CardCredentials:
    uses = (CertificateUse.AUTHENTICATION, CertificateUse.SIGNATURE)
    if persona.defect is CertificateDefect.SIGNATURE_ONLY:
        uses = (CertificateUse.SIGNATURE, CertificateUse.SIGNATURE)
    ders = [
        _make_card_certificate(persona, use, key, authorities, made_at)
        for use, key in zip(uses, keys, strict=True)
    ]
    return CardCredentials(ders[0], keys[0], ders[1], keys[1])


def _make_card_certificate(
    persona: Persona,
    use: CertificateUse,
    key: RSAPrivateKey,
    authorities: Mapping[str, Authority],
    made_at: datetime,
) -> bytes:
    issuer_name = _issuer_of(persona)
    forged = persona.defect is CertificateDefect.UNKNOWN_ROOT
    issuer = authorities[_FORGER + "-personnes" if forged else issuer_name]
    age = timedelta(days=30)
    if persona.defect is CertificateDefect.EXPIRED:
        age += CARD_LIFETIME
    is_test = persona.defect is CertificateDefect.TEST_CATEGORY
    request = card_request(
        persona,
        use,
        key,
        issuer,
        not_before=made_at - age,
        not_after=made_at - age + CARD_LIFETIME,
        issuer_file=_FILES[issuer_name],
        category=CATEGORY_TEST_CARD if is_test else CATEGORY_CARD,
    )
    certificate = sign_certificate(request, issuer.certificate.subject, issuer.key)
    return certificate.public_bytes(Encoding.DER)

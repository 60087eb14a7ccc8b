"""Makes the keys, authorities and cards of a fake IGC-Santé."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.model import CardType
from hardware_mocks.igc.card_certificates import (
    CATEGORY_CARD,
    CATEGORY_TEST_CARD,
    CertificateUse,
    card_request,
)
from hardware_mocks.igc.certificates import Authority, ca_request, sign_certificate
from hardware_mocks.personas import PERSONAS, CardCredentials, CertificateDefect, Persona

CA_KEY_BITS = 4096
CARD_KEY_BITS = 2048
CA_LIFETIME = timedelta(days=20 * 365)
CARD_LIFETIME = timedelta(days=3 * 365)
CARD_AGE = timedelta(days=30)

ROOTS = {"fort": "FORT", "standard": "STANDARD"}
_FORGER = "rogue-fort"
FILES = {
    "fort": "ACR-FO",
    "fort-personnes": "ACI-FO-PP",
    "standard": "ACR-ST",
    "standard-personnes": "ACI-ST-PP",
}
"""Names of the real certificates and CRLs on the site of the IGC-Santé."""

_FORT_CARDS = (CardType.CPS, CardType.CPF)


def generate_keys() -> tuple[list[RSAPrivateKey], list[RSAPrivateKey]]:
    """Return six keys for authorities and two for every persona, made on every core."""
    sizes = [CA_KEY_BITS] * 6 + [CARD_KEY_BITS] * (2 * len(PERSONAS))
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        keys = list(threads.map(lambda bits: generate_private_key(65537, bits), sizes))
    return keys[:6], keys[6:]


def make_authorities(keys: list[RSAPrivateKey], made_at: datetime) -> dict[str, Authority]:
    """Return the four authorities, and the two of the forger, who bears their names."""
    made: dict[str, Authority] = {}
    roots = (*ROOTS.items(), (_FORGER, "FORT"))
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
        crl_file=FILES[name.removeprefix("rogue-")],
        **common,
    )
    return (
        Authority(sign_certificate(root, root.subject, root_key), root_key),
        Authority(sign_certificate(issuer, root.subject, root_key), issuer_key),
    )


def issuer_of(persona: Persona) -> str:
    """Return the name of the authority that certifies this kind of card."""
    return "fort-personnes" if persona.card_type in _FORT_CARDS else "standard-personnes"


def make_card(
    persona: Persona,
    keys: list[RSAPrivateKey],
    authorities: Mapping[str, Authority],
    made_at: datetime,
) -> CardCredentials:
    """Return a persona's card, with what is wrong with it."""
    uses = (CertificateUse.AUTHENTICATION, CertificateUse.SIGNATURE)
    if persona.defect is CertificateDefect.SIGNATURE_ONLY:
        uses = (CertificateUse.SIGNATURE, CertificateUse.SIGNATURE)
    ders = [
        _make_card_certificate(persona, use, key, authorities, made_at)
        for use, key in zip(uses, keys, strict=True)
    ]
    return CardCredentials(ders[0], keys[0], ders[1], keys[1])


def card_validity(made_at: datetime, age: timedelta = CARD_AGE) -> tuple[datetime, datetime]:
    """Return from when to when a card of this age is valid.

    Both at midnight: a time of the day may look like a PIN to whoever searches a log for one.
    """
    not_before = (made_at - age).replace(hour=0, minute=0, second=0, microsecond=0)
    return not_before, not_before + CARD_LIFETIME


def _make_card_certificate(
    persona: Persona,
    use: CertificateUse,
    key: RSAPrivateKey,
    authorities: Mapping[str, Authority],
    made_at: datetime,
) -> bytes:
    issuer_name = issuer_of(persona)
    forged = persona.defect is CertificateDefect.UNKNOWN_ROOT
    issuer = authorities[_FORGER + "-personnes" if forged else issuer_name]
    age = CARD_AGE
    if persona.defect is CertificateDefect.EXPIRED:
        age += CARD_LIFETIME
    not_before, not_after = card_validity(made_at, age)
    is_test = persona.defect is CertificateDefect.TEST_CATEGORY
    request = card_request(
        persona,
        use,
        key,
        issuer,
        not_before=not_before,
        not_after=not_after,
        issuer_file=FILES[issuer_name],
        category=CATEGORY_TEST_CARD if is_test else CATEGORY_CARD,
    )
    certificate = sign_certificate(request, issuer.certificate.subject, issuer.key)
    return certificate.public_bytes(Encoding.DER)

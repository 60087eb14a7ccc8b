"""Is this genuine certificate meant for logging a person in? One reason code per no."""

from __future__ import annotations

import enum

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cps_auth.errors import WrongPurpose
from cps_auth.model import CardType
from cps_auth.pki.anchors import TrustStore
from cps_auth.pki.certificate import CpsCertificate
from cps_auth.pki.links import extension_of

ALL_CARD_TYPES = frozenset(CardType)

CATEGORY_CARD = 0x00
CATEGORY_MODULE = 0x02
CATEGORY_SOFTWARE = 0x03
CATEGORY_TEST = 0x80
"""gipCardCategory, ANS table G01; the highest bit marks TEST."""

_PERSONS = "PERSONNES"
"""Last word of the names of the authorities that certify persons."""


class Mismatch(enum.Enum):
    """Why it is not; the value is the reason of WrongPurpose."""

    SIGNATURE_CERTIFICATE = "signature-certificate"
    NO_DIGITAL_SIGNATURE = "no-digital-signature"
    NO_CLIENT_AUTH = "no-client-auth"
    NO_CATEGORY = "no-category"
    SOFTWARE_CERTIFICATE = "software-certificate"
    SECURITY_MODULE = "security-module"
    TEST_CATEGORY = "test-category"
    UNKNOWN_CATEGORY = "unknown-category"
    NO_CARD_TYPE = "no-card-type"
    CARD_TYPE_NOT_ACCEPTED = "card-type-not-accepted"
    ISSUER_NOT_PERSONNES = "issuer-not-personnes"


def check_login_purpose(
    certificate: CpsCertificate,
    trust: TrustStore,
    *,
    card_types: frozenset[CardType] = ALL_CARD_TYPES,
) -> None:
    """Return if the certificate is an authentication certificate of an accepted card.

    Args:
        certificate: one whose chain holds.
        trust: says whether TEST cards may log in.
        card_types: those that may log in here.

    Raises:
        WrongPurpose: reason is one of `Mismatch`.

    Source: key usages as in published ANS TEST certificates; ANS tables G01 and G02.
    """
    mismatch = (
        _usage_mismatch(certificate.x509)
        or _category_mismatch(certificate.category, test_cards=trust.test_cards)
        or _card_type_mismatch(certificate.practitioner.card_type, card_types)
        or _issuer_mismatch(certificate.x509)
    )
    if mismatch is not None:
        raise WrongPurpose(certificate.sha256_hex, mismatch.value)


def _usage_mismatch(certificate: x509.Certificate) -> Mismatch | None:
    usage = extension_of(certificate, x509.KeyUsage)
    if usage is not None and usage.content_commitment:  # nonRepudiation: it signs documents
        return Mismatch.SIGNATURE_CERTIFICATE
    if usage is None or not usage.digital_signature:
        return Mismatch.NO_DIGITAL_SIGNATURE
    extended = extension_of(certificate, x509.ExtendedKeyUsage)
    if extended is None or ExtendedKeyUsageOID.CLIENT_AUTH not in extended:
        return Mismatch.NO_CLIENT_AUTH
    return None


def _category_mismatch(category: int | None, *, test_cards: bool) -> Mismatch | None:
    if category is None:
        return Mismatch.NO_CATEGORY
    is_test, kind = bool(category & CATEGORY_TEST), category & ~CATEGORY_TEST
    if kind == CATEGORY_SOFTWARE:
        return Mismatch.SOFTWARE_CERTIFICATE
    if kind == CATEGORY_MODULE:
        return Mismatch.SECURITY_MODULE
    if kind != CATEGORY_CARD:
        return Mismatch.UNKNOWN_CATEGORY
    return Mismatch.TEST_CATEGORY if is_test and not test_cards else None


def _card_type_mismatch(
    card_type: CardType | None, accepted: frozenset[CardType]
) -> Mismatch | None:
    if card_type is None:
        return Mismatch.NO_CARD_TYPE
    return None if card_type in accepted else Mismatch.CARD_TYPE_NOT_ACCEPTED


def _issuer_mismatch(certificate: x509.Certificate) -> Mismatch | None:
    names = certificate.issuer.get_attributes_for_oid(NameOID.COMMON_NAME)
    text = names[0].value if len(names) == 1 else ""
    is_for_persons = isinstance(text, str) and text.split()[-1:] == [_PERSONS]
    return None if is_for_persons else Mismatch.ISSUER_NOT_PERSONNES

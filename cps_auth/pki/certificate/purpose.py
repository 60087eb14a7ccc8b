"""Purpose of a genuine certificate: whether it is for logging a person in. A reason code per no."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from cps_auth.errors import WrongPurpose
from cps_auth.model import CardType
from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.names import shown_name
from cps_auth.pki.certificate.parse import CpsCertificate
from cps_auth.pki.certificate.profiles import IGC_SANTE_LOGIN, CardRule, CertificateProfile

ALL_CARD_TYPES = frozenset(CardType)

CATEGORY_CARD = 0x00
CATEGORY_MODULE = 0x02
CATEGORY_SOFTWARE = 0x03
CATEGORY_TEST = 0x80
"""gipCardCategory, ANS table G01; the highest bit marks TEST."""

ANY_POLICY = "2.5.29.32.0"
"""RFC 5280 section 4.2.1.4."""

_PERSONS = "PERSONNES"
"""Last word of the names of the authorities that certify persons; the gamme is before it."""


class PurposeMismatch(enum.StrEnum):
    """The reasons of WrongPurpose."""

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
    ISSUER_OF_OTHER_CARDS = "issuer-of-other-cards"
    POLICY_REFUSED = "policy-refused"
    POLICY_NOT_ACCEPTED = "policy-not-accepted"


def check_login_purpose(
    certificate: CpsCertificate,
    *,
    test_cards: bool,
    card_types: frozenset[CardType] = ALL_CARD_TYPES,
    profile: CertificateProfile = IGC_SANTE_LOGIN,
    valid_policies: frozenset[str] | None = None,
    issuer_name: str | None = None,
) -> None:
    """Return if the certificate is an authentication certificate of an accepted card.

    Args:
        certificate: one whose chain holds.
        test_cards: whether TEST cards may log in, as the trust store says.
        card_types: those that may log in here, where the profile knows card types.
        profile: the rules.
        valid_policies: those that are valid along the chain; its own when None.
        issuer_name: common name of the authority; as the certificate says when None.

    Raises:
        WrongPurpose: reason is one of `PurposeMismatch`.

    Source: key usages as in published ANS TEST certificates; ANS tables G01 and G02.
    """
    asserted = certificate.extensions.policies
    valid = asserted if valid_policies is None else valid_policies
    card_type = certificate.practitioner.card_type
    mismatch = _usage_mismatch(certificate, profile) or _policy_mismatch(asserted, valid, profile)
    if mismatch is None and profile.cards is not None:
        name = shown_name(certificate.x509.issuer) if issuer_name is None else issuer_name
        mismatch = (
            _category_mismatch(certificate.category, test_cards=test_cards)
            or _card_type_mismatch(card_type, card_types)
            or _issuer_mismatch(name, card_type, profile.cards)
        )
    if mismatch is not None:
        raise WrongPurpose(certificate.sha256_hex, mismatch)


def valid_policies(leaf: ParsedCertificate, issuers: Sequence[ParsedCertificate]) -> frozenset[str]:
    """Return the leaf's policies that every authority below the anchor stands behind.

    Args:
        leaf: of a chain that holds.
        issuers: above it, anchor last; the anchor is not asked (RFC 5280 section 6.1.1).

    Mapping is not done: a mapped policy is not a valid one, and a critical constraint on
    policies is refused by the verifier.
    """
    valid = leaf.extensions.policies
    for authority in issuers[:-1]:
        allowed = authority.extensions.policies
        if ANY_POLICY not in allowed:
            valid &= allowed
    return valid


def purpose_warnings(policies: frozenset[str], profile: CertificateProfile) -> tuple[str, ...]:
    """Return stable codes of what is odd about an accepted certificate, and not a reason."""
    expected = profile.expected_policies
    return ("policy-not-expected",) if expected and not _any_under(policies, expected) else ()


def _any_under(policies: frozenset[str], arcs: frozenset[str]) -> bool:
    """Return whether one of the policies is one of these arcs, or below one."""
    return any(policy == arc or policy.startswith(arc + ".") for policy in policies for arc in arcs)


def _usage_mismatch(
    certificate: ParsedCertificate, profile: CertificateProfile
) -> PurposeMismatch | None:
    usage = certificate.extensions.known.get(x509.KeyUsage)
    signs_documents = usage is not None and usage.content_commitment  # nonRepudiation
    if signs_documents and profile.refuse_content_commitment:
        return PurposeMismatch.SIGNATURE_CERTIFICATE
    if usage is None or not usage.digital_signature:
        return PurposeMismatch.NO_DIGITAL_SIGNATURE
    extended = certificate.extensions.known.get(x509.ExtendedKeyUsage)
    if extended is None:
        return PurposeMismatch.NO_CLIENT_AUTH if profile.extended_usage_required else None
    if profile.any_extended_usage and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in extended:
        return None
    return None if profile.extended_usages.issubset(extended) else PurposeMismatch.NO_CLIENT_AUTH


def _policy_mismatch(
    asserted: frozenset[str], valid: frozenset[str], profile: CertificateProfile
) -> PurposeMismatch | None:
    if _any_under(asserted, profile.refused_policies):
        return PurposeMismatch.POLICY_REFUSED
    if profile.policies and not _any_under(valid, profile.policies):
        return PurposeMismatch.POLICY_NOT_ACCEPTED
    return None


def _category_mismatch(category: int | None, *, test_cards: bool) -> PurposeMismatch | None:
    if category is None:
        return PurposeMismatch.NO_CATEGORY
    is_test, kind = bool(category & CATEGORY_TEST), category & ~CATEGORY_TEST
    if kind == CATEGORY_SOFTWARE:
        return PurposeMismatch.SOFTWARE_CERTIFICATE
    if kind == CATEGORY_MODULE:
        return PurposeMismatch.SECURITY_MODULE
    if kind != CATEGORY_CARD:
        return PurposeMismatch.UNKNOWN_CATEGORY
    return PurposeMismatch.TEST_CATEGORY if is_test and not test_cards else None


def _card_type_mismatch(
    card_type: CardType | None, accepted: frozenset[CardType]
) -> PurposeMismatch | None:
    if card_type is None:
        return PurposeMismatch.NO_CARD_TYPE
    return None if card_type in accepted else PurposeMismatch.CARD_TYPE_NOT_ACCEPTED


def _issuer_mismatch(
    issuer_name: str, card_type: CardType | None, cards: Mapping[CardType, CardRule]
) -> PurposeMismatch | None:
    words = issuer_name.split()
    if words[-1:] != [_PERSONS]:
        return PurposeMismatch.ISSUER_NOT_PERSONNES
    rule = None if card_type is None else cards.get(card_type)
    if rule is None:
        return PurposeMismatch.CARD_TYPE_NOT_ACCEPTED
    return None if rule.gammes.intersection(words[-2:-1]) else PurposeMismatch.ISSUER_OF_OTHER_CARDS

"""Only an authentication certificate of an accepted card is for logging in."""

from __future__ import annotations

import dataclasses

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from cps_auth.errors import WrongPurpose
from cps_auth.model import CardType
from cps_auth.pki.certificate.parse import parse_certificate
from cps_auth.pki.certificate.profiles import CARD_RULES, IGC_SANTE_LOGIN, POLICY_ARC
from cps_auth.pki.certificate.purpose import check_login_purpose
from hardware_mocks.igc.card_certificates import (
    OID_CARD_TYPE,
    OID_CATEGORY,
    CertificateUse,
    private_extension,
)
from hardware_mocks.igc.certificates import ca_name, key_usage, sign_certificate
from hardware_mocks.igc.fake_igc import FakeIgcSante


def _reason(der: bytes, *, test_cards: bool = False) -> str:
    with pytest.raises(WrongPurpose) as caught:
        check_login_purpose(parse_certificate(der), test_cards=test_cards)
    return caught.value.reason


def _category(igc: FakeIgcSante, category: int) -> bytes:
    return igc.issue(igc.request(category=category))


@pytest.mark.parametrize("name", ["doctor", "pharmacist", "nurse", "cpe-nameless"])
def test_authentication_certificates_are_for_logging_in(igc: FakeIgcSante, name: str) -> None:
    """The authentication certificate of every ordinary persona passes."""
    der = igc.credentials(name).authentication_certificate_der
    check_login_purpose(parse_certificate(der), test_cards=False)


def test_signature_certificates_are_not(igc: FakeIgcSante) -> None:
    """A signature certificate is refused, even one that also carries digitalSignature."""
    der = igc.credentials("doctor").signature_certificate_der
    assert _reason(der) == "signature-certificate"
    both = key_usage("digital_signature", "content_commitment")
    request = igc.request().having(both, critical=True)
    assert _reason(igc.issue(request)) == "signature-certificate"


@pytest.mark.parametrize("usage", [key_usage("key_encipherment"), None])
def test_key_usage_must_say_digital_signature(
    igc: FakeIgcSante, usage: x509.KeyUsage | None
) -> None:
    """Another key usage, or none, is refused."""
    request = igc.request().without(x509.KeyUsage.oid)
    if usage is not None:
        request = request.having(usage, critical=True)
    assert _reason(igc.issue(request)) == "no-digital-signature"


@pytest.mark.parametrize(
    "oids",
    [
        None,
        [ExtendedKeyUsageOID.EMAIL_PROTECTION],
        [ExtendedKeyUsageOID.SMARTCARD_LOGON],
        [ObjectIdentifier("2.5.29.37.0")],
    ],
)
def test_extended_key_usage_must_say_client_auth(
    igc: FakeIgcSante, oids: list[ObjectIdentifier] | None
) -> None:
    """Without clientAuth by name it is refused; any purpose is not clientAuth."""
    request = igc.request().without(x509.ExtendedKeyUsage.oid)
    if oids is not None:
        request = request.having(x509.ExtendedKeyUsage(oids), critical=False)
    assert _reason(igc.issue(request)) == "no-client-auth"


@pytest.mark.parametrize(
    ("category", "reason"),
    [
        (0x80, "test-category"),
        (0x03, "software-certificate"),
        (0x83, "software-certificate"),
        (0x02, "security-module"),
        (0x82, "security-module"),
        (0x01, "unknown-category"),
        (0x7F, "unknown-category"),
    ],
)
def test_only_cards_are_accepted(igc: FakeIgcSante, category: int, reason: str) -> None:
    """Software, modules, TEST cards and unknown categories are each refused by name."""
    assert _reason(_category(igc, category)) == reason


def test_test_cards_where_they_are_allowed(igc: FakeIgcSante) -> None:
    """A store that allows TEST cards takes them, and still no TEST software."""
    test_card = parse_certificate(_category(igc, 0x80))
    check_login_purpose(test_card, test_cards=True)
    assert _reason(_category(igc, 0x83), test_cards=True) == "software-certificate"


def test_category_and_card_type_must_be_there(igc: FakeIgcSante) -> None:
    """A certificate that doesn't say from what card it is is refused."""
    assert _reason(igc.issue(igc.request().without(OID_CATEGORY))) == "no-category"
    assert _reason(igc.issue(igc.request().without(OID_CARD_TYPE))) == "no-card-type"


@pytest.mark.parametrize("card_type", CardType)
def test_card_types_are_a_choice(igc: FakeIgcSante, card_type: CardType) -> None:
    """A card type passes where it is accepted and nowhere else."""
    extension, critical = private_extension(OID_CARD_TYPE, 0x02, bytes([card_type]))
    certificate = parse_certificate(igc.issue(igc.request().having(extension, critical=critical)))
    check_login_purpose(certificate, test_cards=False, card_types=frozenset({card_type}))
    others = frozenset(CardType) - {card_type}
    with pytest.raises(WrongPurpose) as caught:
        check_login_purpose(certificate, test_cards=False, card_types=others)
    assert caught.value.reason == "card-type-not-accepted"


@pytest.mark.parametrize(
    "issuer",
    ["FICTIVE AC IGC-SANTE FORT ORGANISATIONS", "FICTIVE AC RACINE IGC-SANTE FORT", "XPERSONNES"],
)
def test_issuer_certifies_persons(igc: FakeIgcSante, issuer: str) -> None:
    """A certificate of an authority for organisations, or of a root, is refused."""
    key = igc.authorities["fort"].key
    certificate = parse_certificate(igc.credentials("doctor").authentication_certificate_der)
    other = dataclasses.replace(
        certificate, x509=sign_certificate(igc.request(), ca_name(issuer), key)
    )
    with pytest.raises(WrongPurpose) as caught:
        check_login_purpose(other, test_cards=False)
    assert caught.value.reason == "issuer-not-personnes"


def test_both_certificates_of_a_signature_only_card_are_refused(igc: FakeIgcSante) -> None:
    """The card that holds only signature certificates logs nobody in."""
    card = igc.credentials("signature-only")
    for der in (card.authentication_certificate_der, card.signature_certificate_der):
        assert _reason(der) == "signature-certificate"


def test_uses_differ_in_the_fake_too(igc: FakeIgcSante) -> None:
    """A signature request by the same persona differs from the authentication one."""
    der = igc.issue(igc.request("nurse", CertificateUse.SIGNATURE))
    assert _reason(der) == "signature-certificate"


def test_card_type_that_a_profile_has_no_rule_for(igc: FakeIgcSante) -> None:
    """A scheme that knows some card types accepts no others."""
    certificate = parse_certificate(igc.credentials("doctor").authentication_certificate_der)
    rules = {kind: rule for kind, rule in CARD_RULES.items() if kind is not CardType.CPS}
    profile = dataclasses.replace(IGC_SANTE_LOGIN, cards=rules)
    with pytest.raises(WrongPurpose) as caught:
        check_login_purpose(certificate, test_cards=False, profile=profile)
    assert caught.value.reason == "card-type-not-accepted"


def test_policies_of_a_certificate_alone(igc: FakeIgcSante) -> None:
    """Without those that are valid along the chain, its own are asked."""
    certificate = parse_certificate(igc.credentials("doctor").authentication_certificate_der)
    for policies, accepted in ((frozenset({POLICY_ARC}), True), (frozenset({"1.2"}), False)):
        profile = dataclasses.replace(IGC_SANTE_LOGIN, policies=policies)
        if accepted:
            check_login_purpose(certificate, test_cards=False, profile=profile)
        with pytest.raises(WrongPurpose) as caught:
            check_login_purpose(
                certificate, test_cards=False, profile=profile, valid_policies=frozenset({"1.3"})
            )
        assert caught.value.reason == "policy-not-accepted"

"""Certificate profiles: what a scheme asks of a certificate that logs somebody in, as data.

Two come with the product: cards of the IGC-Santé, and any European eID.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from cps_auth.model import CardType, Practitioner
from cps_auth.pki.certificate.fields import ParsedCertificate
from cps_auth.pki.certificate.identity import read_display_attributes, read_practitioner

HolderReader = Callable[[ParsedCertificate], Practitioner]
"""Reads who a certificate names; raises ValueError, with no personal data in its text."""


@dataclass(frozen=True)
class KeyRules:
    """Kinds and sizes of keys. NIST SP 800-57 part 1, table 2: 112 bits of security and more."""

    rsa_min_bits: int = 2048
    rsa_max_bits: int = 8192  # larger ones only cost time
    curves: frozenset[str] = frozenset({"secp256r1", "secp384r1", "secp521r1"})


DEFAULT_KEY_RULES = KeyRules()


@dataclass(frozen=True)
class CardRule:
    """The rule for one type of card of the IGC-Santé.

    Attributes:
        gammes: of the authorities that certify such cards.
        seen: how well that is known, for whoever has to change it.
    """

    gammes: frozenset[str]
    seen: str


@dataclass(frozen=True)
class CertificateProfile:
    """A scheme's rules for the certificate of a person who logs in.

    Attributes:
        name: shown in every verdict.
        read_holder: reads who the certificate names.
        keys: of the holder and of the authorities.
        extended_usages: all of them have to be there by name.
        extended_usage_required: whether a certificate without the extension is refused.
        any_extended_usage: whether anyExtendedKeyUsage stands for all of them.
        refuse_content_commitment: whether nonRepudiation marks a signature certificate.
        policies: at least one of these, or one below them, valid along the chain; none: any.
        refused_policies: none of these, nor one below them.
        expected_policies: arcs; a certificate with none of them is accepted with a warning.
        max_intermediates: between anchor and holder.
        cards: what is asked of the private extensions of the IGC-Santé, by card type; None
            for a scheme that has none.
    """

    name: str
    read_holder: HolderReader = field(repr=False)
    keys: KeyRules = DEFAULT_KEY_RULES
    extended_usages: frozenset[ObjectIdentifier] = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH})
    extended_usage_required: bool = True
    any_extended_usage: bool = False
    refuse_content_commitment: bool = True
    policies: frozenset[str] = frozenset()
    refused_policies: frozenset[str] = frozenset()
    expected_policies: frozenset[str] = frozenset()
    max_intermediates: int = 1
    cards: Mapping[CardType, CardRule] | None = field(default=None, hash=False)


FORT, STANDARD = "FORT", "STANDARD"
"""Gammes of the IGC-Santé whose cards may log in; ELEMENTAIRE is for software."""

CARD_RULES = MappingProxyType(
    {
        CardType.CPS: CardRule(frozenset({FORT}), "ANS TEST certificates"),
        CardType.CPF: CardRule(frozenset({FORT, STANDARD}), "not seen: both are taken"),
        CardType.CPE: CardRule(frozenset({FORT, STANDARD}), "STANDARD in ANS TEST certificates"),
        CardType.CPA: CardRule(frozenset({FORT, STANDARD}), "STANDARD as reported, not seen"),
    }
)

POLICY_ARC = "1.2.250.1.213.1.7"
"""Policies of the IGC-Santé: .1 production, .2 TEST (published certificates of both)."""

IGC_SANTE_LOGIN = CertificateProfile(
    name="IGC-Santé card, authentication",
    read_holder=read_practitioner,
    expected_policies=frozenset({POLICY_ARC}),
    cards=CARD_RULES,
)
"""Authentication certificates of CPS, CPF, CPE and CPA. Policies of production cards are not
published: another one than expected is a warning, not a refusal."""


def read_person(certificate: ParsedCertificate) -> Practitioner:
    """Return the holder of an eID: serialNumber as identifier, and the names.

    Raises:
        ValueError: no identifier, several, or text that is not fit to be shown.

    Source: ETSI EN 319 412-1 section 5.1.3, EN 319 412-2 section 4.2.4.
    """
    names = read_display_attributes(
        certificate.subject,
        {
            NameOID.SERIAL_NUMBER: "serial number",
            NameOID.COMMON_NAME: "common name",
            NameOID.SURNAME: "surname",
            NameOID.GIVEN_NAME: "given name",
            NameOID.ORGANIZATION_NAME: "organization",
        },
    )
    identifier = names.get(NameOID.SERIAL_NUMBER)
    if not identifier:
        raise ValueError("serial number: absent")
    return Practitioner(
        ps_idnat=identifier,
        card_type=None,
        surname=names.get(NameOID.SURNAME),
        given_name=names.get(NameOID.GIVEN_NAME),
        organisation=names.get(NameOID.ORGANIZATION_NAME),
    )


def read_shown_name(certificate: ParsedCertificate) -> Practitioner:
    """Return whoever a certificate of any scheme names, to be shown and never to be believed.

    Raises:
        ValueError: a name that is there twice, or that is not fit to be shown.
    """
    names = read_display_attributes(
        certificate.subject,
        {
            NameOID.COMMON_NAME: "common name",
            NameOID.SURNAME: "surname",
            NameOID.GIVEN_NAME: "given name",
        },
    )
    return Practitioner(
        ps_idnat=names.get(NameOID.COMMON_NAME, ""),
        card_type=None,
        surname=names.get(NameOID.SURNAME),
        given_name=names.get(NameOID.GIVEN_NAME),
    )


SHOWN_ONLY = CertificateProfile(name="any certificate, to be shown", read_holder=read_shown_name)
"""Reads a name off a card that is judged elsewhere; no judge has it."""

EID_LOGIN = CertificateProfile(
    name="eID, authentication",
    read_holder=read_person,
    extended_usage_required=False,
    # Disallowed by the Web eID libraries: Estonian Mobile-ID certificates.
    refused_policies=frozenset({"1.3.6.1.4.1.10015.1.3"}),
    max_intermediates=2,
)
"""An eID card as Web eID sites take it; sites pass `dataclasses.replace` of it."""

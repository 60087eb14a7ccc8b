"""The profiles that come with the product: cards of the IGC-Santé, and any European eID."""

from __future__ import annotations

from types import MappingProxyType

from cryptography import x509
from cryptography.x509.oid import NameOID

from cps_auth.model import CardType, Practitioner
from cps_auth.pki.certificate.identity import read_display_attributes, read_practitioner
from cps_auth.pki.certificate.parts import subject_of
from cps_auth.pki.certificate.profile import CardRule, CertificateProfile

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


def read_person(certificate: x509.Certificate) -> Practitioner:
    """Return the holder of an eID: serialNumber as identifier, and the names.

    Raises:
        ValueError: no identifier, several, or text that is not fit to be shown.

    Source: ETSI EN 319 412-1 section 5.1.3, EN 319 412-2 section 4.2.4.
    """
    names = read_display_attributes(
        subject_of(certificate),
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


def read_shown_name(certificate: x509.Certificate) -> Practitioner:
    """Return whoever a certificate of any scheme names, to be shown and never to be believed.

    Raises:
        ValueError: a name that is there twice, or that is not fit to be shown.
    """
    names = read_display_attributes(
        subject_of(certificate),
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

"""What a certificate says, read from bytes that anybody may have sent."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from cps_auth.der import element_at, inside
from cps_auth.errors import CertificateMalformed
from cps_auth.model import CardType
from cps_auth.pki.certificate.identity import TRAINING
from cps_auth.pki.certificate.parse import CERTIFICATE_MAX_BYTES, parse_certificate
from cps_auth.pki.certificate.profiles import SHOWN_ONLY
from hardware_mocks.igc.card_certificates import (
    OID_CARD_ID,
    OID_CARD_TYPE,
    OID_CATEGORY,
    OID_PROFESSION,
    OID_SPECIALITY,
    private_extension,
)
from hardware_mocks.igc.fake_igc import FakeIgcSante
from hardware_mocks.personas import PERSONAS

Attributes = list[tuple[x509.ObjectIdentifier, str]]


def _subject(*rdns: Attributes) -> x509.Name:
    return x509.Name(
        [
            x509.RelativeDistinguishedName([x509.NameAttribute(*pair) for pair in rdn])
            for rdn in rdns
        ]
    )


def _malformed(der: bytes) -> str:
    with pytest.raises(CertificateMalformed) as caught:
        parse_certificate(der)
    return caught.value.what


@pytest.mark.parametrize("name", PERSONAS)
def test_every_persona_is_read(igc: FakeIgcSante, name: str) -> None:
    """Identifier, card type, names, codes and card number come out as they went in."""
    persona = PERSONAS[name]
    read = parse_certificate(igc.credentials(name).authentication_certificate_der).practitioner
    assert read.ps_idnat == persona.ps_idnat
    assert read.card_type is persona.card_type
    assert (read.surname, read.given_name) == (persona.surname, persona.given_name)
    assert read.title == persona.title
    assert (read.organisation, read.structure_id) == (persona.organisation, persona.structure_id)
    assert read.card_number == f"8025000001/{persona.card_number}"
    assert read.specialities == ((persona.speciality,) if persona.speciality else ())
    code = persona.profession_code
    assert read.profession_code == (None if code is None else str(code))


def test_doctor_has_an_rpps_and_a_label(igc: FakeIgcSante) -> None:
    """The RPPS is the identifier without its type, and the profession has its French label."""
    read = parse_certificate(igc.credentials("doctor").authentication_certificate_der)
    assert read.practitioner.rpps == "99900000011"
    assert read.practitioner.profession == "Médecin"
    assert read.category == 0x00
    assert int(read.serial_hex, 16) == read.x509.serial_number


def test_nameless_cpe_shows_its_organisation(igc: FakeIgcSante) -> None:
    """A CPE without any name is shown by its organisation and identifier."""
    read = parse_certificate(igc.credentials("cpe-nameless").authentication_certificate_der)
    assert read.practitioner.rpps is None
    assert read.practitioner.display_name == "CENTRE DE SANTE DES TILLEULS 30B0000044/CPET0004"


def test_order_of_names_does_not_matter(igc: FakeIgcSante) -> None:
    """The attributes are found in any RDN and in any order."""
    names: Attributes = [
        (NameOID.COMMON_NAME, "899900000011"),
        (NameOID.SURNAME, "Y"),
        (NameOID.GIVEN_NAME, "A much longer given name"),
    ]
    together = igc.issue_leaf(subject=_subject(names))
    apart = igc.issue_leaf(subject=_subject(*[[pair] for pair in reversed(names)]))
    assert parse_certificate(together.der).practitioner == parse_certificate(apart.der).practitioner


def test_attributes_that_nobody_reads_may_come_twice(igc: FakeIgcSante) -> None:
    """Domain components come by twos; only what is read has to be there once."""
    names: Attributes = [(NameOID.COMMON_NAME, "899900000011")]
    domain: list[Attributes] = [[(NameOID.DOMAIN_COMPONENT, part)] for part in ("fr", "example")]
    leaf = igc.issue_leaf(subject=_subject(*domain, names))
    assert parse_certificate(leaf.der).practitioner.ps_idnat == "899900000011"


def test_a_unit_that_is_no_identifier_is_no_structure(igc: FakeIgcSante) -> None:
    """An organizational unit in words is not taken for the identifier of a structure."""
    names: Attributes = [(NameOID.COMMON_NAME, "899900000011")]
    units = {"Service de nuit": None, "318751275100020": "318751275100020"}
    for unit, structure_id in units.items():
        leaf = igc.issue_leaf(subject=_subject([*names, (NameOID.ORGANIZATIONAL_UNIT_NAME, unit)]))
        assert parse_certificate(leaf.der).practitioner.structure_id == structure_id


def test_a_name_of_blanks_is_none(igc: FakeIgcSante) -> None:
    """A surname of spaces is absent, on screens and in logs."""
    names: Attributes = [(NameOID.COMMON_NAME, "899900000011"), (NameOID.SURNAME, "  ")]
    leaf = igc.issue_leaf(subject=_subject(names))
    assert parse_certificate(leaf.der).practitioner.surname is None


def test_older_strings_are_read(igc: FakeIgcSante) -> None:
    """A name in a T61String (tag 0x14) is read like one in UTF-8, in Latin-1 too."""
    der = igc.credentials("doctor").authentication_certificate_der
    older = der.replace(b"\x0c\x08LAVERGNE", b"\x14\x08LAVERGNE")
    assert older != der
    assert parse_certificate(older).practitioner.surname == "LAVERGNE"
    latin_1 = der.replace(b"\x0c\x08LAVERGNE", b"\x14\x08LAV\xc9RGNE")
    assert parse_certificate(latin_1).practitioner.surname == "LAVÉRGNE"


@pytest.mark.parametrize(
    "ps_idnat", ["899900000011", "00B6087510", "30B0057881/CPET0002", "318751275100020/1", "0A"]
)
def test_accepts_every_form_of_identifier(igc: FakeIgcSante, ps_idnat: str) -> None:
    """RPPS, ADELI with letters, and establishment identifiers with a slash are accepted."""
    leaf = igc.issue_leaf(subject=_subject([(NameOID.COMMON_NAME, ps_idnat)]))
    assert parse_certificate(leaf.der).practitioner.ps_idnat == ps_idnat


@pytest.mark.parametrize(
    "common_name",
    ["www.example.fr", "8", "A99900000011", "8999/", "8999/A/B", "8/../x", "899900000011\n", "8é9"],
)
def test_refuses_what_is_no_identifier(igc: FakeIgcSante, common_name: str) -> None:
    """A common name outside the grammar of PS_IdNat is refused, not repaired."""
    leaf = igc.issue_leaf(subject=_subject([(NameOID.COMMON_NAME, common_name)]))
    assert _malformed(leaf.der).startswith("common name: ")


@pytest.mark.parametrize(
    ("rdns", "what"),
    [
        ([[(NameOID.SURNAME, "X")]], "common name: absent"),
        (
            [[(NameOID.COMMON_NAME, "899900000011")], [(NameOID.COMMON_NAME, "899900000029")]],
            "common name: twice",
        ),
        (
            [
                [(NameOID.COMMON_NAME, "899900000011")],
                [(NameOID.SURNAME, "X")],
                [(NameOID.SURNAME, "Y")],
            ],
            "surname: twice",
        ),
        (
            [[(NameOID.COMMON_NAME, "899900000011")], [(NameOID.SURNAME, "X\x1b[2JY")]],
            "surname: control characters",
        ),
        (
            [[(NameOID.COMMON_NAME, "899900000011")], [(NameOID.GIVEN_NAME, "A\u202eB")]],
            "given name: control characters",
        ),
    ],
)
def test_refuses_ambiguous_subjects(igc: FakeIgcSante, rdns: Any, what: str) -> None:
    """No identifier, two of them, or names that could fool a screen are refused by name."""
    assert _malformed(igc.issue_leaf(subject=_subject(*rdns)).der) == what


@pytest.mark.parametrize(
    ("oid", "tag", "content", "what"),
    [
        (OID_CARD_TYPE, 0x02, b"\x04", "card type: out of range"),
        (OID_CARD_TYPE, 0x02, b"\xff", "card type: not a small number"),
        (OID_CARD_TYPE, 0x02, b"\x00\x02", "card type: not DER"),
        (OID_CARD_TYPE, 0x04, b"\x00", "card type: not the expected DER type"),
        (OID_CARD_TYPE, 0x02, b"", "card type: not a small number"),
        (OID_CATEGORY, 0x04, b"\x00\x00", "category: not one byte"),
        (OID_CATEGORY, 0x02, b"\x00", "category: not the expected DER type"),
        (OID_CARD_ID, 0x0C, b"8025000001/1", "card id: not the expected DER type"),
        (OID_CARD_ID, 0x13, b"80\x00", "private extension: not a printable string"),
        (OID_PROFESSION, 0x02, b"\x00\x00\x0a", "profession: not a small number"),
        (OID_SPECIALITY, 0x30, b"\x0c\x04SM", "speciality: not the expected DER type"),
    ],
)
def test_private_extensions_are_strict(
    igc: FakeIgcSante, oid: x509.ObjectIdentifier, tag: int, content: bytes, what: str
) -> None:
    """A private extension of another type, length or range is refused by name."""
    extension, critical = private_extension(oid, tag, content)
    request = igc.request().having(extension, critical=critical)
    assert _malformed(igc.issue(request)) == what


@pytest.mark.parametrize(
    ("oid", "value", "what"),
    [
        (OID_CATEGORY, b"\x04\x01\x00\x00", "category"),
        (OID_CARD_TYPE, b"\x02\x01\x00\x05\x00", "card type"),
        (OID_CARD_ID, b"\x13\x01\x31\x31", "card id"),
    ],
)
def test_nothing_follows_a_private_value(
    igc: FakeIgcSante, oid: x509.ObjectIdentifier, value: bytes, what: str
) -> None:
    """Bytes after the one value of a private extension are refused."""
    request = igc.request().having(x509.UnrecognizedExtension(oid, value), critical=False)
    assert _malformed(igc.issue(request)) == f"{what}: trailing bytes"


@pytest.mark.parametrize(
    ("oid", "value", "what"),
    [
        (OID_CATEGORY, b"", "category"),
        (OID_CATEGORY, b"\x04", "category"),
        (OID_CARD_ID, b"\x13\x81" + b"1" * 0x81, "card id"),
    ],
    ids=["empty", "tag-only", "long-length"],
)
def test_private_values_are_whole_and_short(
    igc: FakeIgcSante, oid: x509.ObjectIdentifier, value: bytes, what: str
) -> None:
    """A private extension without its length, or with one in long form, is refused by name."""
    request = igc.request().having(x509.UnrecognizedExtension(oid, value), critical=False)
    assert _malformed(igc.issue(request)) == f"{what}: not the expected DER type"


def test_a_profile_without_cards_reads_no_category(igc: FakeIgcSante) -> None:
    """What the IGC-Santé writes into its own extensions is nothing to another scheme."""
    odd = x509.UnrecognizedExtension(OID_CATEGORY, b"\x05\x00")
    der = igc.issue(igc.request().having(odd, critical=False))
    assert parse_certificate(der, SHOWN_ONLY).category is None


def test_a_number_of_two_bytes_need_not_begin_with_zero(igc: FakeIgcSante) -> None:
    """Codes above 255 are read: 300 is 01 2C."""
    extension, critical = private_extension(OID_PROFESSION, 0x02, b"\x01\x2c")
    read = parse_certificate(igc.issue(igc.request().having(extension, critical=critical)))
    assert read.practitioner.profession_code == "300"


@pytest.mark.filterwarnings("ignore:Attribute's length")  # the library's own, and no refusal
def test_identifier_has_a_longest(igc: FakeIgcSante) -> None:
    """A PS_IdNat of 64 characters is read, one of 65 is refused (RFC 5280, ub-common-name)."""
    longest = "0".ljust(64, "A")
    leaf = igc.issue_leaf(subject=_subject([(NameOID.COMMON_NAME, longest)]))
    assert parse_certificate(leaf.der).practitioner.ps_idnat == longest
    name = x509.NameAttribute(NameOID.COMMON_NAME, f"{longest}A", _validate=False)
    leaf = igc.issue_leaf(subject=x509.Name([name]))
    assert _malformed(leaf.der) == "common name: not a PS_IdNat"


def test_other_spaces_are_shown(igc: FakeIgcSante) -> None:
    """A no-break space inside a name is no control character."""
    names: Attributes = [(NameOID.COMMON_NAME, "899900000011"), (NameOID.SURNAME, "LE\xa0GALL")]
    leaf = igc.issue_leaf(subject=_subject(names))
    assert parse_certificate(leaf.der).practitioner.surname == "LE\xa0GALL"


def test_unknown_profession_is_no_error(igc: FakeIgcSante) -> None:
    """A profession code that is in no table of ours is kept, without a label."""
    extension, critical = private_extension(OID_PROFESSION, 0x02, b"\x00\xc8")
    read = parse_certificate(igc.issue(igc.request().having(extension, critical=critical)))
    assert (read.practitioner.profession_code, read.practitioner.profession) == ("200", None)


def test_profession_in_training_is_no_profession(igc: FakeIgcSante) -> None:
    """What a CPF is in training for is told apart; in a form that we do not know it is nothing."""
    request = igc.request().without(OID_PROFESSION)
    for tag, content, expected in (
        (0x02, b"\x0a", ("10", "Médecin")),
        (0x02, b"\x63", ("99", None)),
        (0x13, b"10", (None, None)),
    ):
        extension, critical = private_extension(TRAINING, tag, content)
        holder = parse_certificate(igc.issue(request.having(extension, critical=critical)))
        read = holder.practitioner
        assert (read.training_code, read.training) == expected
        assert (read.profession_code, read.profession) == (None, None)


def test_absent_private_extensions_are_unknown(igc: FakeIgcSante) -> None:
    """Without private extensions, card type, category and codes are None, not a default."""
    oids = (OID_CARD_TYPE, OID_CATEGORY, OID_CARD_ID, OID_PROFESSION, OID_SPECIALITY)
    read = parse_certificate(igc.issue(igc.request().without(*oids)))
    assert read.category is None
    assert read.practitioner.card_type is None
    assert read.practitioner.card_number is None
    assert read.practitioner.profession_code is None


def test_card_types_are_all_read(igc: FakeIgcSante) -> None:
    """Each of the four card types is told apart."""
    for card_type in CardType:
        extension, critical = private_extension(OID_CARD_TYPE, 0x02, bytes([card_type]))
        der = igc.issue(igc.request().having(extension, critical=critical))
        assert parse_certificate(der).practitioner.card_type is card_type


@pytest.mark.parametrize(
    ("number", "is_read"),
    [(b"\x01", True), (b"\0" + b"\xff" * 20, True), (b"\0", False), (b"\x01" + bytes(20), False)],
    ids=["one", "160-bits", "zero", "161-bits"],
)
@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # the library's own, and no refusal
def test_serial_numbers_have_bounds(igc: FakeIgcSante, number: bytes, is_read: bool) -> None:
    """Positive and of at most 160 bits (RFC 5280 section 4.1.2.2)."""
    der = igc.credentials("doctor").authentication_certificate_der
    whole = element_at(der, 0, len(der))
    signed, *rest = inside(der, whole)
    version, serial, *more = inside(der, signed)
    content = der[version.start : version.end] + bytes([2, len(number)]) + number
    content += der[serial.end : more[-1].end]
    content = b"\x30\x82" + len(content).to_bytes(2, "big") + content
    content += der[rest[0].start : rest[-1].end]
    changed = b"\x30\x82" + len(content).to_bytes(2, "big") + content
    if is_read:
        assert parse_certificate(changed).x509.serial_number == int.from_bytes(number, "big")
    else:
        assert _malformed(changed).startswith("serial number: ")


def test_refuses_bytes_around_a_certificate(igc: FakeIgcSante) -> None:
    """Trailing bytes, truncation, PEM text and an absurd length are refused."""
    der = igc.credentials("doctor").authentication_certificate_der
    for spoiled in (der + b"\x00", der[:-1], b"", der + der, b"-----BEGIN CERTIFICATE-----"):
        assert _malformed(spoiled) == "certificate: unreadable, ValueError"
    assert "longer than" in _malformed(der + bytes(CERTIFICATE_MAX_BYTES))


@settings(deadline=None, max_examples=200)
@given(noise=st.binary(max_size=200))
def test_noise_only_raises_our_error(noise: bytes) -> None:
    """Random bytes are refused with our own error and nothing else."""
    with pytest.raises(CertificateMalformed):
        parse_certificate(noise)


@settings(deadline=None, max_examples=400)
@given(data=st.data())
def test_mutations_only_raise_our_error(igc: FakeIgcSante, data: st.DataObject) -> None:
    """A certificate with changed, added or removed bytes is read or refused, never a crash."""
    der = bytearray(igc.credentials("doctor").authentication_certificate_der)
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(der) - 1))
        end = start + data.draw(st.integers(0, 3))
        der[start:end] = data.draw(st.binary(max_size=4))
    with contextlib.suppress(CertificateMalformed):
        assert parse_certificate(bytes(der)).der == der

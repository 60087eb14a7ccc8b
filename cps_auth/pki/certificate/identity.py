"""The holder, as a certificate of the IGC-Santé names them.

Tolerant where real certificates vary (order inside an RDN, absent names, unknown codes),
strict where a decision rests on it (identifier, card type, one value per attribute).
Functions raise ValueError with technical words and no personal data; `parse_certificate`
turns it into CertificateMalformed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from cryptography.x509.oid import NameOID, ObjectIdentifier

from cps_auth.model import CardType, Practitioner
from cps_auth.pki.certificate.fields import Attribute, ParsedCertificate
from cps_auth.pki.certificate.nomenclature import PROFESSIONS

CARD_TYPE = ObjectIdentifier("1.2.250.1.71.1.2.2")
CARD_ID = ObjectIdentifier("1.2.250.1.71.1.2.3")
CATEGORY = ObjectIdentifier("1.2.250.1.71.1.2.5")
PROFESSION = ObjectIdentifier("1.2.250.1.71.1.2.7")
TRAINING = ObjectIdentifier("1.2.250.1.71.1.2.8")
SPECIALITY = ObjectIdentifier("1.2.250.1.71.4.2.5")
"""Private extensions of the arc GIP-CPS, as decoded from certificates of the IGC-Santé; TRAINING
is known as a code system only, and not seen in a certificate."""

_INTEGER, _OCTET_STRING, _UTF8_STRING, _PRINTABLE_STRING, _SEQUENCE = 0x02, 0x04, 0x0C, 0x13, 0x30
"""Tags of X.680 section 8.6."""

_PS_IDNAT = re.compile(r"[0-9]{1,2}[0-9A-Z]+(?:/[0-9A-Z]+)?")
_PS_IDNAT_MAX = 64  # ub-common-name, RFC 5280 appendix A.1
_RPPS = re.compile(r"8([0-9]{11})")
_STRUCTURE_ID = re.compile(r"[0-9][0-9A-Z]+")
_PRINTABLE = re.compile(r"[0-9A-Za-z '()+,./:=?-]+")  # X.680 section 41.4

_READ_ATTRIBUTES = {
    NameOID.COMMON_NAME: "common name",
    NameOID.SURNAME: "surname",
    NameOID.GIVEN_NAME: "given name",
    NameOID.TITLE: "title",
    NameOID.ORGANIZATION_NAME: "organization",
    NameOID.ORGANIZATIONAL_UNIT_NAME: "organizational unit",
}


def read_practitioner(certificate: ParsedCertificate) -> Practitioner:
    """Return who the certificate names.

    Args:
        certificate: of a card.

    Returns:
        The holder. Its card type is None when there is no such extension (software).

    Raises:
        ValueError: the identifier, a name or a private extension breaks the profile.

    Source: published ANS TEST certificates; ANS tables G02, G08, G15 and G16 (codes of G15).
    """
    names = read_display_attributes(certificate.subject, _READ_ATTRIBUTES)
    ps_idnat = _read_ps_idnat(names)
    unit = names.get(NameOID.ORGANIZATIONAL_UNIT_NAME)
    privates = certificate.extensions.private
    card_type = _read_card_type(privates.get(CARD_TYPE))
    code = _code(privates.get(PROFESSION), "profession")
    training = _read_training(privates.get(TRAINING))
    return Practitioner(
        ps_idnat=ps_idnat,
        card_type=card_type,
        surname=names.get(NameOID.SURNAME),
        given_name=names.get(NameOID.GIVEN_NAME),
        rpps=rpps[1] if (rpps := _RPPS.fullmatch(ps_idnat)) else None,
        profession_code=code,
        profession=PROFESSIONS.get(code) if code else None,
        training_code=training,
        training=PROFESSIONS.get(training) if training else None,
        specialities=_read_specialities(privates.get(SPECIALITY)),
        title=names.get(NameOID.TITLE),
        organisation=names.get(NameOID.ORGANIZATION_NAME),
        structure_id=unit if unit and _STRUCTURE_ID.fullmatch(unit) else None,
        card_number=_read_card_number(privates.get(CARD_ID)),
    )


def read_category(certificate: ParsedCertificate) -> int | None:
    """Return gipCardCategory (table G01: 0x00 card, 0x03 software, 0x80 TEST card, …).

    Raises:
        ValueError: the extension is not an OCTET STRING of one byte.
    """
    value = certificate.extensions.private.get(CATEGORY)
    if value is None:
        return None
    content = _content(value, _OCTET_STRING, "category")
    if len(content) != 1:
        raise ValueError("category: not one byte")
    return content[0]


def read_display_attributes(
    subject: Iterable[Attribute], wanted: Mapping[ObjectIdentifier, str]
) -> dict[ObjectIdentifier, str]:
    """Return the attributes of a subject that are wanted, wherever in it they stand.

    Args:
        subject: from `subject_of`.
        wanted: technical words for each, used in errors.

    Raises:
        ValueError: one of them is there twice, or not fit to be shown.
    """
    found: dict[ObjectIdentifier, str] = {}
    for oid, value in subject:
        what = wanted.get(oid)
        if what is None:
            continue
        if oid in found:
            raise ValueError(f"{what}: twice")
        found[oid] = _display_text(value, what)
    return {oid: text for oid, text in found.items() if text}


def _display_text(value: str | bytes, what: str) -> str:
    # It ends on screens and in logs: nothing that moves a cursor or reorders letters.
    if isinstance(value, bytes):
        raise ValueError(f"{what}: not a text")  # noqa: TRY004
    if not all(map(_is_shown, value)):
        raise ValueError(f"{what}: control characters")
    return value.strip()


def _is_shown(letter: str) -> bool:
    return unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _read_ps_idnat(names: dict[ObjectIdentifier, str]) -> str:
    common_name = names.get(NameOID.COMMON_NAME)
    if common_name is None:
        raise ValueError("common name: absent")
    if len(common_name) > _PS_IDNAT_MAX or not _PS_IDNAT.fullmatch(common_name):
        raise ValueError("common name: not a PS_IdNat")
    return common_name


def _read_card_type(value: bytes | None) -> CardType | None:
    if value is None:
        return None
    number = _integer(value, "card type")
    try:
        return CardType(number)
    except ValueError:
        raise ValueError("card type: out of range") from None


def _code(value: bytes | None, what: str) -> str | None:
    return None if value is None else str(_integer(value, what))


def _read_training(value: bytes | None) -> str | None:
    """Return the profession that somebody is in training for; nothing rests on it."""
    try:
        return _code(value, "training")
    except ValueError:  # its encoding is not published
        return None


def _read_specialities(value: bytes | None) -> tuple[str, ...]:
    rest = b"" if value is None else _content(value, _SEQUENCE, "speciality")
    found = []
    while rest:
        content, rest = _first_element(rest, _UTF8_STRING, "speciality")
        found.append(_printable(content))
    return tuple(found)


def _read_card_number(value: bytes | None) -> str | None:
    return None if value is None else _printable(_content(value, _PRINTABLE_STRING, "card id"))


def _printable(content: bytes) -> str:
    text = content.decode("ascii", errors="replace")
    if not _PRINTABLE.fullmatch(text):
        raise ValueError("private extension: not a printable string")
    return text


def _integer(value: bytes, what: str) -> int:
    content = _content(value, _INTEGER, what)
    # Codes of at most three digits; two bytes hold them, the first only where it is needed.
    if not 1 <= len(content) <= 2 or content[0] & 0x80:
        raise ValueError(f"{what}: not a small number")
    if len(content) == 2 and content[0] == 0 and not content[1] & 0x80:
        raise ValueError(f"{what}: not DER")
    return int.from_bytes(content, "big")


def _content(value: bytes, tag: int, what: str) -> bytes:
    content, rest = _first_element(value, tag, what)
    if rest:
        raise ValueError(f"{what}: trailing bytes")
    return content


def _first_element(value: bytes, tag: int, what: str) -> tuple[bytes, bytes]:
    """Split off one DER element with a short length, as all of these have (X.690 8.1.3.4)."""
    if len(value) < 2 or value[0] != tag or value[1] > 0x7F or len(value) < 2 + value[1]:
        raise ValueError(f"{what}: not the expected DER type")
    end = 2 + value[1]
    return value[2:end], value[end:]

"""Invented card holders: four ordinary ones, and one per thing that can be wrong.

Names, identifiers and establishments are fictitious. RPPS numbers use the range of ANS's own
test identities (99900…) and pass the Luhn check, as real ones do.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from cps_auth.model import CardType

PIN = b"1234"
"""Code porteur of every persona, as on ANS's own test cards."""
PUK = b"12345678"

PRIVATE_PRACTICE, PUBLIC_HOSPITAL, HEALTH_CENTRE, PHARMACY = "SA07", "SA01", "SA05", "SA33"
"""Sectors of activity, table R02 of ANS."""


class CertificateDefect(enum.Enum):
    """The defect of a persona's authentication certificate."""

    NONE = "none"
    EXPIRED = "expired"
    REVOKED = "revoked"
    UNKNOWN_ROOT = "unknown-root"
    TEST_CATEGORY = "test-category"
    SIGNATURE_ONLY = "signature-only"


@dataclass(frozen=True, slots=True)
class Workplace:
    """One place where a holder works: what a CPS_ACTIVITY_nn_PS says."""

    number: int  # nn, 1 to 16; a card may leave some out
    name: str
    structure_id: str  # Struct_IdNat: 1 FINESS, 4 RPPS and rank (table G07)
    sector: str  # table R02, such as SA07


@dataclass(frozen=True, slots=True)
class Persona:
    """One invented holder and the state in which their card comes."""

    name: str  # how the command line and the tests call them
    ps_idnat: str
    card_type: CardType
    chip_serial: str  # 8 digits of EF.SN, never shared by two cards
    card_number: str  # 10 digits, in the token label and gipCardID
    surname: str | None = None
    given_name: str | None = None
    title: str | None = None  # X.520 title
    profession_code: int | None = None  # table G15
    speciality: str | None = None  # table R01
    organisation: str | None = None
    structure_id: str | None = None  # Struct_IdNat
    locality: str | None = None  # X.520 stateOrProvinceName, such as Paris (75)
    defect: CertificateDefect = CertificateDefect.NONE
    pin_attempts_left: int = 3
    workplaces: tuple[Workplace, ...] = ()
    actualised: tuple[date, date] | None = None  # EF.ACTUA of a CPS3, which most cards lack


@dataclass(frozen=True, slots=True)
class CardCredentials:
    """The credentials of a persona's card: two key pairs and their certificates."""

    authentication_certificate_der: bytes
    authentication_key: RSAPrivateKey
    signature_certificate_der: bytes
    signature_key: RSAPrivateKey


def _doctor(
    name: str,
    rpps: str,
    number: int,
    given_name: str,
    surname: str,
    *,
    defect: CertificateDefect = CertificateDefect.NONE,
    pin_attempts_left: int = 3,
    hospital: Workplace | None = None,
) -> Persona:
    return Persona(
        name=name,
        ps_idnat="8" + rpps,
        card_type=CardType.CPS,
        chip_serial=f"9900{number:04d}",
        card_number=f"290009{number:04d}",
        surname=surname,
        given_name=given_name,
        title="Médecin",
        profession_code=10,
        speciality="SM26",
        defect=defect,
        pin_attempts_left=pin_attempts_left,
        workplaces=(_practice(surname, rpps), *(() if hospital is None else (hospital,))),
    )


def _practice(name: str, rpps: str) -> Workplace:
    return Workplace(1, f"CABINET {name}", f"4{rpps}008", PRIVATE_PRACTICE)


_ALL = (
    _doctor(
        "doctor",
        "99900000011",
        1,
        "Camille",
        "LAVERGNE",
        hospital=Workplace(3, "CH DU VAL FICTIF", "10B0000011", PUBLIC_HOSPITAL),
    ),
    Persona(
        name="pharmacist",
        ps_idnat="899900000029",
        card_type=CardType.CPS,
        chip_serial="99000002",
        card_number="2900090002",
        surname="AUBRAC",
        given_name="Éloïse",
        title="Pharmacien",
        profession_code=21,
        workplaces=(Workplace(1, "PHARMACIE AUBRAC", "10B0000022", PHARMACY),),
    ),
    Persona(
        name="nurse",
        ps_idnat="00B6000033",
        card_type=CardType.CPS,
        chip_serial="99000003",
        card_number="2900090003",
        surname="KERMADEC",
        given_name="Yann",
        title="Infirmier",
        profession_code=60,
        workplaces=(Workplace(1, "CABINET KERMADEC", "400B6000033008", PRIVATE_PRACTICE),),
    ),
    Persona(
        name="cpe-nameless",
        ps_idnat="30B0000044/CPET0004",
        card_type=CardType.CPE,
        chip_serial="99000004",
        card_number="2900090004",
        title="Personnel santé ou social",
        organisation="CENTRE DE SANTE DES TILLEULS",
        structure_id="10B0000044",
        locality="Paris (75)",
        workplaces=(Workplace(1, "CENTRE DE SANTE DES TILLEULS", "10B0000044", HEALTH_CENTRE),),
    ),
    _doctor("expired", "99900000052", 5, "Basile", "ROUVIER", defect=CertificateDefect.EXPIRED),
    _doctor("revoked", "99900000060", 6, "Solène", "MARCHAND", defect=CertificateDefect.REVOKED),
    _doctor(
        "unknown-root",
        "99900000078",
        7,
        "Ulysse",
        "FAVREAU",
        defect=CertificateDefect.UNKNOWN_ROOT,
    ),
    _doctor(
        "test-category",
        "99900000086",
        8,
        "Théa",
        "BONNEVAL",
        defect=CertificateDefect.TEST_CATEGORY,
    ),
    _doctor(
        "signature-only",
        "99900000094",
        9,
        "Simon",
        "DELATTRE",
        defect=CertificateDefect.SIGNATURE_ONLY,
    ),
    _doctor("pin-blocked", "99900000102", 10, "Blanche", "VASSEUR", pin_attempts_left=0),
    _doctor("last-attempt", "99900000110", 11, "Lazare", "CHEVRIER", pin_attempts_left=1),
)

PERSONAS: dict[str, Persona] = {persona.name: persona for persona in _ALL}
"""Every persona by name; the first is the default, the doctor."""


def find_persona(name: str) -> Persona:
    """Return the persona of this name.

    Raises:
        KeyError: there is none; says which there are.
    """
    if name not in PERSONAS:
        raise KeyError(f"no persona {name!r}; there are {', '.join(PERSONAS)}")
    return PERSONAS[name]

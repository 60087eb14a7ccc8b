"""The data objects of a CPS that describe a persona.

Only CPS_ACTIVITY_nn_PS (outer tag EE; 84 name, 85 Struct_IdNat, 86 sector) and the end of
CPS_INFO_PS (speciality) are known from real cards. The inner format of all others is in a
document that is not public: what stands here is inferred, and read by nobody who matters.
"""

from __future__ import annotations

from dataclasses import dataclass

from hardware_mocks.card.ber import tlv
from hardware_mocks.personas import Persona

ISSUED_ON_BCD = bytes.fromhex("20240115")
CPS2TER_ATR = bytes.fromhex("3BAC00402A001225006480820212009000")
CPS_DATA_BYTES = 128  # inferred; middleware writes the whole file in one short command


@dataclass(frozen=True, slots=True)
class DataObject:
    """One entry of the DODF and the content of its file."""

    label: str
    fid: int
    content: bytes
    needs_pin: bool = False
    modifiable: bool = False


def cps3_objects(persona: Persona) -> tuple[DataObject, ...]:
    """Return the data objects of a CPS3, in the order of its DODF.

    D107 and D120 are the identifiers of real cards; D101 to D104 are inferred. CPS_SIT_FACT and
    CPS2TER_ACTIVITY_nn_PS are not in it: middleware knows that they are in the CPS2ter volume.
    """
    return (
        DataObject("CPS_ID_CARD", 0xD101, _card_number(persona)),
        DataObject("CPS_NAME_PS", 0xD102, _name(persona)),
        DataObject("CPS_LANG_PS", 0xD103, tlv(0xE3, tlv(0x80, b"fr"))),
        DataObject("CPS_INFO_PS", 0xD104, _professional(persona)),
        DataObject("CPS_DATA", 0xD107, bytes(CPS_DATA_BYTES), modifiable=True),
        *_activity_objects(persona, "CPS_ACTIVITY_{:02d}_PS", 0xD120),
    )


def cps4_objects(persona: Persona) -> tuple[DataObject, ...]:
    """Return the data objects of a CPS4: those of a CPS3, and the old card's; D11x inferred."""
    return (
        *cps3_objects(persona),
        DataObject("CPS_SIT_FACT", 0xD108, billing_situation(persona), needs_pin=True),
        DataObject("CPS2TER_ATR", 0xD110, CPS2TER_ATR),
        DataObject("CPS2TER_ID", 0xD111, _card_number(persona)),
        DataObject("CPS2TER_ICC", 0xD112, persona.chip_serial.encode()),
        DataObject("CPS2TER_NAME", 0xD113, _name(persona)),
        DataObject("CPS2TER_LANG", 0xD114, b"fr"),
        DataObject("CPS2TER_PSINFO", 0xD115, _professional(persona)),
        DataObject("CPS2TER_DIRAMO", 0xD116, tlv(0xE5, tlv(0x80, b"01"))),
        *_activity_objects(persona, "CPS2TER_ACTIVITY_{:02d}_PS", 0xD130),
    )


def billing_situation(persona: Persona) -> bytes:
    """Return CPS_SIT_FACT: whom the health insurance pays. Inferred throughout."""
    number = persona.card_number[-8:]
    return tlv(0xE6, tlv(0x80, number.encode()), tlv(0x81, (persona.speciality or "").encode()))


def _card_number(persona: Persona) -> bytes:
    card_type = bytes([persona.card_type])
    return tlv(
        0xE1,
        tlv(0x80, persona.card_number.encode()),
        tlv(0x81, card_type),
        tlv(0x82, ISSUED_ON_BCD),
    )


def _name(persona: Persona) -> bytes:
    names = (persona.title, persona.surname, persona.given_name)
    return tlv(0xE2, *(tlv(0x80 + i, (name or "").encode()) for i, name in enumerate(names)))


def _professional(persona: Persona) -> bytes:
    names = (persona.surname or "", persona.given_name or "")
    profession = f"{persona.profession_code or 0:02d}"
    texts = (persona.ps_idnat, *names, profession, persona.speciality or "")
    return tlv(0xE4, *(tlv(0x80 + i, text.encode()) for i, text in enumerate(texts)))


def activities(persona: Persona) -> dict[int, bytes]:
    """Return the content of each CPS_ACTIVITY_nn_PS by nn."""
    return {
        workplace.number: tlv(
            0xEE,
            tlv(0x84, workplace.name.encode()),
            tlv(0x85, workplace.structure_id.encode()),
            tlv(0x86, workplace.sector.encode()),
        )
        for workplace in persona.workplaces
    }


def _activity_objects(persona: Persona, label: str, first_fid: int) -> tuple[DataObject, ...]:
    return tuple(
        DataObject(label.format(number), first_fid + number - 1, content, needs_pin=True)
        for number, content in activities(persona).items()
    )

"""Contents common to all kinds of CPS: the issuer, the files of the master file, the PINs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from hardware_mocks.card.ber import bits, tlv
from hardware_mocks.card.content.contents import PinObject
from hardware_mocks.card.content.data_objects import DataObject
from hardware_mocks.card.content.file_system import (
    ALWAYS,
    MASTER_FILE,
    NEVER,
    USER_PIN,
    AccessRules,
    DedicatedFile,
    ElementaryFile,
    file_rules,
)
from hardware_mocks.card.content.pkcs15 import PUK_ID, USER_PIN_ID, PinEntry
from hardware_mocks.personas import PIN, PUK, Persona

ROOT_AID = bytes.fromhex("8025000001FF0100")
CONTACT_AID = bytes.fromhex("E828BD080F8025000001FF0010")
CONTACTLESS_AID = bytes.fromhex("E828BD080F8025000001FF0020")
ISSUER = bytes.fromhex("8025000001")
EF_ATR = bytes.fromhex(
    "80 4301B8 460404B0ECC1 47039401 80 4F0880250000 01FF0100"
    "E010 02020104 02020104 02020100 02020100 7808 06062B8122F87802 82029000"
)
EF_DIR_BYTES = 101
PIN_ATTEMPTS = 3
PUK_ATTEMPTS = 3  # inferred

PIN_ENTRIES = (
    PinEntry("Code porteur de la carte CPS", USER_PIN_ID, 1, len(PIN), bits(), PUK_ID),
    # Inferred but for soPin (7), without which no middleware lets the PUK log in; 6 unblockingPin.
    PinEntry("Code de deblocage de la carte", PUK_ID, 2, len(PUK), bits(6, 7), PUK_ID),
)
_PIN_RULES = AccessRules(0xF3, bytes.fromhex("000013FF00"))


def pin_objects(persona: Persona) -> dict[int, PinObject]:
    """Return PIN and PUK by reference, in the state in which this persona's card comes."""
    pin, puk = bytearray(PIN), bytearray(PUK)
    return {
        1: PinObject(1, pin, persona.pin_attempts_left, PIN_ATTEMPTS, _PIN_RULES),
        2: PinObject(2, puk, PUK_ATTEMPTS, PUK_ATTEMPTS, _PIN_RULES),
    }


def master_file(
    chip_serial: str,
    label: str,
    application: DedicatedFile,
    *,
    actualised: tuple[date, date] | None = None,
    serial_error: int = 0,
) -> DedicatedFile:
    """Return the MF: EF.ATR, EF.DIR, EF.SN.ICC, EF.ACTUA and the one PKCS#15 application.

    EF.DIR names that application alone: with both in it OpenSC binds the contactless one.

    Args:
        chip_serial: eight digits.
        label: of the application.
        application: the DF.
        actualised: start and end in EF.ACTUA; without them the card has no such file.
        serial_error: by how much the check digit of EF.SN.ICC is wrong.
    """
    actua = [] if actualised is None else [ElementaryFile(0xD010, bytearray(_actua(*actualised)))]
    return DedicatedFile(
        MASTER_FILE,
        ROOT_AID,
        [
            ElementaryFile(0x2F01, bytearray(EF_ATR), sfi=0x1D),
            ElementaryFile(0x2F00, bytearray(_directory(label, application)), sfi=0x1E),
            ElementaryFile(0xD003, bytearray(serial_number(chip_serial, serial_error)), sfi=0x1C),
            *actua,
            application,
        ],
    )


def _directory(label: str, application: DedicatedFile) -> bytes:
    """EF.DIR (ISO/IEC 7816-15 section 6.3), zeros after its entry."""
    aid = tlv(0x4F, application.aid)
    path = tlv(0x51, MASTER_FILE.to_bytes(2), application.fid.to_bytes(2))
    entry = tlv(0x61, aid, tlv(0x50, label.encode()), path, tlv(0x73, aid))
    return entry.ljust(EF_DIR_BYTES, b"\x00")


def _actua(start: date, end: date) -> bytes:
    """EF.ACTUA: when the card was last brought up to date, and until when that holds."""
    dates = (bytes.fromhex(f"{day:%Y%m%d}") for day in (start, end))
    return tlv(0xEC, *(tlv(0x81 + i, bcd) for i, bcd in enumerate(dates)))


def serial_number(chip_serial: str, error: int = 0) -> bytes:
    """Return EF.SN.ICC: issuer, eight digits, and the Luhn digit over both, or `error` beside."""
    digits = ISSUER.hex() + chip_serial
    doubled = (int(digit) * 2 for digit in digits[::-2])
    total = sum(n - 9 if n > 9 else n for n in doubled) + sum(map(int, digits[-2::-2]))
    return tlv(0x5A, bytes.fromhex(f"{digits}{(error - total) % 10}F"))


def data_files(objects: Iterable[DataObject]) -> list[DedicatedFile | ElementaryFile]:
    """Return the EF of each data object, protected as its DODF entry says."""
    return [_data_file(entry) for entry in objects]


def _data_file(entry: DataObject) -> ElementaryFile:
    rules = file_rules(
        read=USER_PIN if entry.needs_pin else ALWAYS,
        update=ALWAYS if entry.modifiable else NEVER,
    )
    return ElementaryFile(entry.fid, bytearray(entry.content), rules=rules)

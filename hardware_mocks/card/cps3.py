"""The CPS3 in contact, as data: everything that its engine serves.

Evidence for each value is in the facts about the card: what is not marked as inferred here was
published from real cards. An inferred value is one line to change.
"""

from __future__ import annotations

from hardware_mocks.card.ber import bits, tlv
from hardware_mocks.card.contents import CardContents, CardProfile, KeyObject, PinObject
from hardware_mocks.card.data_objects import DataObject, data_objects
from hardware_mocks.card.file_system import (
    ALWAYS,
    MASTER_FILE,
    NEVER,
    USER_PIN,
    AccessRules,
    DedicatedFile,
    ElementaryFile,
    file_rules,
)
from hardware_mocks.card.pkcs15 import (
    MODIFIABLE,
    PRIVATE,
    PUK_ID,
    USAGE_DECRYPT,
    USAGE_NON_REPUDIATION,
    USAGE_SIGN,
    USER_PIN_ID,
    KeyEntry,
    PinEntry,
    authentication_objects,
    certificates,
    data_directory,
    object_directory,
    private_keys,
    token_info,
)
from hardware_mocks.personas import PIN, PUK, CardCredentials, Persona

ATR = bytes.fromhex("3BAC00402A001225006480000310009000")
ROOT_AID = bytes.fromhex("80250000 01FF0100")
CONTACT_AID = bytes.fromhex("E828BD080F 80250000 01FF0010")
ISSUER = bytes.fromhex("8025000001")
EF_ATR = bytes.fromhex(
    "80 4301B8 460404B0ECC1 47039401 80 4F0880250000 01FF0100"
    "E010 02020104 02020104 02020100 02020100 7808 06062B8122F87802 82029000"
)
EF_DIR_BYTES = 101
PIN_ATTEMPTS = 3
PUK_ATTEMPTS = 3  # inferred

SIGNATURE_KEY = KeyEntry(
    label="CPS_PRIV_SIG",
    identifier=CONTACT_AID + b"\x01",
    reference=0x81,
    flags=(PRIVATE,),
    usage=(USAGE_NON_REPUDIATION,),
    certificate_label="Certificat de Signature CPS",
    certificate_fid=0xB001,  # inferred
)
AUTHENTICATION_KEY = KeyEntry(
    label="CPS_PRIV_AUT",
    identifier=CONTACT_AID + b"\x02",
    reference=0x82,
    flags=(PRIVATE, MODIFIABLE, 2),  # 07 on real cards; bit 2 has no name
    usage=(USAGE_DECRYPT, USAGE_SIGN),
    certificate_label="Certificat d'Authentification CPS",
    certificate_fid=0xB002,  # inferred
)
_SIGNATURE_RULES = AccessRules(0xCB, bytes([USER_PIN, NEVER, NEVER, ALWAYS]))
_AUTHENTICATION_RULES = AccessRules(0xBB, bytes([USER_PIN, USER_PIN, NEVER, NEVER, ALWAYS]))
_PIN_RULES = AccessRules(0xF3, bytes.fromhex("000013FF00"))

_PINS = (
    PinEntry(
        "Code porteur de la carte CPS", USER_PIN_ID, 1, len(PIN), tlv(0x03, b"\x01\x00"), PUK_ID
    ),
    # Inferred but for soPin (7), without which no middleware lets the PUK log in; 6 unblockingPin.
    PinEntry("Code de deblocage de la carte", PUK_ID, 2, len(PUK), bits(6, 7), PUK_ID),
)
_AODF, _PRKDF, _CDF, _DODF = 0x7001, 0x7002, 0x7005, 0x7006  # 7002 and 7006 inferred


def personalise(persona: Persona, credentials: CardCredentials) -> CardContents:
    """Return the contents of a new CPS3 of this persona."""
    files = _application(persona, credentials)
    application = DedicatedFile(0x0001, CONTACT_AID, files, takes_fci_by_aid=False)
    master_file = DedicatedFile(
        MASTER_FILE,
        ROOT_AID,
        [
            ElementaryFile(0x2F01, bytearray(EF_ATR), sfi=0x1D),
            ElementaryFile(0x2F00, bytearray(_directory()), sfi=0x1E),
            ElementaryFile(0xD003, bytearray(_serial_number(persona.chip_serial)), sfi=0x1C),
            application,
        ],
    )
    pins = (
        PinObject(1, bytearray(PIN), persona.pin_attempts_left, PIN_ATTEMPTS, _PIN_RULES),
        PinObject(2, bytearray(PUK), PUK_ATTEMPTS, PUK_ATTEMPTS, _PIN_RULES),
    )
    keys = (
        (SIGNATURE_KEY, _SIGNATURE_RULES, credentials.signature_key),
        (AUTHENTICATION_KEY, _AUTHENTICATION_RULES, credentials.authentication_key),
    )
    return CardContents(
        master_file,
        {pin.reference: pin for pin in pins},
        {
            entry.reference: KeyObject(entry.reference, rules, key.private_numbers())
            for entry, rules, key in keys
        },
    )


CPS3 = CardProfile("cps3", ATR, protocol=0, personalise=personalise)


def _directory() -> bytes:
    """EF.DIR with the contact application alone: OpenSC would bind the contactless one."""
    entry = tlv(
        0x61,
        tlv(0x4F, CONTACT_AID),
        tlv(0x50, b"CPS IAS"),
        tlv(0x51, bytes.fromhex("3F000001")),
        tlv(0x73, tlv(0x4F, CONTACT_AID)),
    )
    return entry.ljust(EF_DIR_BYTES, b"\x00")


def _serial_number(chip_serial: str) -> bytes:
    """EF.SN.ICC: issuer, eight digits, and the Luhn digit over both."""
    digits = ISSUER.hex() + chip_serial
    doubled = (int(digit) * 2 for digit in digits[::-2])
    total = sum(n - 9 if n > 9 else n for n in doubled) + sum(map(int, digits[-2::-2]))
    return tlv(0x5A, bytes.fromhex(f"{digits}{-total % 10}F"))


def _application(
    persona: Persona, credentials: CardCredentials
) -> list[DedicatedFile | ElementaryFile]:
    keys = (SIGNATURE_KEY, AUTHENTICATION_KEY)
    objects = data_objects(persona)
    contents = {
        0x5031: object_directory(_AODF, _PRKDF, _CDF, _DODF),
        0x5032: token_info(f"CPS3v3-{persona.card_number}"),
        _AODF: authentication_objects(_PINS),
        _PRKDF: private_keys(keys),
        _CDF: certificates(keys),
        _DODF: data_directory(objects),
        SIGNATURE_KEY.certificate_fid: credentials.signature_certificate_der,
        AUTHENTICATION_KEY.certificate_fid: credentials.authentication_certificate_der,
    }
    return [
        *(ElementaryFile(fid, bytearray(content)) for fid, content in contents.items()),
        *(_data_file(entry) for entry in objects),
    ]


def _data_file(entry: DataObject) -> ElementaryFile:
    rules = file_rules(
        read=USER_PIN if entry.needs_pin else ALWAYS,
        update=ALWAYS if entry.modifiable else NEVER,
    )
    return ElementaryFile(entry.fid, bytearray(entry.content), rules=rules)

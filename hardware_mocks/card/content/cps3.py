"""The CPS3 in contact, as data: everything that its engine serves.

Evidence for each value is in the facts about the card: what is not marked as inferred here was
published from real cards. An inferred value is one line to change.
"""

from __future__ import annotations

from hardware_mocks.card.content.common import (
    CONTACT_AID,
    PIN_ENTRIES,
    data_files,
    master_file,
    pin_objects,
)
from hardware_mocks.card.content.contents import CardContents, CardProfile, KeyObject
from hardware_mocks.card.content.cps2ter import volume
from hardware_mocks.card.content.data_objects import activities, billing_situation, cps3_objects
from hardware_mocks.card.content.file_system import (
    ALWAYS,
    NEVER,
    USER_PIN,
    AccessRules,
    DedicatedFile,
    ElementaryFile,
)
from hardware_mocks.card.content.pkcs15 import (
    LAST_UPDATE_EXPLICIT,
    MODIFIABLE,
    PRIVATE,
    USAGE_DECRYPT,
    USAGE_NON_REPUDIATION,
    USAGE_SIGN,
    Algorithm,
    KeyEntry,
    authentication_objects,
    certificates,
    data_directory,
    object_directory,
    private_keys,
    token_info,
)
from hardware_mocks.card.content.quirks import NO_QUIRKS, Quirks
from hardware_mocks.card.families import IAS_ECC
from hardware_mocks.personas import CardCredentials, Persona

ATR = bytes.fromhex("3BAC00402A001225006480000310009000")
APPLICATION_FID = 0x0001
AODF, PRKDF, CDF, DODF = 0x7001, 0x7002, 0x7005, 0x7006  # 7002 and 7006 inferred
LAST_UPDATE = "20100316110000Z"

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
KEYS = (SIGNATURE_KEY, AUTHENTICATION_KEY)
SIGNATURE_RULES = AccessRules(0xCB, bytes([USER_PIN, NEVER, NEVER, ALWAYS]))
AUTHENTICATION_RULES = AccessRules(0xBB, bytes([USER_PIN, USER_PIN, NEVER, NEVER, ALWAYS]))

ALGORITHMS = (
    Algorithm(1, 0x220, 6, "2b0e03021a", 0x10),  # SHA-1, hash
    Algorithm(2, 0x250, 6, "608648016503040201", 0x40),  # SHA-256, hash
    Algorithm(3, 0x06, 1, "2a864886f70d010105", 0x12),  # SHA1_RSA_PKCS, sign
    Algorithm(4, 0x40, 1, "2a864886f70d01010b", 0x42),  # SHA256_RSA_PKCS, sign
    Algorithm(5, 0x01, 1, "2a864886f70d010101", 0x02),  # RSA_PKCS, sign
    Algorithm(6, 0x01, 5, "2a864886f70d010101", 0x1A),  # RSA_PKCS, decipher
)


def personalise(
    persona: Persona, credentials: CardCredentials, quirks: Quirks = NO_QUIRKS
) -> CardContents:
    """Return the contents of a new CPS3 of this persona."""
    application = DedicatedFile(
        APPLICATION_FID, CONTACT_AID, _files(persona, credentials, quirks), takes_fci_by_aid=False
    )
    keys = (
        KeyObject(SIGNATURE_KEY.reference, SIGNATURE_RULES, credentials.signature_key),
        KeyObject(
            AUTHENTICATION_KEY.reference, AUTHENTICATION_RULES, credentials.authentication_key
        ),
    )
    return CardContents(
        quirks=quirks,
        chip_serial=persona.chip_serial,
        dialect=IAS_ECC,
        master_file=master_file(
            persona.chip_serial,
            "CPS IAS",
            application,
            actualised=persona.actualised,
            serial_error=int(quirks.serial_does_not_check),
        ),
        pins=pin_objects(persona),
        keys={key.reference: key for key in keys},
        cps2ter_volume=volume(billing_situation(persona), activities(persona)),
    )


CPS3 = CardProfile("cps3", ATR, protocol=0, personalise=personalise)


def _files(
    persona: Persona, credentials: CardCredentials, quirks: Quirks
) -> list[DedicatedFile | ElementaryFile]:
    objects = cps3_objects(persona)
    label = f"CPS3v3-{persona.card_number}"
    contents = {
        0x5031: object_directory(AODF, PRKDF, CDF, DODF),
        0x5032: token_info(label, LAST_UPDATE, LAST_UPDATE_EXPLICIT, algorithms=ALGORITHMS),
        AODF: authentication_objects(PIN_ENTRIES),
        PRKDF: private_keys(quirks.entries(KEYS)),
        CDF: certificates(quirks.certificate_entries(KEYS)),
        DODF: data_directory(objects),
        SIGNATURE_KEY.certificate_fid: credentials.signature_certificate_der,
        AUTHENTICATION_KEY.certificate_fid: credentials.authentication_certificate_der,
        **quirks.files(),
    }
    files = [ElementaryFile(fid, bytearray(content)) for fid, content in contents.items()]
    return [*files, *data_files(objects)]

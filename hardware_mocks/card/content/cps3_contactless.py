"""The CPS3 over its contactless interface, as data: one technical key, which takes no PIN.

The same chip, so the same serial number, but another PKCS#15 application. Only its answer to
reset, its identifiers and what its one key is called are known; the rest is inferred.
"""

from __future__ import annotations

from hardware_mocks.card.content.common import CONTACTLESS_AID, master_file
from hardware_mocks.card.content.contents import CardContents, CardProfile, KeyObject
from hardware_mocks.card.content.cps3 import ALGORITHMS, CDF, LAST_UPDATE, PRKDF
from hardware_mocks.card.content.file_system import (
    ALWAYS,
    NEVER,
    AccessRules,
    DedicatedFile,
    ElementaryFile,
)
from hardware_mocks.card.content.pkcs15 import (
    LAST_UPDATE_EXPLICIT,
    READ_ONLY,
    USAGE_SIGN,
    KeyEntry,
    certificates,
    object_directory,
    private_keys,
    token_info,
)
from hardware_mocks.card.content.quirks import NO_QUIRKS, Quirks
from hardware_mocks.card.content.technical import technical_certificate, technical_key
from hardware_mocks.card.families import IAS_ECC
from hardware_mocks.personas import CardCredentials, Persona

ATR = bytes.fromhex("3B8F80010031B86404B0ECC1739401808290000E")
APPLICATION_FID = 0x0002

TECHNICAL_KEY = KeyEntry(
    label="CPS_PRIV_TECH_AUT",
    identifier=CONTACTLESS_AID + b"\x03",  # inferred
    reference=0x83,  # inferred
    flags=(),
    usage=(USAGE_SIGN,),
    certificate_label="Certificat Technique CPS",
    certificate_fid=0xB003,  # inferred
)
TECHNICAL_RULES = AccessRules(0xBB, bytes([ALWAYS, NEVER, NEVER, NEVER, ALWAYS]))
_OF_THIS_INTERFACE = frozenset({1, 2, 5})  # SHA-1, SHA-256, RSA_PKCS


def personalise(
    persona: Persona, credentials: CardCredentials, quirks: Quirks = NO_QUIRKS
) -> CardContents:
    """Return what this persona's CPS3 shows without contact: no PIN, no PUK."""
    key = technical_key(credentials)
    algorithms = [one for one in ALGORITHMS if one.reference in _OF_THIS_INTERFACE]
    label = f"CPS3v3-{persona.card_number}"
    contents = {
        0x5031: object_directory(prkdf=PRKDF, cdf=CDF),
        0x5032: token_info(
            label, LAST_UPDATE, LAST_UPDATE_EXPLICIT, flags=(READ_ONLY,), algorithms=algorithms
        ),
        PRKDF: private_keys((TECHNICAL_KEY,)),
        CDF: certificates((TECHNICAL_KEY,)),
        TECHNICAL_KEY.certificate_fid: technical_certificate(persona, credentials),
    }
    files = [ElementaryFile(fid, bytearray(content)) for fid, content in contents.items()]
    application = DedicatedFile(APPLICATION_FID, CONTACTLESS_AID, [*files], takes_fci_by_aid=False)
    return CardContents(
        quirks=quirks,
        chip_serial=persona.chip_serial,
        dialect=IAS_ECC,
        master_file=master_file(
            persona.chip_serial,
            "CPS IAS CL",
            application,
            serial_error=int(quirks.serial_does_not_check),
        ),
        pins={},
        keys={TECHNICAL_KEY.reference: KeyObject(TECHNICAL_KEY.reference, TECHNICAL_RULES, key)},
    )


CPS3_CONTACTLESS = CardProfile("cps3-contactless", ATR, protocol=1, personalise=personalise)

"""The CPS4 in contact, as data. It has no other interface.

Evidence for each value is in the facts about the card. Its PKCS#15 structure is that of the
CPS3; file identifiers that only this module names are inferred.
"""

from __future__ import annotations

from cryptography import x509

from hardware_mocks.card.content.common import (
    CONTACT_AID,
    PIN_ENTRIES,
    data_files,
    master_file,
    pin_objects,
)
from hardware_mocks.card.content.contents import CardContents, CardProfile, KeyObject
from hardware_mocks.card.content.cps3 import AODF, APPLICATION_FID, CDF, DODF, PRKDF
from hardware_mocks.card.content.data_objects import cps4_objects
from hardware_mocks.card.content.file_system import (
    USER_PIN,
    AccessRules,
    DedicatedFile,
    ElementaryFile,
)
from hardware_mocks.card.content.pkcs15 import (
    LAST_UPDATE_IMPLICIT,
    MODIFIABLE,
    PRIVATE,
    USAGE_DECRYPT,
    USAGE_NON_REPUDIATION,
    USAGE_SIGN,
    KeyEntry,
    authentication_objects,
    certificates,
    data_directory,
    object_directory,
    private_keys,
    token_info,
)
from hardware_mocks.card.content.quirks import NO_QUIRKS, Quirks
from hardware_mocks.card.crypto.chipdoc import SHA1_PKCS1, SHA1_PSS, SHA256_PKCS1, SHA256_PSS
from hardware_mocks.card.families import CHIPDOC
from hardware_mocks.personas import CardCredentials, Persona

ATR = bytes.fromhex("3B9B1880010012250064800401000090 44")
ATR_RELEASE_CANDIDATE = bytes.fromhex("3B9B1880010012250064800004010090 44")
ATR_T0_ONLY = bytes.fromhex("3BDC18FF000012250064800004010090 00")

CARD_MANAGER_AID = bytes.fromhex("A0000001510000")  # GlobalPlatform
CPS2TER_AID = bytes.fromhex("8025000001FF0002")

SIGNATURE_KEY = KeyEntry(
    label="CPS_PRIV_SIG",
    identifier=CONTACT_AID + b"\x10",  # inferred from reports of 10 and 20
    reference=0x10,  # inferred
    flags=(PRIVATE,),
    usage=(USAGE_NON_REPUDIATION,),
    certificate_label="Certificat de Signature CPS",
    certificate_fid=0xB001,  # inferred
)
AUTHENTICATION_KEY = KeyEntry(
    label="CPS_PRIV_AUT",
    identifier=CONTACT_AID + b"\x20",
    reference=0x20,
    flags=(PRIVATE, MODIFIABLE, 2),
    usage=(USAGE_DECRYPT, USAGE_SIGN),
    certificate_label="Certificat d'Authentification CPS",
    certificate_fid=0xB002,  # inferred
)
KEYS = (SIGNATURE_KEY, AUTHENTICATION_KEY)
SIGNATURE_RULES = AccessRules(0x40, bytes([USER_PIN]))
AUTHENTICATION_RULES = AccessRules(0x50, bytes([USER_PIN, USER_PIN]))  # sign and decipher
SIGNATURE_ALGORITHMS = frozenset({SHA1_PKCS1, SHA256_PKCS1, SHA1_PSS, SHA256_PSS})
AUTHENTICATION_ALGORITHMS = frozenset({SHA1_PSS, SHA256_PSS})  # inferred: no other was seen


def personalise(
    persona: Persona, credentials: CardCredentials, quirks: Quirks = NO_QUIRKS
) -> CardContents:
    """Return the contents of a new CPS4 of this persona."""
    chip_serial = chip_serial_of(persona)
    application = DedicatedFile(APPLICATION_FID, CONTACT_AID, _files(persona, credentials, quirks))
    keys = (
        KeyObject(
            SIGNATURE_KEY.reference,
            SIGNATURE_RULES,
            credentials.signature_key,
            SIGNATURE_ALGORITHMS,
        ),
        KeyObject(
            AUTHENTICATION_KEY.reference,
            AUTHENTICATION_RULES,
            credentials.authentication_key,
            AUTHENTICATION_ALGORITHMS,
        ),
    )
    return CardContents(
        quirks=quirks,
        chip_serial=chip_serial,
        dialect=CHIPDOC,
        master_file=master_file(
            chip_serial, "CPS IAS", application, serial_error=int(quirks.serial_does_not_check)
        ),
        pins=pin_objects(persona),
        keys={key.reference: key for key in keys},
        other_applications=(
            DedicatedFile(0x3F00, CARD_MANAGER_AID),  # empty: only its selection was seen
            DedicatedFile(0x3F00, CPS2TER_AID),
        ),
    )


def chip_serial_of(persona: Persona) -> str:
    """Return another serial than that of the same persona's CPS3: it is another chip."""
    return "4" + persona.chip_serial[1:]


CPS4 = CardProfile("cps4", ATR, protocol=1, personalise=personalise)
CPS4_RELEASE_CANDIDATE = CardProfile(
    "cps4-rc", ATR_RELEASE_CANDIDATE, protocol=1, personalise=personalise
)
CPS4_T0_ONLY = CardProfile("cps4-t0", ATR_T0_ONLY, protocol=0, personalise=personalise)


def _files(
    persona: Persona, credentials: CardCredentials, quirks: Quirks
) -> list[DedicatedFile | ElementaryFile]:
    objects = cps4_objects(persona)
    label = f"CPS4v1-{persona.card_number}"
    contents = {
        0x5031: object_directory(AODF, PRKDF, CDF, DODF),
        0x5032: token_info(label, _issued_at(credentials), LAST_UPDATE_IMPLICIT),
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


def _issued_at(credentials: CardCredentials) -> str:
    """As GeneralizedTime. The ANS module's cache knows a card by serial and this."""
    certificate = x509.load_der_x509_certificate(credentials.signature_certificate_der)
    return f"{certificate.not_valid_before_utc:%Y%m%d%H%M%S}Z"

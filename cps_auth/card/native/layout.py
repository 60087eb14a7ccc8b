"""What the files of a CPS say: which card it is, and where its authentication objects are.

Read once when a card is opened, the same for every card that has this file layout.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from cps_auth.card.native import pkcs15, pkcs15_parse
from cps_auth.card.native.files import CardFiles
from cps_auth.card.native.pkcs15 import Directory, FileReference, Password, PrivateKey
from cps_auth.errors import CardMisbehaved, UnsupportedCard
from cps_auth.model import DataObject

EF_SN = bytes.fromhex("3F00D003")
"""EF.SN.ICC, 12 bytes; path as in ANS cps3_pkcs11 5.2 card-cps.c."""
SN_IDENTIFIER, DIR_IDENTIFIER = 0x1C, 0x1E
"""Short identifiers of EF.SN.ICC and EF.DIR under the MF (the FCPs of a CPS3; EF.DIR:
ISO/IEC 7816-4:2005 section 8.2.1.1)."""
APPLICATION_CONTACT = bytes.fromhex("E828BD080F8025000001FF0010")
"""AID of the PKCS#15 application "CPS IAS" (EF.DIR of the CPS3)."""
APPLICATION_CONTACTLESS = bytes.fromhex("E828BD080F8025000001FF0020")
"""AID of the PKCS#15 application "CPS IAS CL" (EF.DIR of the CPS3)."""

_ISSUER = "8025000001"  # of every CPS, first ten digits of EF.SN
_SN_HEADER = bytes.fromhex("5A0A")
_SN_BYTES = 12


@dataclass(frozen=True, slots=True)
class Profile:
    """Where a card keeps what a login needs."""

    application: bytes  # path of the PKCS#15 application from the MF
    key: PrivateKey
    certificate: pkcs15.FileReference
    password: Password | None  # guards the key; None for the key without PIN
    puk: Password | None = None  # unblocks it; None when the card declares none or several


def parse_serial(unverified: bytes) -> str:
    """Return the 8 digits of the chip's serial number.

    Args:
        unverified: the content of EF.SN: 5A 0A, issuer (10 digits), serial (8 digits),
            Luhn digit over those 18 (ISO/IEC 7812-1 annex B), F.

    Raises:
        UnsupportedCard: another issuer's card.
        CardMisbehaved: not a serial number.
    """
    digits = unverified.removeprefix(_SN_HEADER).hex().upper()
    if len(unverified) != _SN_BYTES or not unverified.startswith(_SN_HEADER) or digits[19] != "F":
        raise CardMisbehaved("EF.SN is not a serial number")
    if not digits[:19].isdecimal() or not _luhn_holds(digits[:19]):
        raise CardMisbehaved("EF.SN does not check")
    if digits[:10] != _ISSUER:
        raise UnsupportedCard
    return digits[10:18]


def read_profile(files: CardFiles, application_aid: bytes) -> Profile:
    """Read EF.DIR, then the PKCS#15 files of one application.

    Args:
        files: of a card held exclusively.
        application_aid: APPLICATION_CONTACT or APPLICATION_CONTACTLESS.

    Raises:
        CardMisbehaved: something needed is missing, or cannot be understood.
        CardRemoved, ReaderServiceLost: from the transport.
    """
    application = _application_path(files, application_aid)
    objects = _Objects(files, application)
    key, certificate = pkcs15.authentication_key(
        pkcs15_parse.read_prkdf(objects.content(Directory.PRIVATE_KEYS)),
        pkcs15_parse.read_cdf(objects.content(Directory.CERTIFICATES)),
    )
    passwords = pkcs15_parse.read_aodf(objects.content(Directory.AUTHENTICATION_OBJECTS))
    return Profile(
        application=application,
        key=key,
        certificate=certificate.file,
        password=_guard(key, passwords),
        puk=_puk(passwords),
    )


def read_serial(files: CardFiles) -> str:
    """Read EF.SN and return the 8 digits of the chip's serial number.

    Raises:
        UnsupportedCard: another issuer's card.
        CardMisbehaved: it has no such file, or what it holds is no serial number.
        CardRemoved, ReaderServiceLost: from the transport.
    """
    quick = files.read_short(SN_IDENTIFIER, _SN_BYTES)
    if quick is not None:
        try:
            return parse_serial(quick)
        except CardMisbehaved:
            pass  # another directory was current: that was another file
    return parse_serial(files.read(EF_SN))


def read_label(files: CardFiles, application: bytes) -> str:
    """Read the label that TokenInfo gives the card, empty when it has none.

    Args:
        files: of a card held exclusively.
        application: path of the PKCS#15 application from the MF.

    Raises:
        CardMisbehaved, CardRemoved, ReaderServiceLost
    """
    return pkcs15_parse.read_token_label(files.read(application + pkcs15.EF_TOKEN_INFO))


def read_public_objects(files: CardFiles, application: bytes) -> tuple[DataObject, ...]:
    """Read the data objects that the DODF says need no PIN; those that the card refuses are not.

    Args:
        files: of a card held exclusively.
        application: path of the PKCS#15 application from the MF.

    Raises:
        CardMisbehaved, CardRemoved, ReaderServiceLost
    """
    entries = pkcs15_parse.read_dodf(_Objects(files, application).content(Directory.DATA_OBJECTS))
    found = []
    for entry in entries:
        if entry.is_public:
            with contextlib.suppress(CardMisbehaved):
                content = _content(files, application, entry.file)
                found.append(DataObject(entry.label, content))
    return tuple(found)


def _content(files: CardFiles, application: bytes, file: FileReference) -> bytes:
    path = pkcs15.resolve(application, file.path)
    return files.read(path, offset=file.offset, length=file.length)


class _Objects:
    """The directory files that the ODF of an application points to."""

    def __init__(self, files: CardFiles, application: bytes) -> None:
        self._files = files
        self._application = application
        self._odf = pkcs15_parse.read_odf(files.read(application + pkcs15.EF_ODF))

    def content(self, kind: Directory) -> bytes:
        """Return the content of every directory file of one kind, one after the other."""
        return b"".join(
            _content(self._files, self._application, reference)
            for directory, reference in self._odf
            if directory is kind
        )


def _application_path(files: CardFiles, aid: bytes) -> bytes:
    quick = files.read_short(DIR_IDENTIFIER, 256)
    found = _path_in(quick, aid) if quick is not None and len(quick) < 256 else None
    found = found or _path_in(files.read(pkcs15.EF_DIR), aid)
    if found is None:
        raise CardMisbehaved("no PKCS#15 application of the CPS in EF.DIR")
    return found


def _path_in(unverified_directory: bytes, aid: bytes) -> bytes | None:
    try:
        applications = pkcs15_parse.read_dir(unverified_directory)
    except CardMisbehaved:
        return None
    found = (one.path for one in applications if one.aid == aid and one.path)
    path = next(found, None)
    return None if path is None else pkcs15.resolve(pkcs15.MF, path)


def _guard(key: PrivateKey, passwords: tuple[Password, ...]) -> Password | None:
    """Return the PIN that guards the key; None only when the key says that it has none."""
    if key.auth_id is None:
        return None
    found = [one for one in passwords if one.auth_id == key.auth_id and one.is_user_pin]
    if len(found) != 1:
        raise CardMisbehaved("no PIN in PKCS#15 for the authentication key")
    return found[0]


def _puk(passwords: tuple[Password, ...]) -> Password | None:
    found = [one for one in passwords if one.is_puk]
    return found[0] if len(found) == 1 else None


def _luhn_holds(digits: str) -> bool:
    doubled = (2 * int(digit) for digit in digits[-2::-2])
    total = sum(int(digit) for digit in digits[::-2]) + sum(sum(divmod(n, 10)) for n in doubled)
    return total % 10 == 0

"""The layout of a CPS from its files: which card it is, where its authentication objects are.

Read once when a card is opened, the same for every card that has this file layout.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cps_auth.card.native import pkcs15, pkcs15_parse
from cps_auth.card.native.driver import CardDriver
from cps_auth.card.native.files import read_file, read_object
from cps_auth.card.native.pkcs15 import (
    Certificate,
    Directory,
    FileReference,
    Password,
    PrivateKey,
    authentication_keys,
    resolve,
)
from cps_auth.errors import CardMisbehaved, NoAuthenticationCertificate
from cps_auth.model import DataObject

_DIR_IDENTIFIER: Final = 0x1E
"""Short identifier of EF.DIR under the MF (ISO/IEC 7816-4:2005 section 8.2.1.1)."""
_MOST_CERTIFICATES_READ: Final = 6  # of a card that does not say which key is for authentication


@dataclass(frozen=True, slots=True)
class Pkcs15Layout:
    """The places of the objects on a card that a login needs."""

    application: bytes  # path of the PKCS#15 application from the MF
    key: PrivateKey
    certificate: FileReference
    password: Password | None  # guards the key; None for the key without PIN
    puk: Password | None = None  # unblocks it; None when the card declares none or several
    is_choice: bool = False  # of several certificates, by their validity: looked at each time

    key_directory: bytes = field(init=False)  # path of the key's DF from the MF

    def __post_init__(self) -> None:
        object.__setattr__(self, "key_directory", resolve(self.application, self.key.path))


def read_layout(
    driver: CardDriver, application_aid: bytes, at: datetime
) -> tuple[Pkcs15Layout, bytes | None]:
    """Read EF.DIR, then the PKCS#15 files of one application.

    A card that makes no sense is read once more by the sizes that it announces: it may have
    answered less than was asked.

    Args:
        driver: of a card held exclusively.
        application_aid: of the PKCS#15 application.
        at: now, to choose between certificates.

    Returns:
        The layout, and the certificate if it had to be read to choose it.

    Raises:
        NoAuthenticationCertificate, SeveralCertificates
        CardMisbehaved: something needed is missing, or cannot be understood.
        CardRemoved, ReaderServiceLost: from the transport.
    """
    try:
        return _read_layout(driver, application_aid, at)
    except (CardMisbehaved, NoAuthenticationCertificate):
        if driver.is_careful:
            raise
    driver.is_careful = True
    return _read_layout(driver, application_aid, at)


def _read_layout(
    driver: CardDriver, application_aid: bytes, at: datetime
) -> tuple[Pkcs15Layout, bytes | None]:
    application = _application_path(driver, application_aid)
    objects = _Objects(driver, application)
    pairs = authentication_keys(
        pkcs15_parse.read_prkdf(objects.content(Directory.PRIVATE_KEYS)),
        pkcs15_parse.read_cdf(objects.content(Directory.CERTIFICATES)),
    )
    der: bytes | None = None
    if len(pairs) == 1 and pairs[0][0].is_for_authentication:
        key, certificate = pairs[0]
    else:
        (key, certificate), der = _choose(driver, application, pairs, at)
    passwords = pkcs15_parse.read_aodf(objects.content(Directory.AUTHENTICATION_OBJECTS))
    layout = Pkcs15Layout(
        application=application,
        key=key,
        certificate=certificate.file,
        password=_guard(key, passwords),
        puk=_puk(passwords),
        is_choice=der is not None,
    )
    return layout, der


def _choose(
    driver: CardDriver,
    application: bytes,
    pairs: tuple[tuple[PrivateKey, Certificate], ...],
    at: datetime,
) -> tuple[tuple[PrivateKey, Certificate], bytes]:
    """Read the certificates, which tell what the key usages did not."""
    # Here, since who only lists readers does without cryptography's start
    from cps_auth.card.certificates import choose_certificate

    by_der: dict[bytes, tuple[PrivateKey, Certificate]] = {}
    for pair in pairs[:_MOST_CERTIFICATES_READ]:
        with contextlib.suppress(CardMisbehaved):
            by_der.setdefault(read_certificate(driver, application, pair[1].file), pair)
    der = choose_certificate(by_der, at)
    return by_der[der], der


def read_certificate(driver: CardDriver, application: bytes, file: FileReference) -> bytes:
    """Read one certificate, DER, unverified.

    Raises:
        CardMisbehaved, CardRemoved, ReaderServiceLost
    """
    path = resolve(application, file.path)
    return read_object(driver, path, offset=file.offset, length=file.length)


def read_label(driver: CardDriver, application: bytes) -> str:
    """Read the label that TokenInfo gives the card, empty when it has none.

    Args:
        driver: of a card held exclusively.
        application: path of the PKCS#15 application from the MF.

    Raises:
        CardMisbehaved, CardRemoved, ReaderServiceLost
    """
    return pkcs15_parse.read_token_label(read_file(driver, application + pkcs15.EF_TOKEN_INFO))


def read_public_objects(driver: CardDriver, application: bytes) -> tuple[DataObject, ...]:
    """Read the data objects that the DODF says need no PIN; those that the card refuses are not.

    Args:
        driver: of a card held exclusively.
        application: path of the PKCS#15 application from the MF.

    Raises:
        CardMisbehaved, CardRemoved, ReaderServiceLost
    """
    entries = pkcs15_parse.read_dodf(_Objects(driver, application).content(Directory.DATA_OBJECTS))
    found = []
    for entry in entries:
        if entry.is_public:
            with contextlib.suppress(CardMisbehaved):
                content = _content(driver, application, entry.file, by_size=True)
                found.append(DataObject(entry.label, content))
    return tuple(found)


def _content(
    driver: CardDriver, application: bytes, file: FileReference, *, by_size: bool = False
) -> bytes:
    path = resolve(application, file.path)
    return read_file(driver, path, offset=file.offset, length=file.length, by_size=by_size)


class _Objects:
    """The directory files that the ODF of an application points to."""

    def __init__(self, driver: CardDriver, application: bytes) -> None:
        self._driver = driver
        self._application = application
        self._odf = pkcs15_parse.read_odf(read_file(driver, application + pkcs15.EF_ODF))

    def content(self, kind: Directory) -> bytes:
        """Return the content of every directory file of one kind, one after the other."""
        return b"".join(
            _content(self._driver, self._application, reference)
            for directory, reference in self._odf
            if directory is kind
        )


def _application_path(driver: CardDriver, aid: bytes) -> bytes:
    quick = driver.read_short(_DIR_IDENTIFIER, 256)
    found = _path_in(quick, aid) if quick is not None and len(quick) < 256 else None
    found = found or _path_in(read_file(driver, pkcs15.EF_DIR), aid)
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
    return None if path is None else resolve(pkcs15.MF, path)


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

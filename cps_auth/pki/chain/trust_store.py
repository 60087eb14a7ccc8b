"""Whom we trust: the pinned production authorities, or another folder in their place."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.errors import TrustStoreUnusable
from cps_auth.pki.certificate.fields import read_fields
from cps_auth.pki.certificate.parse import fingerprint_hex, load_x509
from cps_auth.pki.certificate.signature import is_signed_with, signed_parts
from cps_auth.pki.chain.pins import (
    PRODUCTION_ANCHORS,
    PRODUCTION_AUTHORITIES,
    PRODUCTION_CRL_URLS,
    PRODUCTION_INTERMEDIATES,
    PRODUCTION_OCSP_URLS,
)

PRODUCTION_NAME = "IGC-Santé"
PRODUCTION_FOLDERS = (Path("/etc/opt/santesocial/CPS/Coffre"), Path("/var/lib/cps-auth/trust"))
"""Where the ANS Cryptolib installs the certificates of the authorities, and our own folder."""

_FILE_MAX_BYTES = 64 * 1024


@dataclass(frozen=True)
class TrustStore:
    """The CA certificates under which a chain is judged, and what else they allow.

    Attributes:
        name: shown in every verdict.
        anchors: roots; a chain ends at one of them.
        intermediates: the only certificates that may stand between; none sent along is used.
        test_cards: whether cards of category TEST (table G01, 0x80) may log in.
        crl_urls: where lists are fetched, besides the addresses in these certificates.
        ocsp_urls: the only responders that are asked.
    """

    name: str
    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()
    test_cards: bool = False
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()


class _TrustSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """trust.toml."""

    name: str
    test_cards: bool = False
    crl_urls: tuple[str, ...] = ()
    ocsp_urls: tuple[str, ...] = ()


def recognise(der: bytes) -> str | None:
    """Return the name of a production authority of the IGC-Santé, None for anything else.

    Args:
        der: a certificate, DER; only its fingerprint counts.
    """
    return PRODUCTION_AUTHORITIES.get(fingerprint_hex(der))


def production_trust(folders: Iterable[Path] = PRODUCTION_FOLDERS) -> TrustStore:
    """Return the pinned authorities: the default, and the only production trust.

    Args:
        folders: where *.cer files (DER) are looked for; files that are not pinned, folders
            that are not there and files that cannot be read are passed over.

    Raises:
        TrustStoreUnusable: a pinned certificate is in none of the folders.
    """
    folders = tuple(folders)
    found = {fingerprint_hex(der): der for folder in folders for der in _readable_files(folder)}
    return TrustStore(
        name=PRODUCTION_NAME,
        anchors=_pinned(PRODUCTION_ANCHORS, found, folders),
        intermediates=_pinned(PRODUCTION_INTERMEDIATES, found, folders),
        crl_urls=PRODUCTION_CRL_URLS,
        ocsp_urls=PRODUCTION_OCSP_URLS,
    )


def folder_trust(folder: Path) -> TrustStore:
    """Return the trust of a folder, which replaces the pins and never adds to them.

    Args:
        folder: with trust.toml (`name`, `test_cards`, `crl_urls`, `ocsp_urls`),
            anchors/*.cer and intermediates/*.cer (DER); or, without trust.toml, a plain
            folder of .cer, .der, .crt or .pem files in which self-signed CAs are anchors,
            other CAs intermediates, and TEST cards are allowed.

    Raises:
        TrustStoreUnusable: no such folder, no anchor in it, a file that cannot be read, or one
            that everybody can write to.
    """
    settings = folder / "trust.toml"
    try:
        if not folder.is_dir():
            raise TrustStoreUnusable(f"{folder}: not a folder")
        _check_is_nobodys(folder, settings, folder / "anchors", folder / "intermediates")
        store = _described_trust(folder, settings) if settings.exists() else _plain_trust(folder)
    except OSError as error:
        raise TrustStoreUnusable(f"{folder}: {error.strerror}") from None
    if not store.name.strip() or not store.name.isprintable():
        raise TrustStoreUnusable(f"{folder}: its trust has an empty or unprintable name")
    if store.name.strip().casefold() == PRODUCTION_NAME.casefold():
        raise TrustStoreUnusable(f"{folder}: the name is that of the production trust")
    if not store.anchors:
        raise TrustStoreUnusable(f"{folder}: no anchor")
    return store


def _check_is_nobodys(*paths: Path) -> None:
    """Refuse what everybody could have put an anchor into."""
    for path in paths:
        if path.exists() and path.stat().st_mode & stat.S_IWOTH:
            raise TrustStoreUnusable(f"{path}: everybody can write to it")


def _described_trust(folder: Path, settings_file: Path) -> TrustStore:
    settings = _read_settings(settings_file)
    return TrustStore(
        name=settings.name,
        anchors=tuple(_certificates(folder / "anchors", ("*.cer",))),
        intermediates=tuple(_certificates(folder / "intermediates", ("*.cer",))),
        test_cards=settings.test_cards,
        crl_urls=settings.crl_urls,
        ocsp_urls=settings.ocsp_urls,
    )


def _plain_trust(folder: Path) -> TrustStore:
    found = _certificates(folder, ("*.cer", "*.crt", "*.der", "*.pem"))
    authorities = tuple(certificate for certificate in found if _is_ca(certificate))
    self_signed = tuple(ca for ca in authorities if _is_self_signed(ca))
    return TrustStore(
        name=folder.resolve().name,
        anchors=self_signed,
        intermediates=tuple(ca for ca in authorities if ca not in self_signed),
        test_cards=True,
    )


def _is_self_signed(certificate: x509.Certificate) -> bool:
    parts = signed_parts(certificate.public_bytes(Encoding.DER))
    is_self_issued = certificate.subject == certificate.issuer
    return is_self_issued and is_signed_with(certificate, parts, certificate.public_key())


def _is_ca(certificate: x509.Certificate) -> bool:
    basic = read_fields(certificate).extensions.get(x509.BasicConstraints)
    return basic is not None and basic.ca


def _read_settings(file: Path) -> _TrustSettings:
    try:
        return msgspec.toml.decode(_read_file(file), type=_TrustSettings)
    except (msgspec.DecodeError, ValueError) as error:
        raise TrustStoreUnusable(f"{file}: {error}") from None


def _certificates(folder: Path, patterns: Iterable[str]) -> Iterator[x509.Certificate]:
    for file in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        _check_is_nobodys(file)
        content = _read_file(file)
        try:
            yield from [load_x509(der) for der in _split(content)]
        except ValueError as error:
            raise TrustStoreUnusable(f"{file}: {error}") from None


def _split(content: bytes) -> list[bytes]:
    if not content.lstrip().startswith(b"-----BEGIN"):
        return [content]
    return [
        certificate.public_bytes(Encoding.DER)
        for certificate in x509.load_pem_x509_certificates(content)
    ]


def _read_file(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            content = opened.read(_FILE_MAX_BYTES + 1)
    except OSError as error:
        raise TrustStoreUnusable(f"{file}: {error.strerror}") from None
    if len(content) > _FILE_MAX_BYTES:
        raise TrustStoreUnusable(f"{file}: longer than {_FILE_MAX_BYTES} bytes")
    return content


def _readable_files(folder: Path) -> Iterator[bytes]:
    for file in sorted(folder.glob("*.cer")):
        try:
            yield _read_file(file)
        except TrustStoreUnusable:
            continue  # if it was a pinned one, it will be missed by name


def _pinned(
    pins: Mapping[str, str], found: Mapping[str, bytes], folders: tuple[Path, ...]
) -> tuple[x509.Certificate, ...]:
    missing = [name for sha256_hex, name in pins.items() if sha256_hex not in found]
    if missing:
        places = ", ".join(map(str, folders))
        raise TrustStoreUnusable(f"missing in {places}: {', '.join(missing)}")
    return tuple(load_x509(found[sha256_hex]) for sha256_hex in pins)

"""The trust store: the pinned production authorities, or another folder in their place."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.errors import TrustStoreUnusable
from cps_auth.files import ownership_fault
from cps_auth.pki.certificate.parse import fingerprint_hex, load_x509, read_fields
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
PINNED = {**PRODUCTION_ANCHORS, **PRODUCTION_INTERMEDIATES}
"""Names of the pinned certificates, by SHA-256."""


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


def is_web_address(url: str) -> bool:
    """Return whether this is an http or https address with a host and nothing odd about it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018, raises when it is no number
    except ValueError:
        return False
    is_plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    return is_plain and parts.scheme in ("http", "https") and bool(parts.hostname)


def production_trust(folders: Iterable[Path] = PRODUCTION_FOLDERS) -> TrustStore:
    """Return the pinned authorities: the default, and the only production trust.

    Args:
        folders: where `*.cer` files (DER) are looked for; files that are not pinned and folders
            that are not there are passed over.

    Raises:
        TrustStoreUnusable: a pinned certificate is in none of the folders, or in one that may
            not be read.
    """
    folders = tuple(folders)
    found, unreadable = pinned_certificates(folders)
    missing = [name for pin, name in PINNED.items() if pin not in found]
    if missing:
        places = ", ".join(map(str, folders))
        what = "; ".join([f"missing in {places}: {', '.join(missing)}", *unreadable])
        raise TrustStoreUnusable(what)
    return TrustStore(
        name=PRODUCTION_NAME,
        anchors=tuple(load_x509(found[pin]) for pin in PRODUCTION_ANCHORS),
        intermediates=tuple(load_x509(found[pin]) for pin in PRODUCTION_INTERMEDIATES),
        crl_urls=PRODUCTION_CRL_URLS,
        ocsp_urls=PRODUCTION_OCSP_URLS,
    )


def pinned_certificates(folders: Iterable[Path]) -> tuple[dict[str, bytes], list[str]]:
    """Return the pinned certificates in some folders, and what may not be read there.

    Args:
        folders: see `production_trust`.

    Returns:
        DER by SHA-256, and technical words for each file or folder.
    """
    found: dict[str, bytes] = {}
    unreadable: list[str] = []
    for folder in folders:
        try:
            for file in _files(folder, (".cer",)):
                with contextlib.suppress(TrustStoreUnusable):  # too long: not a pinned one
                    der = _read(file, is_trusted=False)
                    found[fingerprint_hex(der)] = der
        except FileNotFoundError:
            continue
        except OSError as error:
            unreadable.append(f"{error.filename or folder}: {error.strerror}")
    return {pin: found[pin] for pin in PINNED if pin in found}, unreadable


def folder_trust(folder: Path) -> TrustStore:
    """Return the trust of a folder, which replaces the pins and never adds to them.

    Args:
        folder: with trust.toml (`name`, `test_cards`, `crl_urls`, `ocsp_urls`),
            anchors/*.cer and intermediates/*.cer (DER); or, without trust.toml, a plain
            folder of .cer, .der, .crt or .pem files in which self-signed CAs are anchors,
            other CAs intermediates, and TEST cards are allowed.

    Raises:
        TrustStoreUnusable: no such folder, no anchor in it, a file or folder that may not be
            read, or that others than root and this process's user could have written.
    """
    settings = folder / "trust.toml"
    try:
        _check_protected(folder)
        store = _described_trust(folder, settings) if settings.exists() else _plain_trust(folder)
    except OSError as error:
        raise TrustStoreUnusable(f"{error.filename or folder}: {error.strerror}") from None
    if not store.name.strip() or not store.name.isprintable():
        raise TrustStoreUnusable(f"{folder}: its trust has an empty or unprintable name")
    if store.name.strip().casefold() == PRODUCTION_NAME.casefold():
        raise TrustStoreUnusable(f"{folder}: the name is that of the production trust")
    if not store.anchors:
        raise TrustStoreUnusable(f"{folder}: no anchor")
    return store


def _check_protected(folder: Path) -> None:
    """Refuse a folder that others could have put an anchor into."""
    fault = ownership_fault(folder.stat())
    if fault is not None:
        raise TrustStoreUnusable(f"{folder}: {fault}")
    if not folder.is_dir():
        raise TrustStoreUnusable(f"{folder}: not a folder")


def _described_trust(folder: Path, settings_file: Path) -> TrustStore:
    try:
        settings = msgspec.toml.decode(_read(settings_file), type=_TrustSettings)
    except (msgspec.DecodeError, ValueError) as error:
        raise TrustStoreUnusable(f"{settings_file}: {error}") from None
    for url in (*settings.crl_urls, *settings.ocsp_urls):
        if not is_web_address(url):
            raise TrustStoreUnusable(f"{settings_file}: neither http nor https: {url}")
    return TrustStore(
        name=settings.name,
        anchors=_certificates_in(folder / "anchors"),
        intermediates=_certificates_in(folder / "intermediates"),
        test_cards=settings.test_cards,
        crl_urls=settings.crl_urls,
        ocsp_urls=settings.ocsp_urls,
    )


def _certificates_in(folder: Path) -> tuple[x509.Certificate, ...]:
    if not folder.exists():
        return ()
    _check_protected(folder)
    return tuple(_certificates(folder, (".cer",)))


def _plain_trust(folder: Path) -> TrustStore:
    found = _certificates(folder, (".cer", ".crt", ".der", ".pem"))
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
    basic = read_fields(certificate).extensions.known.get(x509.BasicConstraints)
    return basic is not None and basic.ca


def _certificates(folder: Path, endings: tuple[str, ...]) -> Iterator[x509.Certificate]:
    for file in _files(folder, endings):
        content = _read(file)
        try:
            yield from [load_x509(der) for der in _split(content)]
        except ValueError as error:
            raise TrustStoreUnusable(f"{file}: {error}") from None


def _files(folder: Path, endings: tuple[str, ...]) -> list[Path]:
    """Return the files of a folder with these endings. Not by glob, which hides what it may not
    read.

    Raises:
        OSError: it is not there, or may not be read.
    """
    return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.name.endswith(endings))


def _split(content: bytes) -> list[bytes]:
    if not content.lstrip().startswith(b"-----BEGIN"):
        return [content]
    return [
        certificate.public_bytes(Encoding.DER)
        for certificate in x509.load_pem_x509_certificates(content)
    ]


def _read(file: Path, *, is_trusted: bool = True) -> bytes:
    """Return the content of a file; of one whose word is taken, only if it is protected."""
    with file.open("rb") as opened:
        fault = ownership_fault(os.fstat(opened.fileno())) if is_trusted else None
        if fault is not None:
            raise TrustStoreUnusable(f"{file}: {fault}")
        content = opened.read(_FILE_MAX_BYTES + 1)
    if len(content) > _FILE_MAX_BYTES:
        raise TrustStoreUnusable(f"{file}: longer than {_FILE_MAX_BYTES} bytes")
    return content

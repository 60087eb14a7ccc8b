"""Brings certificates and lists into their folders, after they were verified and not before."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from cps_auth.errors import TrustStoreUnusable
from cps_auth.files import locked, make_folder, replace_file, version_of
from cps_auth.pki.certificate.parse import fingerprint_hex
from cps_auth.pki.certificate.profiles import IGC_SANTE_LOGIN
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.chain.pins import PRODUCTION_AUTHORITY_URLS
from cps_auth.pki.chain.trust_store import (
    PINNED,
    PRODUCTION_FOLDERS,
    TrustStore,
    pinned_certificates,
    recognise,
)
from cps_auth.pki.chain.verify import Authorities
from cps_auth.pki.revocation.crl import CRL_MAX_BYTES, Crl
from cps_auth.pki.revocation.crl_header import CRL_PROBLEMS, CrlProblem
from cps_auth.pki.revocation.crl_index import FOLDER
from cps_auth.pki.revocation.crl_lookup import number_key
from cps_auth.pki.revocation.crl_store import CrlNumbers, ScopedKey
from cps_auth.pki.upkeep.fetch import FetchFailed, fetch_authority, fetch_list, list_urls

_FILE_MAX_BYTES = 1024 * 1024
_LOCK = "update.lock"
_ODD = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True)
class Outcome:
    """The outcome of one address or file.

    Attributes:
        source: the address or file.
        result: "stored", "unchanged", or why nothing was stored (a stable code).
        issuer: common name of the authority, when it is known.
        number: of the list.
    """

    source: str
    result: str
    issuer: str | None = None
    number: int | None = None

    @property
    def is_good(self) -> bool:
        """Return whether the newest is in the folder now."""
        return self.result in ("stored", "unchanged")


Fetch = Callable[[str, TrustStore], bytes]


def update_authorities(
    folder: Path = PRODUCTION_FOLDERS[1],
    *,
    folders: Sequence[Path] = PRODUCTION_FOLDERS,
    fetch: Callable[[str], bytes] = fetch_authority,
) -> Iterator[Outcome]:
    """Fetch the pinned authorities that a computer does not have yet.

    Args:
        folder: where they are stored.
        folders: where `production_trust` looks, that one too.
        fetch: as `fetch_authority`.

    Yields:
        What became of each address, and of each pinned certificate that came.

    Raises:
        TrustStoreUnusable: a certificate cannot be written.
    """
    for url in PRODUCTION_AUTHORITY_URLS:
        missing = PINNED.keys() - pinned_certificates(folders)[0].keys()
        if not missing:
            return
        try:
            unverified = fetch(url)
        except FetchFailed as failed:
            yield Outcome(url, failed.why)
            continue
        for der in _certificates_in(unverified):
            if fingerprint_hex(der) in missing:
                yield _import_certificate(der, url, folder)


def update_lists(
    trust: TrustStore, folder: Path, *, at: datetime, fetch: Fetch = fetch_list
) -> Iterator[Outcome]:
    """Fetch every list that a trust store names, and store those that are good and newer.

    Args:
        trust: whose lists, from which hosts.
        folder: of the lists; made if it is not there.
        at: now, aware UTC.
        fetch: as `fetch_list`.

    Yields:
        What became of each address, as it is known. A list that is there already stays
        whatever happens.
    """
    for url in list_urls(trust):
        try:
            unverified = fetch(url, trust)
        except FetchFailed as failed:
            yield Outcome(url, failed.why)
            continue
        yield store_list(unverified, url, trust, folder, at=at)


def store_list(
    unverified_crl: bytes, source: str, trust: TrustStore, folder: Path, *, at: datetime
) -> Outcome:
    """Store a list if an authority of the trust store stands behind it and it is no older.

    Args:
        unverified_crl: as it came.
        source: shown in the outcome.
        trust: whose authorities count.
        folder: of the lists.
        at: now, aware UTC.
    """
    try:
        crl = Crl.parse(unverified_crl)
    except ValueError:
        return Outcome(source, CrlProblem.MALFORMED)
    issuer, problem = _issuer_of(crl, trust, at)
    shown, number = crl.header.issuer_name, crl.header.number
    if issuer is None:
        return Outcome(source, problem, shown, number)
    result: str
    try:
        result = _place(unverified_crl, crl, issuer, folder)
    except OSError as error:
        result = f"not-written: {error.strerror}"
    except ValueError:
        result = CrlProblem.NUMBERS_UNREADABLE
    return Outcome(source, result, shown, number)


def _issuer_of(crl: Crl, trust: TrustStore, at: datetime) -> tuple[Issuer | None, CrlProblem]:
    closest = CrlProblem.NO_CRL
    authorities = Authorities(trust, IGC_SANTE_LOGIN)
    for issuer in authorities.named(crl.header.issuer_key):
        if authorities.path(issuer, at=at, signs_crls_only=True) is None:
            continue
        problem = crl.problem_under(issuer)
        if problem is None and at < crl.header.this_update:
            problem = CrlProblem.NOT_YET_VALID
        if problem is None:
            return issuer, closest
        closest = max(closest, problem, key=CRL_PROBLEMS.index)
    return None, closest


def _place(content: bytes, crl: Crl, issuer: Issuer, folder: Path) -> str:
    make_folder(folder / FOLDER)
    with locked(folder / FOLDER / _LOCK):  # nobody places another list after our look at numbers
        numbers = CrlNumbers(folder / FOLDER)
        key = number_key(crl, issuer)
        file = folder / _file_name(crl, key)
        if file.is_file() and file.stat().st_size == len(content) and file.read_bytes() == content:
            return "unchanged"
        number = crl.header.number
        if numbers.is_rollback(key, number) or (number is None and _is_older(crl, file)):
            return CrlProblem.ROLLBACK
        replace_file(file, content)
        numbers.saw(key, number)  # after: a full disk must not make the list that is here old
    # Built now, so that no process that judges has to: see `Crl.from_file`.
    Crl.from_file(file, version_of(file)).signature_problem(issuer)
    return "stored"


def _is_older(crl: Crl, file: Path) -> bool:
    """Return whether a list without a number is older than the one that is there."""
    try:
        there = Crl.from_file(file, version_of(file))
    except (OSError, ValueError):
        return False
    return crl.header.this_update < there.header.this_update


def _file_name(crl: Crl, key: ScopedKey) -> str:
    """Return a name of ours, the same for every list that replaces this one and for no other."""
    stem = _ODD.sub("-", crl.header.issuer_name)[:64].strip(".-") or "list"
    return f"{stem}-{hashlib.sha256(':'.join(key).encode()).hexdigest()[:8]}.crl"


def import_certificates(source: Path, folder: Path) -> Iterator[Outcome]:
    """Store the pinned certificates of production that are in a file or folder.

    Args:
        source: DER, PEM or PKCS #7 (.p7b), or a folder of them.
        folder: where `production_trust` looks.

    Yields:
        One outcome per certificate; "not-pinned" and "not-for-login" are not stored.

    Raises:
        TrustStoreUnusable: a file cannot be read or written.
    """
    try:
        for file in files_of(source):
            if file.suffix.lower() != ".crl":
                for der in _certificates_in(_read(file, _FILE_MAX_BYTES)):
                    yield _import_certificate(der, str(file), folder)
    except OSError as error:
        raise TrustStoreUnusable(f"{source}: {error.strerror}") from None


def _import_certificate(der: bytes, source: str, folder: Path) -> Outcome:
    name = PINNED.get(fingerprint_hex(der))
    if name is None:
        known = recognise(der)
        return Outcome(source, "not-pinned" if known is None else "not-for-login", known)
    try:
        make_folder(folder)
        replace_file(folder / f"{_ODD.sub('-', name)}.cer", der)
    except OSError as error:
        raise TrustStoreUnusable(f"{folder}: {error.strerror}") from None
    return Outcome(source, "stored", name)


def import_lists(
    source: Path, trust: TrustStore, folder: Path, *, at: datetime
) -> Iterator[Outcome]:
    """Store the lists (*.crl) of a file or folder, for a computer that is offline.

    Args:
        source: a .crl file or a folder of them.
        trust, folder, at: as in `update_lists`.

    Raises:
        TrustStoreUnusable: a file cannot be read.
    """
    for file in files_of(source):
        if file.suffix.lower() != ".crl":
            continue
        try:
            unverified = _read(file, CRL_MAX_BYTES)
        except OSError as error:
            raise TrustStoreUnusable(f"{file}: {error.strerror}") from None
        yield store_list(unverified, str(file), trust, folder, at=at)


def files_of(source: Path) -> list[Path]:
    """Return the files of a folder, sorted, or the one file."""
    if source.is_dir():
        return sorted(path for path in source.iterdir() if path.is_file())
    return [source]


_LOADERS: tuple[Callable[[bytes], list[x509.Certificate]], ...] = (
    lambda der: [x509.load_der_x509_certificate(der)],
    x509.load_pem_x509_certificates,
    pkcs7.load_pem_pkcs7_certificates,
    pkcs7.load_der_pkcs7_certificates,
)


def _certificates_in(content: bytes) -> Iterable[bytes]:
    for load in _LOADERS:
        try:
            return [certificate.public_bytes(Encoding.DER) for certificate in load(content)]
        except Exception:  # noqa: S112, not of this kind; the library lists no errors
            continue
    return ()


def _read(file: Path, max_bytes: int) -> bytes:
    with file.open("rb") as opened:
        content = opened.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise OSError(27, "longer than allowed")
    return content

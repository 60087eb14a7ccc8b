"""A CRL: verifies its signature under an issuer, and looks a serial number up."""

from __future__ import annotations

import threading
from bisect import bisect_left
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from cps_auth.der import UTC_TIME
from cps_auth.files import FileVersion
from cps_auth.pki.certificate.signature import is_signed_with, signed_parts
from cps_auth.pki.chain.issuer import Issuer
from cps_auth.pki.revocation.crl_entries import DATE_WIDTH, REASONS, REMOVED, Entries, read_entries
from cps_auth.pki.revocation.crl_header import CrlHeader, CrlProblem, read_header, revoked_part
from cps_auth.pki.revocation.crl_index import IndexHeader, open_index, write_index

CRL_MAX_BYTES = 100 * 1024 * 1024


class Crl:
    """A parsed CRL; `signature_problem` verifies that an issuer signed it.

    Attributes:
        header: all that it says but its entries.
    """

    def __init__(self, header: CrlHeader, entries: Entries | None = None) -> None:
        self.header = header
        self._entries = entries
        self._problems: dict[str, CrlProblem | None] = {}  # of the signature, by key_sha256_hex
        self._source: tuple[x509.CertificateRevocationList, bytes] | None = None
        self._file: tuple[Path, FileVersion] | None = None
        self._mutex = threading.Lock()

    @classmethod
    def parse(cls, unverified_crl: bytes) -> Crl:
        """Read a CRL from DER or PEM, its entries only once a signature on it was verified.

        Raises:
            ValueError: it cannot be read, or is longer than CRL_MAX_BYTES.
        """
        if len(unverified_crl) > CRL_MAX_BYTES:
            raise ValueError("CRL: too long")
        try:
            crl, der = _load(unverified_crl)
            read = cls(read_header(crl, der))
        except Exception as error:  # the library documents no closed list, and reads lazily
            raise ValueError(f"CRL: unreadable, {type(error).__name__}") from None
        read._source = crl, der
        return read

    @classmethod
    def from_file(cls, file: Path, version: FileVersion) -> Crl:
        """Read a CRL from its index, or itself where there is none that may be believed.

        Raises:
            ValueError, OSError: it cannot be read.
        """
        indexed = open_index(file, version)
        if indexed is not None:
            header, entries = indexed
            crl = cls(header.crl, entries)
            crl._problems[header.key_sha256_hex] = None
            return crl
        with file.open("rb") as opened:
            crl = cls.parse(opened.read(CRL_MAX_BYTES + 1))
        crl._file = file, version
        return crl

    @property
    def entries(self) -> Entries:
        """Return the entries, sorted.

        Raises:
            LookupError: nobody's signature on this CRL was verified yet.
        """
        if self._entries is None:
            raise LookupError("CRL: not verified")
        return self._entries

    def find(self, serial: int) -> tuple[datetime, str] | None:
        """Return since when and why a serial number is listed, None when it is not.

        Raises:
            LookupError: nobody's signature on this CRL was verified yet.
        """
        return find_entry(self.entries, serial)

    @property
    def entry_count(self) -> int | None:
        """Return how many entries there are, None when nobody's signature was verified yet."""
        return None if self._entries is None else self._entries.count

    def problem_under(self, issuer: Issuer) -> CrlProblem | None:
        """Return why this is no complete CRL signed by this issuer, None when it is."""
        return self.signature_problem(issuer) or self.header.problem

    def signature_problem(self, issuer: Issuer) -> CrlProblem | None:
        """Return why an issuer does not stand behind this, None when it does.

        The signature is verified once per key and remembered, on disk too where we may.
        """
        if not issuer.may_sign_crls:  # RFC 5280 section 6.3.3 (f)
            return CrlProblem.ISSUER_MAY_NOT_SIGN
        claimed, identifier = self.header.authority_key_hex, issuer.key_identifier
        if claimed and identifier and claimed != identifier.hex():  # section 5.2.1
            return CrlProblem.OTHER_KEY
        key = issuer.key_sha256_hex
        if key not in self._problems:
            with self._mutex:
                if key not in self._problems:
                    self._problems[key] = self._verify(issuer)
        return self._problems[key]

    def _verify(self, issuer: Issuer) -> CrlProblem | None:
        """Verify the signature, RFC 5280 section 6.3.3 (g), and read the entries."""
        if self._source is None:  # another key made the signature
            return CrlProblem.OTHER_KEY
        crl, der = self._source
        if not is_signed_with(crl, signed_parts(der), issuer.key):
            return CrlProblem.BAD_SIGNATURE
        self._source = None  # no other key can have made this signature
        try:
            entries, problem = read_entries(der, revoked_part(der))
        except (ValueError, IndexError):
            return CrlProblem.MALFORMED
        if problem is not None:
            self.header = msgspec.structs.replace(self.header, problem=problem)
        self._entries = entries
        if self._file is not None:
            file, version = self._file
            width = entries.serial_width
            index = IndexHeader(version, issuer.key_sha256_hex, self.header, entries.count, width)
            write_index(file, index, entries)
        return None


def _load(unverified_crl: bytes) -> tuple[x509.CertificateRevocationList, bytes]:
    if unverified_crl.startswith(b"-----BEGIN"):
        crl = x509.load_pem_x509_crl(unverified_crl)
        return crl, crl.public_bytes(Encoding.DER)
    return x509.load_der_x509_crl(unverified_crl), unverified_crl


def find_entry(entries: Entries, serial: int) -> tuple[datetime, str] | None:
    """Search sorted entries by halves; see `Crl.find`."""
    block, width = entries.block, entries.serial_width
    try:
        wanted = serial.to_bytes(width, "big")
    except OverflowError:  # wider than the widest of the CRL, or negative
        return None
    size = width + DATE_WIDTH + 1
    starts = range(entries.offset, entries.offset + entries.count * size, size)
    first = bisect_left(starts, wanted, key=lambda at: block[at : at + width])
    found = None
    for at in starts[first:]:  # of several for one serial number, one that revokes
        line = bytes(block[at : at + size])
        if line[:width] != wanted:
            break
        found = _date(line[width:-1]), REASONS.get(line[-1], REASONS[0])
        if found[1] != REMOVED:
            break
    return found


def _date(padded: bytes) -> datetime:
    """Return a date as the CRL writes it. The strict parser has seen that it is one."""
    text = padded[1:].rstrip(b"\0").decode("ascii")
    if padded[0] == UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text  # RFC 5280 section 4.1.2.5.1
    if text.startswith("0000"):  # a year in GeneralizedTime, and none in Python
        return datetime.min.replace(tzinfo=UTC)
    return datetime.fromisoformat(f"{text[:8]}T{text[8:]}")

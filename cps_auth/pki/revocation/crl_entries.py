"""The entries of a CRL as one sorted block of fixed-width records, searched by halves.

A record is the serial number (20 bytes, or as wide as the widest of the CRL), the revocation
date as the CRL writes it, padded, and the reason. The block is bytes, or a file that is mapped.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass

from cps_auth.der import (
    BOOLEAN,
    ENUMERATED,
    INTEGER,
    OCTET_STRING,
    SEQUENCE,
    Element,
    element_at,
)
from cps_auth.pki.revocation.crl_header import CrlProblem

DATE_WIDTH = 16  # tag and at most fifteen characters: RFC 5280 section 5.1.2.4
SERIAL_BYTES = 20  # RFC 5280 section 4.1.2.2
SERIAL_MAX_BYTES = 64  # a list with longer ones cannot be read
EXTENSIONS_MAX = 8  # of one entry; RFC 5280 section 5.3 knows four

REASONS = {
    0: "unspecified",
    1: "keyCompromise",
    2: "cACompromise",
    3: "affiliationChanged",
    4: "superseded",
    5: "cessationOfOperation",
    6: "certificateHold",
    8: "removeFromCRL",
    9: "privilegeWithdrawn",
    10: "aACompromise",
}
"""RFC 5280 section 5.3.1."""

HOLD, REMOVED = REASONS[6], REASONS[8]

_REASON_HEAD = bytes([OCTET_STRING, 3, ENUMERATED, 1])
_REASON_OID, _INVALIDITY_OID, _ISSUER_OID = (bytes([0x55, 0x1D, last]) for last in (21, 24, 29))


@dataclass(frozen=True)
class Entries:
    """Sorted records; `block` may hold something before them."""

    block: bytes | mmap.mmap
    offset: int
    count: int
    serial_width: int


def read_entries(der: bytes, entries: Element | None) -> tuple[Entries, CrlProblem | None]:
    """Read the entries of a CRL, and why they are not all of its issuer's, or not understood.

    Args:
        der: the whole CRL, already parsed by a strict parser.
        entries: where revokedCertificates is; None when the CRL is empty.

    Returns:
        The entries and None; or UNKNOWN_EXTENSION when one has a critical extension that nobody
        here understands; or PARTIAL and the entries before the first that is about another
        issuer's certificate (RFC 5280 section 5.3.3).

    Raises:
        ValueError: not DER, or a serial number longer than SERIAL_MAX_BYTES.
    """
    if entries is None:
        return Entries(b"", 0, 0, SERIAL_BYTES), None
    width = SERIAL_BYTES
    lines, problem = _records(der, entries.content, entries.end, width)
    longest = max(map(len, lines), default=0) - DATE_WIDTH - 1
    if longest > width:
        width = longest
        lines, problem = _records(der, entries.content, entries.end, width)
    lines.sort()
    return Entries(b"".join(lines), 0, len(lines), width), problem


def _records(der: bytes, start: int, end: int, width: int) -> tuple[list[bytes], CrlProblem | None]:
    """Return records with serial numbers of this width, or wider ones as they are."""
    reasons: dict[bytes, bytes] = {b"": b"\0"}
    records: list[bytes] = []
    problem = None
    at = start
    while at < end:
        # the common shape, short lengths throughout, without a call: 300,000 times
        tag, size, inner, long = der[at : at + 4]
        content, after = at + 2, at + 2 + size
        if size > 0x7F:
            _, _, content, after = element_at(der, at, end)
            inner, long = der[content : content + 2]
        serial, serial_end = content + 2, content + 2 + long
        date_end = serial_end + 2 + der[serial_end + 1]
        if long > SERIAL_MAX_BYTES + 1 or not date_end <= after <= end:
            raise ValueError("entry: longer than any that we know")
        if tag != SEQUENCE or inner != INTEGER:
            raise ValueError("entry: not DER")
        extensions = der[date_end:after]
        reason = reasons.get(extensions)
        if reason is None:
            code, new_problem = _reason(extensions)
            if new_problem is CrlProblem.PARTIAL:
                return records, new_problem
            problem = problem or new_problem
            reason = bytes([code])
            if len(reasons) < 4096:
                reasons[extensions] = reason
        first = der[serial]
        if first < 0x80:  # a negative one is nobody's that we accept
            number = der[serial:serial_end].lstrip(b"\0") if first == 0 else der[serial:serial_end]
            date = der[serial_end : serial_end + 1] + der[serial_end + 2 : date_end]
            records.append(number.rjust(width, b"\0") + date.ljust(DATE_WIDTH, b"\0") + reason)
        at = after
    return records, problem


def _reason(extensions: bytes) -> tuple[int, CrlProblem | None]:
    """Return the reason code of an entry, 0 when it gives none, and what is wrong with it."""
    reason, problem = 0, None
    for start, end in _each(extensions):
        # short lengths throughout, but for those of a long value, which is not looked into
        oid_end = start + 2 + extensions[start + 1]
        oid, critical = extensions[start + 2 : oid_end], extensions[oid_end] == BOOLEAN
        if oid == _ISSUER_OID:
            return 0, CrlProblem.PARTIAL
        if oid == _REASON_OID:
            value = extensions[oid_end + 3 * critical : end]
            if len(value) != 5 or value[:4] != _REASON_HEAD:
                raise ValueError("entry: reason")
            reason = value[4]
        elif critical and oid != _INVALIDITY_OID:
            problem = CrlProblem.UNKNOWN_EXTENSION
    return reason, problem


def _each(extensions: bytes) -> Iterator[tuple[int, int]]:
    """Yield where the content of each extension of an entry starts and ends."""
    at = element_at(extensions, 0, len(extensions)).content
    for _ in range(EXTENSIONS_MAX):
        if at >= len(extensions):
            return
        start, end = at + 2, at + 2 + extensions[at + 1]
        if extensions[at + 1] > 0x7F:
            _, _, start, end = element_at(extensions, at, len(extensions))
        yield start, end
        at = end
    if at < len(extensions):
        raise ValueError("entry: more extensions than there are")

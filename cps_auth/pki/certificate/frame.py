"""Where the parts of a certificate or list lie in its bytes. RFC 5280 sections 4.1 and 5.1."""

from __future__ import annotations

from typing import NamedTuple

from cps_auth.der import BIT_STRING, SEQUENCE, content_of

_EXTENSIONS = 0xA3  # [3] EXPLICIT


class Frame(NamedTuple):
    """The signed bytes of a certificate or list, and what was passed on the way through them."""

    start: int
    end: int
    issuer_der: bytes
    after_issuer: int


def frame_of(der: bytes) -> Frame:
    """Find the signed bytes of a certificate or list.

    Raises:
        ValueError, IndexError: not DER, or the algorithm inside is not the one outside (RFC 5280
            sections 4.1.1.2 and 5.1.1.2).
    """
    content, end = content_of(der, 0, len(der))
    signed_content, signed_end = content_of(der, content, end)
    _, algorithm_end = content_of(der, signed_end, end)
    signature_content, signature_end = content_of(der, algorithm_end, end)
    if der[algorithm_end] != BIT_STRING or der[signature_content] != 0:
        raise ValueError("signed: a signature of no whole bytes")
    if signature_end != end or end != len(der):
        raise ValueError("signed: more than three parts, or trailing bytes")
    named_start, named_end = _next_sequence(der, signed_content, signed_end)
    if der[named_start:named_end] != der[signed_end:algorithm_end]:
        raise ValueError("signed: two algorithms")
    issuer_start, issuer_end = _next_sequence(der, named_end, signed_end)
    return Frame(content, signed_end, der[issuer_start:issuer_end], issuer_end)


def frame_or_none(der: bytes) -> Frame | None:
    """Find the signed bytes of a certificate or list; None when they cannot have been signed."""
    try:
        return frame_of(der)
    except (ValueError, IndexError):
        return None


def holders_parts(der: bytes, frame: Frame) -> tuple[list[bytes], int, int]:
    """Return the RDNs of a certificate's subject, and where its extensions begin and end.

    Args:
        der: a certificate that was parsed.
        frame: of it.

    Raises:
        ValueError, IndexError: not DER.
    """
    _, validity_end = content_of(der, frame.after_issuer, frame.end)
    subject, subject_end = content_of(der, validity_end, frame.end)
    _, at = content_of(der, subject_end, frame.end)  # the key
    while at < frame.end:
        tag = der[at]
        content, at = content_of(der, at, frame.end)
        if tag == _EXTENSIONS:
            first, extensions_end = content_of(der, content, at)
            return elements_of(der, subject, subject_end), first, extensions_end
    return elements_of(der, subject, subject_end), 0, 0


def elements_of(der: bytes, at: int, end: int) -> list[bytes]:
    """Return the elements between two positions, each with its header.

    Raises:
        ValueError, IndexError: not DER.
    """
    found = []
    while at < end:
        after = at + 2 + der[at + 1]
        if der[at + 1] > 0x7F or after > end:  # a long one, or none at all
            _, after = content_of(der, at, end)
        found.append(der[at:after])
        at = after
    return found


def _next_sequence(der: bytes, start: int, limit: int) -> tuple[int, int]:
    """Return where the first SEQUENCE from here begins and ends."""
    while start < limit:
        _, end = content_of(der, start, limit)
        if der[start] == SEQUENCE:
            return start, end
        start = end
    raise ValueError("signed: no algorithm or issuer inside")

"""Checks the form of an OCSP answer where the library does not: sizes, critical extensions.

Source: RFC 6960 sections 4.2.1 and 4.4.
"""

from __future__ import annotations

from cps_auth.der import (
    BIT_STRING,
    BOOLEAN,
    OCTET_STRING,
    SEQUENCE,
    Element,
    element_at,
    inside,
)
from cps_auth.pki.certificate.names import NAME_MAX_BYTES

CERTIFICATES_MAX = 4
"""Sent along with an answer: each costs time before anybody vouches for it. One is usual."""

_CERTIFICATES, _SINGLE_EXTENSIONS = 0xA0, 0xA1
_RESPONDER_ID = (0xA1, 0xA2)  # byName [1], byKey [2]


def has_sound_size(unverified_der: bytes) -> bool:
    """Return whether the parts of a successful answer that cost time to read are short.

    Args:
        unverified_der: an answer that the library took for one.

    Raises:
        ValueError, IndexError: not the DER of an answer.
    """
    der = unverified_der
    response_bytes = list(inside(der, element_at(der, 0, len(der))))[1]
    typed = list(inside(der, next(inside(der, response_bytes))))
    if typed[1].tag != OCTET_STRING:
        raise ValueError("answer: no octets")
    parts = list(inside(der, next(inside(der, typed[1]))))
    named = next(part for part in inside(der, parts[0]) if part.tag in _RESPONDER_ID)
    if named.end - named.start > NAME_MAX_BYTES:
        return False
    sent_along = parts[-1]
    if sent_along.tag != _CERTIFICATES:
        return sent_along.tag == BIT_STRING
    certificates = list(inside(der, next(inside(der, sent_along))))
    return len(certificates) <= CERTIFICATES_MAX and all(
        _subject_bytes(der, certificate) <= NAME_MAX_BYTES for certificate in certificates
    )


def _subject_bytes(der: bytes, certificate: Element) -> int:
    signed = next(inside(der, certificate))
    # signature, issuer, validity, subject: RFC 5280 section 4.1
    subject = [part for part in inside(der, signed) if part.tag == SEQUENCE][3]
    return subject.end - subject.start


def has_critical_inside(data: bytes) -> bool:
    """Return whether an extension of a single answer is critical; none is understood here.

    The library reads them only where there is one answer.

    Args:
        data: the signed part of an answer.

    Raises:
        ValueError: not DER.
    """
    responses = next(e for e in inside(data, element_at(data, 0, len(data))) if e.tag == SEQUENCE)
    return any(
        part.tag == BOOLEAN
        for single in inside(data, responses)
        for optional in list(inside(data, single))[3:]  # after CertID, status, thisUpdate
        if optional.tag == _SINGLE_EXTENSIONS
        for extensions in inside(data, optional)
        for extension in inside(data, extensions)
        for part in inside(data, extension)
    )

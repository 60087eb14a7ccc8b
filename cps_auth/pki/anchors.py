"""Whom we trust."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509


@dataclass(frozen=True)
class TrustStore:
    """The CA certificates under which a chain is judged, and what else they allow.

    Attributes:
        name: shown in every verdict.
        anchors: roots; a chain ends at one of them.
        intermediates: the only certificates that may stand between; none sent along is used.
        test_cards: whether cards of category TEST (table G01, 0x80) may log in.
        production: whether these are the pinned authorities of the IGC-Santé.
    """

    name: str
    anchors: tuple[x509.Certificate, ...]
    intermediates: tuple[x509.Certificate, ...] = ()
    test_cards: bool = False
    production: bool = False

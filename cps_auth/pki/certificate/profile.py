"""What a certificate has to be like to log somebody in: rules as data, one object a scheme."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier

from cps_auth.model import CardType, Practitioner

HolderReader = Callable[[x509.Certificate], Practitioner]
"""Reads who a certificate names; raises ValueError, with no personal data in its text."""


@dataclass(frozen=True)
class KeyRules:
    """Kinds and sizes of keys. NIST SP 800-57 part 1, table 2: 112 bits of security and more."""

    rsa_min_bits: int = 2048
    rsa_max_bits: int = 8192  # larger ones only cost time
    curves: frozenset[str] = frozenset({"secp256r1", "secp384r1", "secp521r1"})


DEFAULT_KEY_RULES = KeyRules()


@dataclass(frozen=True)
class CardRule:
    """What belongs to one type of card of the IGC-Santé.

    Attributes:
        gammes: of the authorities that certify such cards.
        seen: how well that is known, for whoever has to change it.
    """

    gammes: frozenset[str]
    seen: str


@dataclass(frozen=True)
class CertificateProfile:
    """A scheme's rules for the certificate of a person who logs in.

    Attributes:
        name: shown in every verdict.
        read_holder: reads who the certificate names.
        keys: of the holder and of the authorities.
        extended_usages: all of them have to be there by name.
        extended_usage_required: whether a certificate without the extension is refused.
        any_extended_usage: whether anyExtendedKeyUsage stands for all of them.
        refuse_content_commitment: whether nonRepudiation marks a signature certificate.
        policies: at least one of these, or one below them, valid along the chain; none: any.
        refused_policies: none of these, nor one below them.
        expected_policies: arcs; a certificate with none of them is accepted with a warning.
        max_intermediates: between anchor and holder.
        cards: what is asked of the private extensions of the IGC-Santé, by card type; None
            for a scheme that has none.
    """

    name: str
    read_holder: HolderReader = field(repr=False)
    keys: KeyRules = DEFAULT_KEY_RULES
    extended_usages: frozenset[ObjectIdentifier] = frozenset({ExtendedKeyUsageOID.CLIENT_AUTH})
    extended_usage_required: bool = True
    any_extended_usage: bool = False
    refuse_content_commitment: bool = True
    policies: frozenset[str] = frozenset()
    refused_policies: frozenset[str] = frozenset()
    expected_policies: frozenset[str] = frozenset()
    max_intermediates: int = 1
    cards: Mapping[CardType, CardRule] | None = field(default=None, hash=False)


def is_under(policy: str, arcs: frozenset[str]) -> bool:
    """Return whether a policy is one of these arcs, or below one."""
    return any(policy == arc or policy.startswith(arc + ".") for arc in arcs)

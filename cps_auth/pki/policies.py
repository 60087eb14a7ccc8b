"""Certificate policies along a chain: recorded always, decided on where a profile says so."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from cryptography import x509

from cps_auth.pki.links import extension_of

ANY_POLICY = "2.5.29.32.0"


@lru_cache(maxsize=64)
def _policies_of_authority(authority: x509.Certificate) -> frozenset[str]:
    return policies_of(authority)


def policies_of(certificate: x509.Certificate) -> frozenset[str]:
    """Return the policies that a certificate asserts, dotted; empty when it asserts none."""
    policies = extension_of(certificate, x509.CertificatePolicies)
    if policies is None:
        return frozenset()
    return frozenset(policy.policy_identifier.dotted_string for policy in policies)


def valid_policies(chain: Sequence[x509.Certificate]) -> frozenset[str]:
    """Return the leaf's policies that every authority below the anchor stands behind.

    Args:
        chain: leaf first, anchor last; the anchor is not asked (RFC 5280 section 6.1.1).

    Mapping is not done: a mapped policy is not a valid one, and a critical constraint on
    policies is refused by the verifier.
    """
    valid = policies_of(chain[0])
    for authority in chain[1:-1]:
        allowed = _policies_of_authority(authority)
        if ANY_POLICY not in allowed:
            valid &= allowed
    return valid

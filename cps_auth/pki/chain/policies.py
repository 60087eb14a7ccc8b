"""Certificate policies along a chain: recorded always, decided on where a profile says so."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography import x509

from cps_auth.pki.chain.issuer_checks import policies_of
from cps_auth.pki.chain.signatures import signer_of

ANY_POLICY = "2.5.29.32.0"


def valid_policies(chain: Sequence[x509.Certificate]) -> frozenset[str]:
    """Return the leaf's policies that every authority below the anchor stands behind.

    Args:
        chain: leaf first, anchor last; the anchor is not asked (RFC 5280 section 6.1.1).

    Mapping is not done: a mapped policy is not a valid one, and a critical constraint on
    policies is refused by the verifier.
    """
    valid = policies_of(chain[0])
    for authority in chain[1:-1]:
        allowed = signer_of(authority).policies
        if ANY_POLICY not in allowed:
            valid &= allowed
    return valid

"""The kept inputs: the public material of one fake IGC-Santé, and the keys of three test signers.

tests/vectors/verdicts/README.md says what is where; `tests.pki.frozen.making` made it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import MappingProxyType

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_der_private_key

FOLDER = Path(__file__).parents[2] / "vectors" / "verdicts"
REAL = Path(__file__).parents[4] / "shared" / "igc-sante"
"""Public certificates of the real IGC-Santé. They belong to others and are no part of this."""

AT = datetime(2026, 6, 15, 12, tzinfo=UTC)
"""The moment around which everything is dated."""

NONCE = bytes(range(32))
"""That of the question which the kept OCSP answers answer."""


@cache
def kept(kind: str) -> Mapping[str, bytes]:
    """Return the files of a folder by their names without suffix, in a stable order.

    Args:
        kind: certificates, lists, answers, or a folder of trust/.
    """
    files = sorted((FOLDER / kind).iterdir())
    return MappingProxyType({file.stem: file.read_bytes() for file in files})


def leaf(name: str = "doctor") -> bytes:
    """Return a certificate by its name."""
    return kept("certificates")[name]


@cache
def signer_key(name: str) -> RSAPrivateKey:
    """Return the published key of a test signer: fort, fort-personnes or responder."""
    der = (FOLDER / "keys" / f"TEST-KEY-{name}.der").read_bytes()
    key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, RSAPrivateKey)
    return key

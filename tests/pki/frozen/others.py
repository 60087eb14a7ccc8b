"""Cases of certificates that others made: NIST PKITS, and the real IGC-Santé's where they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import cryptography_vectors

from tests.pki.frozen.cases import Case, Trust, described
from tests.pki.frozen.inputs import REAL

_PKITS = Path(cryptography_vectors.__file__).parent / "x509" / "PKITS_data"
_PKITS_AT = datetime(2020, 6, 1, tzinfo=UTC)
_YEARS = range(2013, 2028, 2)


@cache
def pkits() -> list[Case]:
    """Return every end of a path of the suite, without and with a policy that is asked for."""
    files = sorted((_PKITS / "certs").glob("*.crt"))
    known = [path.read_bytes() for path in files if not path.stem.endswith("EE")]
    left_out = (_PKITS / "certs" / "DSAParametersInheritedCACert.crt").read_bytes()
    anchor = (_PKITS / "certs" / "TrustAnchorRootCertificate.crt").read_bytes()
    authorities = tuple(der for der in known if der not in (anchor, left_out))
    trust = described("PKITS", (anchor,), authorities)
    lists = tuple(path.read_bytes() for path in sorted((_PKITS / "crls").glob("*.crl")))
    return [
        Case(f"pkits/{path.stem}/{settings}", path.read_bytes(), lists, _PKITS_AT, trust, settings)
        for settings in ("pkits", "pkits-policy-1")
        for path in files
        if path.stem.endswith("EE")
    ]


def real_certificates() -> dict[str, bytes]:
    """Return the real certificates by name: production authorities and published TEST ones."""
    files = (*REAL.glob("production/*.cer"), *REAL.glob("test/*.der"))
    return {path.stem: path.read_bytes() for path in sorted(files)}


def real_trusts() -> dict[str, Trust]:
    """Return the pinned authorities, and folders with the authorities of the TEST hierarchy."""
    certificates = real_certificates()
    production = tuple(
        (path.name, path.read_bytes()) for path in sorted(REAL.glob("production/*.cer"))
    )
    tests = {name: der for name, der in certificates.items() if name.startswith("CA_TEST")}
    roots = tuple(der for name, der in tests.items() if "RACINE" in name)
    issuers = tuple(der for name, der in tests.items() if "RACINE" not in name)
    return {
        "pins": Trust("production", production, production=True),
        "pins-missing": Trust("production", production[:3], production=True),
        "test": Trust("ANS TEST", tuple((f"{name}.der", der) for name, der in tests.items())),
        "described": described("ANS TEST", roots, issuers),
        "everything": Trust("all", tuple((f"{n}.der", der) for n, der in certificates.items())),
    }


@cache
def real() -> list[Case]:
    """Return every real certificate under each trust every two years, without any list."""
    return list(_real())


def _real() -> Iterator[Case]:
    for short, trust in real_trusts().items():
        for name, der in real_certificates().items():
            years = _YEARS if short in ("pins", "test") else (2018,)
            for year in years:
                at = datetime(year, 1, 1, tzinfo=UTC)
                yield Case(f"real/{name}/{short}/{year}", der, (), at, trust)

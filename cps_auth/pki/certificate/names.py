"""Compares distinguished names as RFC 5280 section 7.1 says: case and spaces don't count."""

from __future__ import annotations

import json
import unicodedata

from cryptography import x509

NAME_MAX_BYTES = 1024
"""DER of a distinguished name that is read before anybody vouches for it. Real ones are under 300
bytes; reading costs 1 µs a byte and more."""


def name_key(name: x509.Name) -> str:
    """Return a text that is the same for two names exactly when they match.

    The order of RDNs counts, the order inside one doesn't. Strings are compared after NFKC,
    case folding and with runs of spaces as one (RFC 4518, simplified), in any string type.
    """
    rdns = [sorted((a.oid.dotted_string, _fold(a.value)) for a in rdn) for rdn in name.rdns]
    return json.dumps(rdns, ensure_ascii=True, separators=(",", ":"))


def _fold(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return "#" + value.hex()
    return " " + " ".join(unicodedata.normalize("NFKC", value).casefold().split())


def shown_name(name: x509.Name) -> str:
    """Return the common name of an authority, or all of its name when it has none."""
    names = name.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[-1].value) if names else name.rfc4514_string()


def general_name_key(name: x509.GeneralName) -> str:
    """Return a text by which the names of distribution points are compared."""
    if isinstance(name, x509.DirectoryName):
        return "dn:" + name_key(name.value)
    return f"{type(name).__name__}:{name.value}"

"""The client certificate in the header of a reverse proxy: one reader for every spelling.

Pure: a text comes in, the bytes of exactly one certificate come out, and nothing about them is
known yet. The spellings cannot be taken for one another, so none has to be configured:

    nginx       $ssl_client_escaped_cert           PEM, percent-encoded
    Apache      %{SSL_CLIENT_CERT}s                PEM, spaces in place of its line ends
    HAProxy     ssl_c_der,base64                   base64 of the DER
    Caddy       …certificate_der_base64            base64 of the DER
    Traefik     X-Forwarded-Tls-Client-Cert        base64 of the DER; percent-encoded before 2.9.4
    RFC 9440    Client-Cert                        :base64 of the DER:
"""

from __future__ import annotations

import base64
import re

from cps_auth.der import SEQUENCE, element_at
from cps_auth.errors import RequestMalformed

MAX_CHARACTERS = 16 * 1024
"""Far above any certificate of a card (2 to 3 KB of base64), whatever its spelling."""

_BEGIN = "-----BEGIN CERTIFICATE-----"
_END = "-----END CERTIFICATE-----"
"""RFC 7468 section 5.1."""

_NO_CERTIFICATE = ("", "(null)", "{http.request.tls.client.certificate_der_base64}")
"""What proxies write where there is none: Apache the word, Caddy its placeholder as it is."""

_PERCENT_ENCODED = re.compile(r"(?:[A-Za-z0-9+/=._~-]|%[0-9A-Fa-f]{2})+", re.ASCII)
_OCTET = re.compile(r"%([0-9A-Fa-f]{2})", re.ASCII)
_LINE_ENDS = re.compile(r"\r\n|[ \t\r\n]", re.ASCII)


def parse_client_certificate(unverified_value: str) -> bytes:
    """Return the one certificate in a header of a proxy.

    Args:
        unverified_value: the header's value, as WSGI gives it.

    Returns:
        DER: one SEQUENCE and not a byte more. Nothing in it was looked at.

    Raises:
        RequestMalformed: its reason is "no-certificate", "certificate-too-long",
            "several-certificates" or "certificate-not-readable".

    Source: RFC 7468 section 5; RFC 9440 section 2.2; the documentation of each proxy.
    """
    if unverified_value in _NO_CERTIFICATE:
        raise RequestMalformed("no-certificate")
    if len(unverified_value) > MAX_CHARACTERS:
        raise RequestMalformed("certificate-too-long")
    if "," in unverified_value:  # WSGI servers join headers that came twice, and so are lists
        raise RequestMalformed("several-certificates")
    certificate_der = _canonical_base64(_base64_text(unverified_value))
    if not _is_one_sequence(certificate_der):
        raise RequestMalformed("certificate-not-readable")
    return certificate_der


def _base64_text(value: str) -> str:
    """Take off what each spelling puts around the base64."""
    if value.startswith(":"):
        return _structured_field(value)
    if "%" in value:
        value = _percent_decoded(value)
    return _pem_body(value) if value.startswith("-") else value


def _structured_field(value: str) -> str:
    """RFC 9440 section 2.2: one byte sequence (RFC 8941 section 3.3.5), without parameters."""
    if len(value) < 2 or not value.endswith(":") or value.count(":") != 2:
        raise RequestMalformed("certificate-not-readable")
    return value[1:-1]


def _percent_decoded(value: str) -> str:
    if not _PERCENT_ENCODED.fullmatch(value):
        raise RequestMalformed("certificate-not-readable")
    return _OCTET.sub(lambda octet: chr(int(octet[1], 16)), value)


def _pem_body(value: str) -> str:
    if value.count(_BEGIN) > 1:
        raise RequestMalformed("several-certificates")
    inner = value.rstrip(" \t\r\n").removeprefix(_BEGIN).removesuffix(_END)
    if len(inner) != len(value.rstrip(" \t\r\n")) - len(_BEGIN) - len(_END):
        raise RequestMalformed("certificate-not-readable")
    return _LINE_ENDS.sub("", inner)


def _canonical_base64(text: str) -> bytes:
    """Decode base64 that has one spelling only: no foreign characters, no stray bits."""
    try:
        decoded = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise RequestMalformed("certificate-not-readable") from None
    if base64.b64encode(decoded).decode() != text:
        raise RequestMalformed("certificate-not-readable")
    return decoded


def _is_one_sequence(der: bytes) -> bool:
    """Return whether the bytes are one SEQUENCE in DER, to the end (X.690 section 10.1)."""
    try:
        whole = element_at(der, 0, len(der))
    except ValueError:
        return False
    return whole.tag == SEQUENCE and whole.end == len(der)
